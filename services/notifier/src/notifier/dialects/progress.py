"""Plain JSON progress: `WS /ws/{job_id}` for one job, `WS /ws` for all of the tenant's, or for those that it names.

An event's frame is spliced (`events.progress_frames`): the envelope's fields, and the payload's bytes behind them.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeAlias
from uuid import UUID

import msgspec

from events.database import DATABASE_GONE
from events.envelope import RecordedEvent, encode_json, stream_name
from events.errors import Conflict, CursorExpired, FieldError, Forbidden, InvalidInput, MillraceError, NotFound
from events.identity import Principal
from events.log.cursor import after_of
from events.log.log import EventLog
from events.progress_frames import encode_frame
from events.web.web import as_millrace_error
from notifier.channels import channel_of, name_of
from notifier.dialects import Begin
from notifier.form import Channel, is_stream
from notifier.frames import text_frame
from notifier.handshake import Handshake
from notifier.hub import Hub
from notifier.session import Session

_PATH = re.compile(r"(?:/api/v1)?/ws(?:/([^/]+))?")
_CATEGORY = "job"
_PREFIX = f"{_CATEGORY}:"
_ALL_JOBS = f"{_CATEGORY}:*"
_KNOWN_FORMS = 1000
# `ticket` comes here where an edge proxy routes by itself.
_PARAMETERS = frozenset({"after", "conflate", "ticket"})

# What a command may meet without harm to its socket.
_REFUSALS: tuple[type[Exception], ...] = (MillraceError, *DATABASE_GONE)


class ProgressForm:
    """A job's event, as a message; of some jobs only, if a ticket is bound to them."""

    def __init__(self, only: frozenset[str] | None = None) -> None:
        self._only = only  # their streams

    def encode(self, event: RecordedEvent) -> bytes | None:
        if self._only is not None and event.subject not in self._only:
            return None
        return text_frame(encode_frame(event))

    def pack(self, written: Sequence[bytes]) -> bytes:
        return b"".join(written)


PROGRESS = ProgressForm()


@lru_cache(_KNOWN_FORMS)
def progress_of(only: frozenset[str]) -> ProgressForm:
    """For tickets that are bound to the same jobs: all of their sockets get the same bytes."""
    return ProgressForm(only)


class AlreadySubscribed(Conflict):
    code = "already_subscribed"


class NotSubscribed(Conflict):
    code = "not_subscribed"


class TooManySubscriptions(Conflict):
    code = "too_many_subscriptions"


class Subscribe(msgspec.Struct, tag_field="action", tag="subscribe", forbid_unknown_fields=True):
    job_id: UUID
    after: int | str = 0  # a version, `<epoch>.<n>` or `<n>`
    conflate: bool = False


class Unsubscribe(msgspec.Struct, tag_field="action", tag="unsubscribe", forbid_unknown_fields=True):
    job_id: UUID


class Ping(msgspec.Struct, tag_field="action", tag="ping", forbid_unknown_fields=True):
    pass


Command: TypeAlias = Subscribe | Unsubscribe | Ping


class ProgressDialect:
    name = "progress"

    def __init__(self, hub: Hub, log: EventLog, *, max_subscriptions: int) -> None:
        self.hub = hub
        self.log = log
        self.max_subscriptions = max_subscriptions
        self.decoder = msgspec.json.Decoder(Command)

    def speaks(self, path: str) -> bool:
        return _PATH.fullmatch(path) is not None

    async def admit(self, handshake: Handshake, principal: Principal) -> Begin:
        match = _PATH.fullmatch(handshake.path)
        assert match is not None
        epoch = self.hub.epoch
        asked = handshake.parameters()
        _check_names(asked)
        after = after_of(asked["after"], epoch) if "after" in asked else None
        conflate = _is_true(asked.get("conflate", "false"))
        if match[1] is not None:
            channel = channel_of(stream_name(_CATEGORY, _job_id(match[1])), principal)
            only = None
            after = after or 0
            await self.check_job(channel, after)
        else:
            channel, only = _all_jobs(principal)
            await self._check_position(after)
        return lambda session: Conversation(self, session, principal, channel, only, after, conflate=conflate).obey

    async def check_job(self, channel: Channel, after: int) -> None:
        """Raise if the tenant has no such job, or the cursor lies beyond its last event."""
        tenant, stream = channel
        assert stream is not None
        version = await self.log.stream_version(tenant, stream)
        if version is None:
            raise NotFound("There is no such job.")
        if after > version:
            raise CursorExpired(f"The job has {version} events, and the cursor is {after}.")

    async def _check_position(self, after: int | None) -> None:
        if after is not None and after > self.hub.position and after > (await self.log.head()).position:
            raise CursorExpired("The cursor lies beyond the log's newest event.")


