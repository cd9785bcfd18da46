"""Which versions of the API there are, and what answers say of those that will go.

A version is rows in the table of routes: a path that means the same as in another version is `sent_as` that one's.
One that is deprecated answers on, also after its sunset: turning it off is to take its rows out.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import format_datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints, model_validator

from events.errors import NotFound, StartupError
from gateway.upstreams import Route

_VERSION = re.compile(r"/api/(v[0-9]{1,4})(?:/|$)")


class Deprecation(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    deprecated_at: AwareDatetime
    sunset_at: AwareDatetime | None = None
    link: Annotated[str, StringConstraints(pattern=r"^https?://[!#-;=?-~]+$")] | None = None  # what to do about it

    @model_validator(mode="after")
    def _goes_after_its_announcement(self) -> Self:
        if self.sunset_at is not None and self.sunset_at < self.deprecated_at:
            raise ValueError("sunset_at is before deprecated_at")
        return self

    @property
    def lines(self) -> bytes:
        """As header lines (RFC 9745, RFC 8594)."""
        lines = [f"deprecation: @{self.deprecated_at.timestamp():.0f}"]
        if self.sunset_at is not None:
            lines.append(f"sunset: {format_datetime(self.sunset_at.astimezone(UTC), usegmt=True)}")
        if self.link is not None:
            lines.append(f'link: <{self.link}>; rel="deprecation"; type="text/html"')
        return "".join(f"{line}\r\n" for line in lines).encode()


class Versions:
    def __init__(self, table: Sequence[Route], deprecated: Mapping[str, Deprecation]) -> None:
        known = {match[1] for route in table if (match := _VERSION.match(route.prefix))}
        self._known = sorted(known, key=lambda version: int(version[1:]))
        if unknown := sorted(deprecated.keys() - known):
            raise StartupError(
                f"MILLRACE_DEPRECATED_VERSIONS names {unknown[0]}. There is {' and '.join(self._known)}."
            )
        self._lines = {f"/api/{version}": deprecation.lines for version, deprecation in deprecated.items()}

    def said_of(self, path: str) -> bytes:
        """The header lines that every answer under a deprecated version has."""
        if not self._lines:
            return b""
        return next((lines for prefix, lines in self._lines.items() if f"{path}/".startswith(f"{prefix}/")), b"")

    def check(self, path: str) -> None:
        """Raise NotFound with the versions that there are, if the path names another."""
        match = _VERSION.match(path)
        if match is not None and match[1] not in self._known:
            raise NotFound(f"There is no version {match[1]} of this API. There is {' and '.join(self._known)}.")
