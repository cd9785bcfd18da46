"""What the two ends of a request tell whoever stands between them."""

from collections.abc import Sequence
from typing import Protocol

from gateway.wire.heads import ResponseHead


class ClientSide(Protocol):
    """Hears the client's connection: the request's body, and whether the client takes the answer."""

    def request_body(self, payload: Sequence[bytes]) -> None: ...

    def request_ended(self) -> None: ...

    def client_full(self) -> None:
        """The client takes no more for now: bytes that are written are still kept, so stop the source."""
        ...

    def client_ready(self) -> None: ...

    def client_lost(self) -> None:
        """The client is gone, or has sent what ends the exchange. Nothing more may be written to it."""
        ...


class UpstreamSide(Protocol):
    """Hears the service's connection: the answer, and whether the service takes the request's body."""

    def response_continues(self) -> None:
        """100 Continue: the service wants the body."""
        ...

    def response_head(self, head: ResponseHead) -> None:
        """Followed at once by `response_body` with what came along, be it nothing."""
        ...

    def response_body(self, payload: Sequence[bytes]) -> None: ...

    def response_ended(self) -> None: ...

    def upgraded(self, head: ResponseHead, early: bytes) -> None:
        """101: from `early` on, the bytes are no longer HTTP."""
        ...

    def upstream_full(self) -> None: ...

    def upstream_ready(self) -> None: ...

    def upstream_lost(self, reason: str) -> None:
        """The service went away, or does not speak HTTP, before its answer was complete."""
        ...

    def upstream_silent(self) -> None:
        """We waited too long for the service."""
        ...
