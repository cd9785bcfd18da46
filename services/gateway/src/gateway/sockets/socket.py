"""One open WebSocket or stream, as far as the gateway ends it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Protocol
from uuid import UUID

from events.identity import Principal, PrincipalSigner
from events.ids import new_id
from gateway.auth.credentials import Identity

RESTARTS = "The service restarts. Connect again."


@dataclass(frozen=True, slots=True)
class Codes:
    """What a socket is closed with, in its protocol's own numbers."""

    revoked: int
    expired: int
    restarts: int


# 4401 is ours (RFC 6455, section 7.4.2): what would be a 401.
CODES = Codes(revoked=4401, expired=4401, restarts=1012)


class Tunnel(Protocol):
    def hang_up(self, code: int, reason: str) -> None:
        """Close both ends; the client hears the code and the reason."""
        ...


@dataclass(slots=True, eq=False)
class Socket:
    """A place among the open sockets, from before the handshake until both ends are gone."""

    id: UUID
    identity: Identity
    left: Callable[["Socket"], None] = field(repr=False)
    expires_at: int | None
    codes: Codes
    tunnel: Tunnel | None = None  # None until the service has agreed
    ending: tuple[int, str] | None = None
    since: float = field(default_factory=perf_counter, repr=False)
    opening: UUID = field(default_factory=new_id)  # a stream may be opened again under its id

    def opened(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        if self.ending is not None:
            tunnel.hang_up(*self.ending)

    def end(self, code: int, reason: str) -> None:
        if self.ending is None:
            self.ending = code, reason
            if self.tunnel is not None:
                self.tunnel.hang_up(code, reason)

    def restart(self) -> None:
        self.end(self.codes.restarts, RESTARTS)

    def leave(self) -> None:
        self.left(self)
        self.tunnel = None


def signed_for_socket(signer: PrincipalSigner, principal: Principal) -> str:
    """Without an expiry: the gateway ends a socket, and when its credential expires it may have been refreshed."""
    return signer.sign(replace(principal, expires_at=None))
