"""What Centrifugo's clients say. Fields that mean nothing here are passed over: SDKs may know more than we do."""

from typing import Annotated, Any

import msgspec

from notifier.frames import CloseCode, Violation

REJECT_UNRECOVERED = 2  # a flag of `Subscribe`: an error 112 instead of `recovered: false`

_Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Subscribe(msgspec.Struct):
    channel: str = ""
    recover: bool = False
    offset: _Natural = 0
    epoch: str = ""  # empty: whichever there is
    flag: int = 0
    type: int = 0  # 0: a stream; else a map or a poll
    tf: Any = None  # a filter
    data: Any = None

    @property
    def conflates(self) -> bool:
        """Whether the client asks for the latest only of what is due."""
        return isinstance(self.data, dict) and self.data.get("conflate") is True


class Connect(msgspec.Struct):
    """Its token was for whoever let the client in."""

    subs: dict[str, Subscribe] = msgspec.field(default_factory=dict)  # to recover what is subscribed without asking


class Channelled(msgspec.Struct):
    """What names a channel, and says nothing else that matters."""

    channel: str = ""


class Place(msgspec.Struct):
    offset: _Natural = 0
    epoch: str = ""


class History(msgspec.Struct):
    channel: str = ""
    limit: int = 0  # 0: only where the channel is; negative: as many as there may be
    since: Place | None = None
    reverse: bool = False


class Rpc(msgspec.Struct):
    method: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class Refresh(msgspec.Struct):
    token: str = ""


class Command(msgspec.Struct):
    """One of these is set; of several, the first counts."""

    id: _Natural = 0
    connect: Connect | None = None
    subscribe: Subscribe | None = None
    unsubscribe: Channelled | None = None
    publish: Channelled | None = None
    history: History | None = None
    rpc: Rpc | None = None
    sub_refresh: Channelled | None = None
    refresh: Refresh | None = None
    presence: Channelled | None = None
    presence_stats: Channelled | None = None
    ping: dict[str, Any] | None = None
    send: dict[str, Any] | None = None

    @property
    def is_unasked(self) -> bool:
        """An empty object, which answers our ping; or a message, which is for nobody here."""
        return self.send is not None or self == _PONG


_PONG = Command()
_decoder = msgspec.json.Decoder(Command)


def decode_command(line: str) -> Command:
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, RecursionError):
        raise bad_request() from None


def bad_request() -> Violation:
    """How Centrifugo parts for good from who does not speak its protocol."""
    return Violation(CloseCode.BAD_REQUEST, "bad request")