class Conversation:
    """What is said on one socket besides events: on `/ws` first where it begins, and an answer to each command."""

    __slots__ = ("_all", "_dialect", "_principal", "_session")

    def __init__(
        self,
        dialect: ProgressDialect,
        session: Session,
        principal: Principal,
        channel: Channel,
        only: frozenset[str] | None,
        after: int | None,
        *,
        conflate: bool,
    ) -> None:
        self._dialect = dialect
        self._session = session
        self._principal = principal
        self._all = None if is_stream(channel) else channel  # until the first job is named
        form = PROGRESS if only is None else progress_of(only)
        begin = session.follow(channel, after, form, conflate=conflate)
        if self._all is not None:
            bound = {} if only is None else {"only": sorted(only)}
            self._say(
                {"type": "connected", "channel": name_of(channel), **bound, "epoch": dialect.hub.epoch, "after": begin}
            )

    async def obey(self, message: str) -> None:
        about: dict[str, object] = {}
        try:
            command: Command = self._dialect.decoder.decode(message)
            if isinstance(command, Subscribe | Unsubscribe):
                about["job_id"] = command.job_id
            match command:
                case Subscribe():
                    await self._subscribe(command)
                case Unsubscribe():
                    self._unsubscribe(command)
                case Ping():
                    self._say({"type": "pong"})
        except (msgspec.MsgspecError, RecursionError) as wrong:
            detail = "The command is nested too deeply." if isinstance(wrong, RecursionError) else str(wrong)
            self._say({"type": "error", "code": InvalidInput.code, "detail": detail})
        except _REFUSALS as refused:
            error = as_millrace_error(refused)
            self._say({"type": "error", "code": error.code, "detail": error.detail, **about})

    async def _subscribe(self, command: Subscribe) -> None:
        channel = self._channel(command.job_id)
        after = after_of(str(command.after), self._dialect.hub.epoch, field="after")
        if channel in self._session:
            raise AlreadySubscribed("This job is subscribed already.")
        if len(self._session) >= self._dialect.max_subscriptions:
            raise TooManySubscriptions(f"A socket may have {self._dialect.max_subscriptions} subscriptions.")
        await self._dialect.check_job(channel, after)
        if self._all is not None:
            self._session.unfollow(self._all)
            self._all = None
        # The answer comes before the first event: it says where the events begin.
        self._say({"type": "subscribed", "job_id": command.job_id, "after": after})
        self._session.follow(channel, after, PROGRESS, conflate=command.conflate)

    def _unsubscribe(self, command: Unsubscribe) -> None:
        if not self._session.unfollow(self._channel(command.job_id)):
            raise NotSubscribed("This job is not subscribed by name.")
        self._say({"type": "unsubscribed", "job_id": command.job_id})

    def _channel(self, job_id: UUID) -> Channel:
        return channel_of(stream_name(_CATEGORY, job_id), self._principal)

    def _say(self, answer: dict[str, object]) -> None:
        self._session.say(text_frame(encode_json(answer)))


def _all_jobs(principal: Principal) -> tuple[Channel, frozenset[str] | None]:
    """All of the tenant's; of these only some, if the ticket is bound to them."""
    channel = channel_of(_ALL_JOBS, replace(principal, channels=None))
    if principal.channels is None:
        return channel, None
    only = frozenset(name for name in principal.channels if name.startswith(_PREFIX))
    if not only:
        raise Forbidden("The ticket is bound to other channels.")
    return channel, only


def _check_names(asked: Iterable[str]) -> None:
    unknown = [
        FieldError(f"query.{name}"[:100], "unknown", "There is no such parameter.")
        for name in sorted({*asked} - _PARAMETERS)
    ]
    if unknown:
        raise InvalidInput("; ".join(f"{error.field}: {error.detail}" for error in unknown), errors=unknown)


def _is_true(text: str) -> bool:
    if text not in ("true", "false"):
        detail = "conflate is true or false."
        raise InvalidInput(detail, errors=[FieldError("query.conflate", "boolean", detail)])
    return text == "true"


def _job_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        detail = "A job's id is a UUID."
        raise InvalidInput(detail, errors=[FieldError("path.job_id", "uuid", detail)]) from None
