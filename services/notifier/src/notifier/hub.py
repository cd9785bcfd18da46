"""Who follows what. The hub hears each event once, in the log's order, and tells it to everybody who follows it."""

from collections.abc import Sequence
from uuid import UUID

from events.envelope import RecordedEvent, utc_now
from events.errors import Unavailable
from events.log.log import Head
from events.metrics.metrics import exemplar
from events.telemetry import Telemetry
from events.traces.tracing import current_context
from notifier.cohort import Room
from notifier.form import Channel, Written
from notifier.rounds import Rounds
from notifier.turn import Turn


class Hub:
    def __init__(self, telemetry: Telemetry) -> None:
        self._rooms: dict[Channel, Room] = {}
        self._epoch: UUID | None = None
        self.position = 0  # everything up to here has been heard
        self._generation = 0  # rises when this may be another log
        self._heard = telemetry.gauge("millrace_notifier_position", "Everything up to here has been told.")
        self._events = telemetry.counter("millrace_notifier_events_total", "Events told.")
        self._ages = telemetry.histogram(
            "millrace_notifier_event_age_seconds", "How old the newest event of each batch was when it was told."
        )
        self._followers = telemetry.gauge("millrace_notifier_followers", "Channels that connections follow.")
        self._rounds = Rounds(telemetry)

    @property
    def epoch(self) -> UUID:
        """The log's identity. Raise `Unavailable` while it is not known."""
        if self._epoch is None:
            raise Unavailable("The notifier has not reached the log. Try again.", headers={"Retry-After": "1"})
        return self._epoch

    @property
    def begun(self) -> bool:
        return self._epoch is not None

    def begin(self, head: Head) -> None:
        """Tell what comes after the head: who wants what was before reads the log."""
        self._epoch, self.position = head.epoch, head.position
        self._generation += 1
        self._rooms = {}  # whoever is still in one was sent away, and the places there may be of another log

    def end(self) -> None:
        """Admit nobody any more: what the log says cannot be relied on."""
        self._epoch = None

    def check(self, epoch: UUID) -> None:
        """Raise `Unavailable` if it does not, or not any more, tell what that log says."""
        if self._epoch != epoch:
            raise Unavailable("This notifier cannot follow the log. Connect again.", headers={"Retry-After": "1"})

    def enter(self, channel: Channel) -> Room:
        """Hear from now on what comes in the channel."""
        room = self._rooms.get(channel)
        if room is None:
            room = self._rooms[channel] = Room(channel, self._generation)
        room.followers += 1
        self._followers.inc()
        return room

    def leave(self, room: Room) -> None:
        room.followers -= 1
        self._followers.dec()
        if not room.followers and self._rooms.get(room.channel) is room:
            del self._rooms[room.channel]

    async def broadcast(self, batch: Sequence[RecordedEvent]) -> None:
        """Tell a batch to its followers, soon. Whoever joins in the middle is told what follows `position`."""
        self._rounds.hear_in(current_context())
        turn = Turn()
        for event in batch:
            self.position = event.position
            written: Written = {}
            for channel in _channels(event):
                room = self._rooms.get(channel)
                if room is None:
                    continue
                for cohort in room.hear(event, written):
                    if cohort.due:
                        self._rounds.add(cohort)
                    if turn.over:  # there may be a form for each client
                        await turn.pass_on()
            if self._rounds.full:
                await self._rounds.roomy()
            if turn.over:
                await turn.pass_on()
        self._heard.set(self.position)
        self._events.inc(len(batch))
        for event in batch[-1:]:
            self._ages.observe(max(0.0, (utc_now() - event.time).total_seconds()), exemplar(event.traceparent or ""))


def _channels(event: RecordedEvent) -> tuple[Channel, ...]:
    category, _, _ = event.subject.partition(":")
    return (event.tenant, event.subject), (event.tenant, f"{category}:*"), (event.tenant, None)
