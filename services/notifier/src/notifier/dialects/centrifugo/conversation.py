"""What is said on one socket in Centrifugo's protocol: connect, then an answer to each command, and publications."""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

import msgspec

from events.identity import Principal
from events.ids import new_id
from notifier.channels import channel_of, hidden_from
from notifier.dialects.centrifugo.commands import (
    Channelled,
    Command,
    Connect,
    History,
    Refresh,
    Rpc,
    Subscribe,
    bad_request,
    decode_command,
)
from notifier.dialects.centrifugo.forms import form_of
from notifier.dialects.centrifugo.reading import Reading
from notifier.dialects.centrifugo.refreshing import Lease, Refreshing
from notifier.dialects.centrifugo.replies import (
    ALREADY_SUBSCRIBED,
    BAD_REQUEST,
    LIMIT_EXCEEDED,
    METHOD_NOT_FOUND,
    NOT_AVAILABLE,
    PERMISSION_DENIED,
    REFUSALS,
    Connected,
    Refreshed,
    Refused,
    Reply,
    Subscribed,
    refusal,
    reply_frame,
)
from notifier.form import Channel
from notifier.frames import CloseCode, Violation, text_frame
from notifier.presence import Presence
from notifier.session import Session

# How long a client may take to say connect.
CONNECT_SECONDS = 10.0

# How long before its end a connection is refreshed.
_EARLY_SECONDS = 25.0

# What its clients understand of why a connection ends.
_CODES = {
    CloseCode.SERVICE_RESTART: CloseCode.SHUTDOWN,
    CloseCode.INTERNAL_ERROR: CloseCode.SERVER_ERROR,
    CloseCode.CREDENTIAL_ENDED: CloseCode.EXPIRED,
    CloseCode.UNSUPPORTED_DATA: CloseCode.BAD_REQUEST,
}

_PING = text_frame(b"{}")
_VERSION = "millrace"


@dataclass(frozen=True, slots=True)
class Shared:
    """What all conversations of one notifier share."""

    reading: Reading
    presence: Presence
    refreshing: Refreshing | None
    max_subscriptions: int
    ping_seconds: float


