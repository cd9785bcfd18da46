"""Where Centrifugo's clients connect."""

import re

from events.identity import Principal
from events.log import EventLog
from notifier.dialects import Begin
from notifier.dialects.centrifugo.conversation import Conversation, Shared
from notifier.dialects.centrifugo.reading import Reading
from notifier.handshake import Handshake
from notifier.history import History
from notifier.hub import Hub
from notifier.presence import Presence
from notifier.settings import NotifierSettings

_PATH = re.compile(r"(?:/api/v1)?/connection/websocket")


class CentrifugoDialect:
    def __init__(
        self, hub: Hub, log: EventLog, history: History, presence: Presence, settings: NotifierSettings
    ) -> None:
        reading = Reading(hub, log, history)
        self._shared = Shared(reading, presence, settings.max_subscriptions, settings.ping_seconds)

    def speaks(self, path: str) -> bool:
        return _PATH.fullmatch(path) is not None

    async def admit(self, handshake: Handshake, principal: Principal) -> Begin:
        """Whoever is known may connect: what they may follow is decided channel by channel."""
        return lambda session: Conversation(self._shared, session, principal).obey
