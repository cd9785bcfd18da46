"""The protocols that clients speak to the notifier, all on one hub.

`Dialect.admit` decides on the handshake: it knows the path, and whether the principal may have what it asks for. What
it returns begins the session once the upgrade is answered.
"""

from collections.abc import Callable
from typing import Protocol

from events.identity import Principal
from notifier.handshake import Handshake
from notifier.session import Obey, Session

# Subscribes the session to what the handshake asked for; the result obeys what the client sends.
Begin = Callable[[Session], Obey]


class Dialect(Protocol):
    name: str

    def speaks(self, path: str) -> bool: ...

    async def admit(self, handshake: Handshake, principal: Principal) -> Begin:
        """Raise a `MillraceError` if it cannot be had."""
