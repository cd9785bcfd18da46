"""`GET /api/v1/connection/sse`: which channels, from where, and whether that can be had."""

from typing import Annotated

from fastapi import Depends, Header, Query, Request, Response

from events.database import DATABASE_GONE
from events.envelope import encode_json
from events.errors import BadRequest, CursorExpired, FieldError, InvalidInput, MillraceError, NotFound
from events.identity import Principal
from events.log.log import EventLog
from events.web.answers import no_unknown_parameters
from events.web.event_stream import HEADERS, MEDIA_TYPE, come_again, farewell, message, wants_events
from events.web.openapi import DescribedRoutes, Responses, problems
from events.web.web import PrincipalOf, as_millrace_error
from notifier.channels import channel_of, hidden_from, name_of, newest_of
from notifier.dialects.sse.cursors import Cursors
from notifier.dialects.sse.form import EventForm, of_one, of_several
from notifier.dialects.sse.stream import EventAnswer, EventStream
from notifier.floor import Floor
from notifier.form import Channel, is_stream
from notifier.hub import Hub
from notifier.session import Session

MOST_CHANNELS = 100

_REFUSALS: tuple[type[Exception], ...] = (MillraceError, *DATABASE_GONE)

_CURSOR = "header.last-event-id"
_EXAMPLE = (
    "retry: 1840\nid: 01a1fbe0-3c5e-7b1a-9d52-0b6a7f2f3c11.1\n\n"
    "id: 01a1fbe0-3c5e-7b1a-9d52-0b6a7f2f3c11.2\n"
    'data: {"id":"01a1fbea-7d20-7c55-8b7e-2f6d1f0f4a10","type":"job.started","subject":'
    '"job:01a1fbea-6fbc-7335-a459-98abf90680e7",…}\n\n'
)
_STREAM: Responses = {
    200: {
        "description": "Events as they happen, until one side hangs up.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": _EXAMPLE}},
    }
}

Channels = Annotated[
    list[str],
    Query(
        min_length=1,
        max_length=MOST_CHANNELS,
        description="`job:<id>`, `upload:<id>`, `user:<id>`, `tenant:<id>`, or all of a category: `job:*`. May be "
        "repeated.",
    ),
]
After = Annotated[
    str | None,
    Query(
        max_length=2200,
        description="The id after which to go on, or 0 for the beginning. Without it, what happens from now on.",
    ),
]
Conflate = Annotated[
    bool,
    Query(description="Whether of a job's or an upload's progress the latest is enough, where more is due at once."),
]
LastEventId = Annotated[
    str | None, Header(description="The same, as a browser sends it when it comes again. It counts instead of `after`.")
]


class Following:
    """One request: what it wants to follow, and from where."""

    def __init__(
        self, channels: list[Channel], cursors: Cursors, hub: Hub, hidden: frozenset[str], *, conflate: bool
    ) -> None:
        self.channels = channels
        self.cursors = cursors
        self.begins: list[int | None] = [None] * len(channels)  # after which to tell of each; None for from now on
        self._gaps: dict[int, MillraceError] = {}
        self._hub = hub
        self._hidden = hidden
        self._conflate = conflate

    def miss(self, number: int, why: MillraceError) -> None:
        """What the cursor of a channel asks for cannot be had: it goes on from now."""
        self._gaps[number] = why

    def begin(self, session: Session) -> bytes:
        """Subscribe, and say where that begins. Raise `Unavailable` if the feed has ended since it was admitted."""
        self._hub.check(self.cursors.epoch)
        for number, (channel, begin) in enumerate(zip(self.channels, self.begins, strict=True)):
            form = self._form(number)
            self.cursors.places[number] = session.follow(channel, begin, form, conflate=self._conflate)
        id_ = self.cursors.id
        said = [b"%bid: %b\n\n" % (come_again(), id_.encode())]
        for number, why in self._gaps.items():
            gap = {
                "channel": name_of(self.channels[number]),
                "code": why.code,
                "detail": why.detail,
                "epoch": self._hub.epoch,
                "offset": self.cursors.places[number],
            }
            said.append(message(encode_json(gap), event="gap", id_=id_))
        return b"".join(said)

    def _form(self, number: int) -> EventForm:
        dense = is_stream(self.channels[number])
        if len(self.channels) == 1:
            return of_one(self._hub.epoch, dense, self._hidden)
        return of_several(number, dense, self._hidden)


