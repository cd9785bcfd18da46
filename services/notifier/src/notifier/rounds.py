"""Rounds: what is due to all cohorts is written to each connection at once.

While a round is under way, or rests, more becomes due: the next one tells all of it by one system call for each
connection. So the more there is to tell, the less an event costs; and where there is little, it waits for nothing.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from contextvars import Context
from itertools import groupby, islice
from operator import itemgetter
from time import perf_counter

from opentelemetry.trace import Span, SpanContext, SpanKind
from structlog.stdlib import BoundLogger

from events.delivery.message_spans import SEND, about
from events.telemetry import Telemetry
from notifier.cohort import Cohort, Due, Follower
from notifier.lines import RUN_BYTES
from notifier.outlet import Outlet, give_up
from notifier.turn import Turn

_LONGEST_REST_SECONDS = 0.02

_WRITES_BETWEEN_LOOKS = 32  # at the clock

_SENDING = about(SEND, "websocket", "websocket")


class Rounds:
    def __init__(self, telemetry: Telemetry) -> None:
        self._log, self._tracing = telemetry.log, telemetry.tracing
        self._heard_in: SpanContext | None = None  # the span of the batch that was heard last
        self._frames = telemetry.counter("millrace_notifier_frames_total", "Events written to live connections.")
        self._seconds = telemetry.histogram(
            "millrace_notifier_round_duration_seconds", "One round: what is due to everybody, written."
        )
        due = telemetry.gauge("millrace_notifier_due_bytes", "Bytes of events that wait for the next round.")
        due.set_function(lambda: sum(cohort.size for cohort in self._due))
        cohorts = telemetry.gauge("millrace_notifier_due_cohorts", "Groups of followers to whom something is due.")
        cohorts.set_function(lambda: len(self._due))
        self._due: dict[Cohort, None] = {}
        self._under_way: asyncio.Task[None] | None = None
        self._full = asyncio.Event()  # as much is due to a cohort as is written at once
        self._roomy = asyncio.Event()  # the contrary
        self._roomy.set()

    def add(self, cohort: Cohort) -> None:
        """Something is due to it."""
        self._due[cohort] = None
        if cohort.size >= RUN_BYTES:
            self._full.set()
            self._roomy.clear()
        if self._under_way is None:
            # In nobody's trace: it tells what was heard in many, and what it begins goes on when it is over.
            self._under_way = asyncio.create_task(self._go(), context=Context())

    def hear_in(self, span: SpanContext | None) -> None:
        """What becomes due now was heard in it."""
        self._heard_in = span

    @property
    def full(self) -> bool:
        """Whether no more should become due: wait for `roomy`."""
        return not self._roomy.is_set()

    async def roomy(self) -> None:
        await self._roomy.wait()

    async def _go(self) -> None:
        time = asyncio.get_running_loop().time
        try:
            while self._due:
                began = time()
                await self._round()
                if self._due:
                    await self._rest(time() - began)
        finally:
            self._under_way = None

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, _LONGEST_REST_SECONDS)):
                await self._full.wait()

    async def _round(self) -> None:
        began, turn = perf_counter(), Turn()
        taken = await self._take(turn)
        with self._span(taken) as span:
            span.set_attribute("messaging.batch.message_count", await self._tell(taken, turn))
        self._seconds.observe(perf_counter() - began)

    def _span(self, taken: list[tuple[Due, list[Follower]]]) -> AbstractContextManager[Span]:
        """One for the whole round, if it tells something whose trace is collected: none for each write."""
        causes = (line.event.traceparent for due, _ in taken for line in due.lines)
        return self._tracing.batch(
            "send websocket", causes, kind=SpanKind.PRODUCER, attributes=_SENDING, under=self._heard_in
        )

    async def _tell(self, taken: list[tuple[Due, list[Follower]]], turn: Turn) -> int:
        told, frames = _tell(taken, self._log), 0
        while writes := list(islice(told, _WRITES_BETWEEN_LOOKS)):
            frames += sum(writes)
            if turn.over:
                await turn.pass_on()
        self._frames.inc(frames)
        return frames

    async def _take(self, turn: Turn) -> list[tuple[Due, list[Follower]]]:
        cohorts, self._due = self._due, {}
        self._full.clear()
        # Else what comes meanwhile would be told in this round by some of a connection's channels, and by others not.
        self._roomy.clear()
        taken = []
        try:
            for cohort in cohorts:
                taken += cohort.take()
                if turn.over:
                    await turn.pass_on()
        finally:
            self._roomy.set()
        return taken


def _tell(taken: list[tuple[Due, list[Follower]]], log: BoundLogger) -> Iterator[int]:
    """Tell all of it, one write after the other. How many events each write told."""
    together: dict[Outlet, list[tuple[Follower, Due]]] = {}  # to whom something is due in several channels
    for due, followers in taken:
        data, count = _data(due), len(due.lines)
        for follower in followers:
            if not follower.live:  # it has left meanwhile
                continue
            if data is None:
                follower.fall_behind(due.after)
                yield 0
                continue
            if not follower.alone and len(taken) > 1:
                together.setdefault(follower.outlet, []).append((follower, due))
                yield 0
                continue
            try:
                written = follower.outlet.write(data)
            except Exception as error:
                written = False
                give_up(follower.outlet, error, log)
            if written:
                yield count
                continue
            if follower.live:
                follower.fall_behind(due.after)
            yield 0
    packed: dict[tuple[Due, ...], bytes] = {}
    for outlet, told in together.items():
        yield _tell_together(outlet, [(follower, due) for follower, due in told if follower.live], packed, log)


def _data(due: Due) -> bytes | None:
    """None if it must be read from the log. Where it fails, it fails there as well, and there it is theirs alone."""
    if due.torn:
        return None
    try:
        return due.packed
    except Exception:
        return None


def _tell_together(
    outlet: Outlet, told: list[tuple[Follower, Due]], packed: dict[tuple[Due, ...], bytes], log: BoundLogger
) -> int:
    try:
        written = not told or outlet.write(_packed(tuple(due for _, due in told), packed))
    except Exception as error:
        written = False
        give_up(outlet, error, log)
    if written:
        return sum(len(due.lines) for _, due in told)
    for follower, due in told:
        if follower.live:
            follower.fall_behind(due.after)
    return 0


def _packed(dues: tuple[Due, ...], packed: dict[tuple[Due, ...], bytes]) -> bytes:
    """All of it in the log's order; made once for all who follow the same channels."""
    if len(dues) == 1:
        return dues[0].packed
    if dues not in packed:
        lines = [(line.event.position, due.form, line.written) for due in dues for line in due.lines]
        lines.sort(key=itemgetter(0))
        packed[dues] = b"".join(form.pack([line[2] for line in run]) for form, run in groupby(lines, key=itemgetter(1)))
    return packed[dues]
