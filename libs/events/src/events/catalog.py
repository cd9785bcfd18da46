"""The catalog of event types: each name with its payload. One vocabulary file per domain registers its own.

The catalog is how a producer cannot misspell a type or forget a field, and what AsyncAPI is generated from.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict


class Payload(BaseModel):
    """What an event says. Fields may be added with a default; none is ever renamed or removed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_type: ClassVar[str]
    conflatable: ClassVar[bool] = False  # of several in one stream, the latest says all that a spectator needs
    in_frames: ClassVar[Mapping[str, str]] = {}  # other names for fields that are called as the envelope's

    def encode(self) -> bytes:
        return self.model_dump_json().encode()


P = TypeVar("P", bound=Payload)

CATALOG: dict[str, type[Payload]] = {}


def event(type_name: str, *, conflatable: bool = False) -> Callable[[type[P]], type[P]]:
    """Register a payload under its event type."""

    def register(payload: type[P]) -> type[P]:
        if type_name in CATALOG:
            raise ValueError(f"event type {type_name} is registered twice")
        payload.event_type = type_name
        payload.conflatable = conflatable
        CATALOG[type_name] = payload
        return payload

    return register
