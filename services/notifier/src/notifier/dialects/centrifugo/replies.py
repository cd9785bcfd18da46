"""What Centrifugo's clients are told in answer to their commands."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from events.database import DATABASE_GONE
from events.envelope import RecordedEvent, encode_json
from events.errors import CursorExpired, Forbidden, InvalidInput, MillraceError, NotFound
from events.web.web import as_millrace_error
from notifier.frames import text_frame

# What a command may meet without harm to its socket.
REFUSALS: tuple[type[Exception], ...] = (MillraceError, *DATABASE_GONE)

INTERNAL = 100
UNKNOWN_CHANNEL = 102
PERMISSION_DENIED = 103
METHOD_NOT_FOUND = 104
ALREADY_SUBSCRIBED = 105
LIMIT_EXCEEDED = 106
BAD_REQUEST = 107
NOT_AVAILABLE = 108
UNRECOVERABLE_POSITION = 112


class Refused(MillraceError):
    """An error by Centrifugo's number. Clients act on the number."""

    def __init__(self, number: int, detail: str) -> None:
        super().__init__(detail)
        self.number = number


class Subscribed(msgspec.Struct, omit_defaults=True):
    """Every channel can be resumed from any of its places, so nobody needs to ask for that."""

    epoch: str
    offset: int = 0  # of the last event that the client has: what comes after it is pushed
    was_recovering: bool = False
    recovered: bool = False
    recoverable: bool = msgspec.field(default_factory=lambda: True)
    positioned: bool = msgspec.field(default_factory=lambda: True)


class Connected(msgspec.Struct, omit_defaults=True):
    client: str
    version: str
    ping: int  # seconds between our pings
    subs: Mapping[str, Subscribed] = msgspec.field(default_factory=dict)
    pong: bool = msgspec.field(default_factory=lambda: True)  # we want them answered
    expires: bool = False
    ttl: int = 0  # seconds


class Refreshed(msgspec.Struct, omit_defaults=True):
    client: str
    version: str
    expires: bool = False
    ttl: int = 0  # seconds


class Publications(msgspec.Struct):
    publications: list[msgspec.Raw]
    epoch: str
    offset: int  # of the newest there is


class Snapshot(msgspec.Struct):
    event: RecordedEvent | None  # None if nothing has happened yet
    offset: int
    epoch: str


Reply: TypeAlias = Mapping[str, Any]


def reply_frame(id_: int, reply: Reply) -> bytes:
    return text_frame(encode_json({"id": id_, **reply}))


def refusal(error: Exception) -> Reply:
    known = as_millrace_error(error)
    number = _number(known)
    temporary: Reply = {"temporary": True} if number == INTERNAL else {}
    return {"error": {"code": number, "message": known.detail, **temporary}}


def _number(error: MillraceError) -> int:
    match error:
        case Refused():
            return error.number
        case InvalidInput() | NotFound():
            return UNKNOWN_CHANNEL
        case Forbidden():
            return PERMISSION_DENIED
        case CursorExpired():
            return UNRECOVERABLE_POSITION
        case _:
            return INTERNAL