def sse_routes(floor: Floor, hub: Hub, log: EventLog) -> DescribedRoutes:
    routes = DescribedRoutes(
        prefix="/api/v1/connection", tags=["events"], dependencies=[Depends(no_unknown_parameters)]
    )

    @routes.get(
        "/sse", summary="Follow channels", response_class=Response, responses=_STREAM | problems(NotFound)
    )  # fmt: skip
    async def follow(
        request: Request,
        principal: PrincipalOf,
        channel: Channels,
        after: After = None,
        conflate: Conflate = False,
        last_event_id: LastEventId = None,
    ) -> Response:
        """Server-sent events: each event of the channels, once and in order. `EventSource` goes on where it was."""
        request_id, path = request.state.request_id, request.url.path
        if request.scope["http_version"] != "1.1":
            raise BadRequest("A stream of events needs HTTP/1.1.")
        try:
            following = await admit(principal, channel, after, last_event_id or None, conflate=conflate)
        except _REFUSALS as raised:
            error = as_millrace_error(raised)
            if error.retryable and wants_events(request.headers.get("accept", "")):
                return Response(farewell(error, instance=path, request_id=request_id), headers=HEADERS)
            raise
        stamp = following.cursors.stamped if len(channel) > 1 else None
        stream = EventStream(
            floor, following.begin, stamp, expires_at=principal.expires_at, path=path, request_id=request_id
        )
        return EventAnswer(stream)

    async def admit(
        principal: Principal, names: list[str], after: str | None, last_id: str | None, *, conflate: bool
    ) -> Following:
        channels = _channels(names, principal)
        floor.check_room()
        cursors = Cursors(hub.epoch, names)
        following = Following(channels, cursors, hub, hidden_from(principal), conflate=conflate)
        wanted, why = _wanted(cursors, after, last_id)
        for number, channel in enumerate(channels):
            newest = await newest_of(channel, log, hub)
            if wanted is not None and wanted[number] <= newest:
                following.begins[number] = wanted[number]
                continue
            if wanted is not None:
                why = CursorExpired(f"The newest event of this channel is {newest}, and the cursor {wanted[number]}.")
            if why is not None:
                following.miss(number, why)
            # Of a stream, the version is known; what has a position is told from where the hub is.
            following.begins[number] = newest if is_stream(channel) else None
        return following

    return routes


def _channels(names: list[str], principal: Principal) -> list[Channel]:
    channels = []
    for number, name in enumerate(names):
        field = f"query.channel.{number}"
        if name in names[:number]:
            detail = "Name each channel once."
            raise InvalidInput(detail, errors=[FieldError(field, "repeated", detail)])
        try:
            channels.append(channel_of(name, principal))
        except InvalidInput as wrong:
            raise InvalidInput(wrong.detail, errors=[FieldError(field, "channel", wrong.detail)]) from None
    return channels


def _wanted(cursors: Cursors, after: str | None, last_id: str | None) -> tuple[list[int] | None, MillraceError | None]:
    """The places after which to go on, None for from now on; and why, if others were asked for.

    What a browser sends by itself, nobody can correct: then it is told within the stream."""
    try:
        if last_id is not None:
            return cursors.read(last_id, _CURSOR), None
        return (None if after is None else cursors.read(after, "query.after")), None
    except CursorExpired as expired:
        return None, expired
    except InvalidInput as wrong:
        if last_id is None:
            raise
        return None, wrong
