"""The handlers that run on the service's loop, by name."""

from collections.abc import Mapping
from typing import Any

from processor.builtin.handler import Attempt, Here


async def _noop(attempt: Attempt, parameters: Mapping[str, Any]) -> Any:
    return dict(parameters)


def here() -> Mapping[str, Here]:
    return {"noop": _noop}
