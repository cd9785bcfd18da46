"""Plain JSON progress: `WS /ws/{job_id}` for one job, `WS /ws` for all of the tenant's, or the ones it names.

A frame is spliced: our own fields, and the payload's bytes behind them. Nobody decodes a payload here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import msgspec

from events.cursor import after_of
from events.envelope import RecordedEvent, encode_json, stream_name
from events.errors import FieldError, InvalidInput, MillraceError, NotFound
from events.identity import Principal
from events.log import EventLog
from notifier.frames import text_frame
from notifier.hub import ALL, Channel
from notifier.session import Session

_PATH = re.compile(r"(?:/api/v1)?/ws(?:/([^/]+))?/?")
_JOB = "job:"


class ProgressDialect:
    def frame(self, event: RecordedEvent) -> bytes | None:
        if not event.subject.startswith(_JOB):
            return None
        head = (
            f'{{"job_id":"{event.subject[len(_JOB) :]}","type":"{event.type}","position":{event.position},'
            f'"version":{event.version},"time":"{event.time.isoformat().replace("+00:00", "Z")}",'
        )
        return text_frame(head.encode() + bytes(event.data)[1:])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a handshake asks for."""

    channel: Channel
    after: int | None  # None begins with what comes


async def wanted_by(target: str, principal: Principal, log: EventLog) -> Wanted:
    """What the request's target asks for. Raise what the client must be told if it cannot be had."""
    url = urlsplit(target)
    match = _PATH.fullmatch(url.path)
    if match is None:
        raise NotFound("There is no WebSocket at this path.")
    query = parse_qs(url.query, keep_blank_values=True)
    if unknown := sorted(set(query) - {"after"}):
        errors = [FieldError(f"query.{name}"[:100], "unknown", "There is no such parameter.") for name in unknown]
        raise InvalidInput("The socket takes only the parameter `after`.", errors=errors)
    after = after_of(query["after"][-1], (await log.head()).epoch) if "after" in query else None
    if match[1] is None:
        return Wanted((principal.tenant, ALL), after)
    stream = stream_name("job", _job_id(match[1], "path.job_id"))
    await _check_known(log, principal.tenant, stream)
    return Wanted((principal.tenant, stream), after or 0)


def _job_id(text: str, field: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        detail = "A job's id is a UUID."
        raise InvalidInput(detail, errors=[FieldError(field, "uuid", detail)]) from None


async def _check_known(log: EventLog, tenant: str, stream: str) -> None:
    if await log.stream_version(tenant, stream) is None:
        raise NotFound("There is no such job.")


class _Command(msgspec.Struct, forbid_unknown_fields=True):
    action: str
    job_id: str | None = None
    after: str | int = 0


_decoder = msgspec.json.Decoder(_Command)


class ProgressSession:
    """What a client says on an open socket, and what it hears."""

    def __init__(self, session: Session, wanted: Wanted, log: EventLog) -> None:
        self._session = session
        self._log = log
        self._tenant, stream = wanted.channel
        self._narrows = stream == ALL
        self._everything = wanted.channel if stream == ALL else None

    async def received(self, message: bytes) -> None:
        try:
            command = _decoder.decode(message)
            match command.action:
                case "ping":
                    answer: dict[str, object] = {"type": "pong"}
                case "subscribe":
                    answer = await self._subscribe(command)
                case "unsubscribe":
                    answer = self._unsubscribe(command)
                case _:
                    raise InvalidInput("The actions are subscribe, unsubscribe and ping.")
        except MillraceError as refused:
            answer = {"type": "error", "code": refused.code, "detail": refused.detail}
        except (msgspec.MsgspecError, UnicodeDecodeError):
            detail = 'A command is a JSON object such as {"action":"ping"}.'
            answer = {"type": "error", "code": "bad_request", "detail": detail}
        self._session.write(text_frame(encode_json(answer)))

    async def _subscribe(self, command: _Command) -> dict[str, object]:
        stream = self._stream(command)
        after = after_of(str(command.after), (await self._log.head()).epoch, field="after")
        await _check_known(self._log, self._tenant, stream)
        if self._everything is not None:  # the first job that is named narrows the socket to the ones that are
            self._session.unsubscribe(self._everything)
            self._everything = None
        if not self._session.subscribe((self._tenant, stream), after):
            raise InvalidInput("This job is subscribed already, or too many are.")
        return {"type": "subscribed", "job_id": command.job_id}

    def _unsubscribe(self, command: _Command) -> dict[str, object]:
        if not self._session.unsubscribe((self._tenant, self._stream(command))):
            raise NotFound("This job is not subscribed.")
        return {"type": "unsubscribed", "job_id": command.job_id}

    def _stream(self, command: _Command) -> str:
        if not self._narrows:
            raise InvalidInput("This socket is of one job. Open /ws to choose jobs.")
        return stream_name("job", _job_id(command.job_id or "", "job_id"))
