"""Where Centrifugo's clients connect."""

import re
from uuid import UUID

from events.identity import Principal
from notifier.dialects import Begin
from notifier.dialects.centrifugo.conversation import Conversation, Shared
from notifier.dialects.centrifugo.reading import Reading
from notifier.dialects.centrifugo.refreshing import Lease, Refreshing
from notifier.handshake import Handshake
from notifier.presence import Presence
from notifier.settings import NotifierSettings

_PATH = re.compile(r"(?:/api/v1)?/connection/websocket")


class CentrifugoDialect:
    name = "centrifugo"

    def __init__(
        self,
        reading: Reading,
        presence: Presence,
        refreshing: Refreshing | None,
        settings: NotifierSettings,
    ) -> None:
        self._shared = Shared(reading, presence, refreshing, settings.max_subscriptions, settings.ping_seconds)

    def speaks(self, path: str) -> bool:
        return _PATH.fullmatch(path) is not None

    async def admit(self, handshake: Handshake, principal: Principal) -> Begin:
        """Whoever is known may connect: what they may follow is decided channel by channel."""
        lease = _lease(handshake)
        return lambda session: Conversation(self._shared, session, principal, lease).obey


def _lease(handshake: Handshake) -> Lease | None:
    """What the gateway says of a socket that is its own."""
    try:
        return Lease(UUID(handshake.headers["x-socket-id"]), int(handshake.headers["x-socket-expires"]))
    except (KeyError, ValueError):
        return None