class Conversation:
    __slots__ = ("_client", "_deadline", "_hidden", "_lease", "_principal", "_session", "_shared")

    def __init__(self, shared: Shared, session: Session, principal: Principal, lease: Lease | None) -> None:
        """`lease`: None for a socket that is not the gateway's to end, or that does not expire."""
        self._shared = shared
        self._session = session
        self._principal = principal
        self._hidden = hidden_from(principal)
        self._lease = None if shared.refreshing is None else lease
        self._client: UUID | None = None  # its id, once it is connected
        session.ping = _PING
        session.codes = _CODES
        session.separator = "\n"
        session.left = self._left
        stale = Violation(CloseCode.STALE, "stale")
        self._deadline = asyncio.get_running_loop().call_later(CONNECT_SECONDS, session.fail, stale)

    def _left(self) -> None:
        self._deadline.cancel()
        if self._client is not None:
            self._shared.presence.gone(self._client)

    async def obey(self, line: str) -> None:
        if not line or line.isspace():
            return
        command = decode_command(line)
        if command.id == 0:
            if not command.is_unasked:
                raise bad_request()
            return
        if (self._client is None) is (command.connect is None):
            raise bad_request()
        try:
            await self._answer(command)
        except REFUSALS as refused:
            self._say(command.id, refusal(refused))

    async def _answer(self, command: Command) -> None:
        match command:
            case Command(connect=Connect() as wish):
                await self._connect(command.id, wish)
            case Command(subscribe=Subscribe() as wish):
                await self._subscribe(command.id, wish)
            case Command(unsubscribe=Channelled() as wish):
                self._unsubscribe(self._channel(wish.channel))
                self._say(command.id, {"unsubscribe": {}})
            case Command(publish=Channelled()):
                raise Refused(PERMISSION_DENIED, "Clients cannot publish: a channel is what the log says.")
            case Command(history=History() as wish):
                page = await self._shared.reading.history(self._channel(wish.channel), wish, self._hidden)
                self._say(command.id, {"history": page})
            case Command(rpc=Rpc() as wish):
                self._say(command.id, {"rpc": {"data": await self._call(wish)}})
            case Command(presence=Channelled() as wish):
                self._say(command.id, {"presence": {"presence": await self._present(self._channel(wish.channel))}})
            case Command(presence_stats=Channelled() as wish):
                clients, subjects = await self._shared.presence.count(self._channel(wish.channel))
                self._say(command.id, {"presence_stats": {"num_clients": clients, "num_users": subjects}})
            case Command(refresh=Refresh() as wish):
                self._say(command.id, {"refresh": await self._refreshed(wish)})
            case Command(sub_refresh=Channelled() as wish):
                self._refresh_subscription(wish.channel)
                self._say(command.id, {"sub_refresh": {}})
            case Command(ping={}):
                self._say(command.id, {"ping": {}})
            case _:
                raise Refused(METHOD_NOT_FOUND, "There is no such command.")

    async def _connect(self, id_: int, wish: Connect) -> None:
        """Whoever connects follows at once what is the user's own."""
        begun: dict[str, Subscribed] = {}
        own = self._principal.subject
        if own.startswith("user:") and self._principal.may_follow(own):
            begun[own] = await self._shared.reading.begin(self._channel(own), wish.subs.get(own, Subscribe()))
        self._client = new_id()
        self._deadline.cancel()
        expires, ttl = _term(self._lease)
        ping = round(self._shared.ping_seconds)
        connected = Connected(str(self._client), _VERSION, ping, begun, expires=expires, ttl=ttl)
        self._say(id_, {"connect": connected})
        for name, subscribed in begun.items():
            self._follow(self._channel(name), subscribed)

    async def _subscribe(self, id_: int, wish: Subscribe) -> None:
        channel = self._channel(wish.channel)
        if wish.type != 0 or wish.tf is not None:
            raise Refused(NOT_AVAILABLE, "Channels here are streams, and are not filtered.")
        if channel in self._session:
            raise Refused(ALREADY_SUBSCRIBED, "This channel is subscribed already.")
        if len(self._session) >= self._shared.max_subscriptions:
            raise Refused(LIMIT_EXCEEDED, f"A socket may have {self._shared.max_subscriptions} subscriptions.")
        subscribed = await self._shared.reading.begin(channel, wish)
        # The answer comes before the first event: clients take it for the place where the events begin.
        self._say(id_, {"subscribe": subscribed})
        self._follow(channel, subscribed, conflate=wish.conflates)

    def _follow(self, channel: Channel, subscribed: Subscribed, *, conflate: bool = False) -> None:
        assert self._client is not None
        self._session.follow(channel, subscribed.offset, form_of(channel, self._hidden), conflate=conflate)
        self._shared.presence.join(channel, self._client, self._principal.subject)

    def _unsubscribe(self, channel: Channel) -> None:
        assert self._client is not None
        if self._session.unfollow(channel):
            self._shared.presence.leave(channel, self._client)

    async def _present(self, channel: Channel) -> dict[str, dict[str, str]]:
        present = await self._shared.presence.of(channel)
        return {str(each.client): {"client": str(each.client), "user": each.subject} for each in present}

    async def _refreshed(self, wish: Refresh) -> Refreshed:
        if self._lease is None or self._shared.refreshing is None:
            raise Refused(NOT_AVAILABLE, "This connection does not expire, or cannot be refreshed here.")
        self._lease = await self._shared.refreshing.refresh(self._lease, wish.token)
        return Refreshed(str(self._client), _VERSION, *_term(self._lease))

    def _refresh_subscription(self, name: str) -> None:
        """What may be followed is decided by the credential alone, so a subscription has no expiry of its own."""
        if self._channel(name) not in self._session:
            raise Refused(PERMISSION_DENIED, "This channel is not subscribed.")

    async def _call(self, wish: Rpc) -> object:
        if wish.method != "snapshot":
            raise Refused(METHOD_NOT_FOUND, "There is no such method.")
        try:
            about = msgspec.json.decode(wish.data, type=Channelled)
        except (msgspec.MsgspecError, RecursionError):
            raise Refused(BAD_REQUEST, 'A snapshot is asked for with {"channel": <name>}.') from None
        return await self._shared.reading.snapshot(self._channel(about.channel), self._hidden)

    def _channel(self, name: str) -> Channel:
        return channel_of(name, self._principal)

    def _say(self, id_: int, reply: Reply) -> None:
        self._session.say(reply_frame(id_, reply))


def _term(lease: Lease | None) -> tuple[bool, int]:
    """Whether the client has to refresh, and in how many seconds: early enough to be in time."""
    if lease is None:
        return False, 0
    left = lease.expires_at - time.time()
    return True, max(1, int(left - min(_EARLY_SECONDS, left / 4)))
