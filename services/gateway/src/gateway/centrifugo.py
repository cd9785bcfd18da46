"""What the gateway knows of Centrifugo's client protocol: the command that a client begins with, and what its SDKs
take as a reason to come again, to come with a new token, or not to come again.

They reconnect by themselves after codes below 3500 and from 4000 to 4499, and stop after 3500 to 3999. After error 109
they ask their application for another token first.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from events.errors import MillraceError
from gateway.auth.claims import TokenExpired
from gateway.sockets.socket import Codes

SHUTDOWN, EXPIRED = 3001, 3005
INVALID_TOKEN, BAD_REQUEST, STALE = 3500, 3501, 3502
CODES = Codes(revoked=INVALID_TOKEN, expired=EXPIRED, restarts=SHUTDOWN)


@dataclass(frozen=True, slots=True)
class Close:
    """The client is sent away with this code."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The client is told in an answer to its command, and goes by itself."""

    code: int
    message: str
    temporary: bool = False  # worth to be tried again as it is

    def encode(self, command: int) -> bytes:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.temporary:
            error["temporary"] = True
        return msgspec.json.encode({"id": command, "error": error})


TOKEN_EXPIRED = Reply(109, "token expired")
TOO_MANY_REQUESTS = Reply(111, "too many requests", temporary=True)


class WrongCommand(Exception):
    """The first command is none that a stranger may begin with."""


@dataclass(frozen=True, slots=True)
class Connect:
    """The first message of a client, whose first command is `connect` with a token."""

    id: int
    token: str
    message: bytes  # the same without the token: nobody behind the door needs it

    @classmethod
    def read(cls, message: bytes) -> "Connect":
        first, newline, others = message.partition(b"\n")
        try:
            command = _OBJECT.decode(first)
            connect = _OBJECT.decode(command.pop("connect"))
            token = msgspec.json.decode(connect.pop("token"), type=str)
            number = msgspec.json.decode(command["id"], type=int)
        except (msgspec.MsgspecError, KeyError, RecursionError):
            raise WrongCommand from None
        if not token or not 0 < number < 1 << 32:
            raise WrongCommand
        # Written anew from what was read: of a name that stands there twice, nobody sees another one than we did.
        rest = msgspec.json.encode({**command, "connect": connect})
        return cls(number, token, rest + newline + others)


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def answer_to(error: MillraceError) -> Close | Reply:
    """What a client is told instead of a status that it can't be told any more."""
    if isinstance(error, TokenExpired):
        return TOKEN_EXPIRED
    if error.status == 401 and not error.retryable:
        return Close(INVALID_TOKEN, "invalid token")
    if error.status == 429:
        return TOO_MANY_REQUESTS
    if error.status == 403:
        return Reply(103, "permission denied")
    if error.retryable or error.status >= 500:
        return Reply(100, "internal server error", temporary=True)
    return Reply(107, "bad request")
