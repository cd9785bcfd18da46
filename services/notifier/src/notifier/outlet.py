"""A client's connection, as far as they need it who tell it something."""

from typing import Protocol

from structlog.stdlib import BoundLogger


class Outlet(Protocol):
    @property
    def writable(self) -> bool:
        """Whether there is room for more events."""

    def write(self, frame: bytes) -> bool:
        """Write if `writable`; whether it was."""

    def send(self, frame: bytes) -> None:
        """Write, room or not."""

    def fail(self, error: Exception) -> None:
        """Close: a `Violation` says why; else something of ours broke, and the client comes again."""

    def abort(self) -> None:
        """Hang up without a word."""


def give_up(outlet: Outlet, error: Exception, log: BoundLogger) -> None:
    """Fail it; where even that breaks, hang up. Whatever is wrong with one, all others go on."""
    try:
        outlet.fail(error)
    except Exception as broken:
        log.error("connection could not be failed", exc_info=broken)
        outlet.abort()
