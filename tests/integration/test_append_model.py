"""The append function against a model of its rules in plain Python, over random batches."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.provision import Database
from events.envelope import Event
from events.log.append import Appended, AppendRequest, Duplicate, Expected, IdReused, Outcome, VersionConflict
from fixtures.log import OpenLog, as_owner, note, open_log

IDS = [UUID(int=n) for n in range(1, 13)]
STREAMS = ["note:a", "note:b", "note:c"]
TENANTS = ["acme", "other"]


@dataclass
class Model:
    """What the log must do, one request at a time."""

    events: list[Event] = field(default_factory=list)  # by position
    versions: dict[tuple[str, str], int] = field(default_factory=dict)

    def append(self, request: AppendRequest) -> Outcome:
        known = {(event.tenant, event.id): position for position, event in enumerate(self.events, 1)}
        positions = [known.get((event.tenant, event.id)) for event in request.events]
        if any(positions):
            return self._judge_known(request, positions)
        if len({event.id for event in request.events}) < len(request.events):
            return IdReused(UUID(int=0))
        version = self.versions.get((request.tenant, request.stream), 0)
        if request.expected not in (version, Expected.ANY) and not (request.expected == Expected.EXISTS and version):
            return VersionConflict(version)
        self.events.extend(request.events)
        self.versions[request.tenant, request.stream] = version + len(request.events)
        last = len(self.events)
        return Appended(last - len(request.events) + 1, last, version + len(request.events))

    def _judge_known(self, request: AppendRequest, positions: list[int | None]) -> Outcome:
        first = positions[0]
        if first is None or positions != list(range(first, first + len(positions))):
            return IdReused(UUID(int=0))
        recorded = self.events[first - 1 : first - 1 + len(positions)]
        if any(_content(old) != _content(new) for old, new in zip(recorded, request.events, strict=True)):
            return IdReused(UUID(int=0))
        last = first + len(positions) - 1
        mine = [event for event in self.events[:last] if _place(event) == (request.tenant, request.stream)]
        return Duplicate(first, last, len(mine))


def _content(event: Event) -> tuple[str, str, bytes]:
    return event.subject, event.type, bytes(event.data)


def _place(event: Event) -> tuple[str, str]:
    return event.tenant, event.subject


@st.composite
def requests(draw: st.DrawFn) -> AppendRequest:
    tenant, stream = draw(st.sampled_from(TENANTS)), draw(st.sampled_from(STREAMS))
    ids = draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=3))
    # Mostly an id always says the same, so that repetitions are met; sometimes it does not.
    texts = [draw(st.sampled_from([f"text of {id_.int}"] * 5 + ["other"])) for id_ in ids]
    events = tuple(note(stream, text, id=id_, tenant=tenant) for id_, text in zip(ids, texts, strict=True))
    expected = draw(st.one_of(st.sampled_from([*Expected, Expected.ANY]), st.integers(1, 6)))
    return AppendRequest(tenant, stream, events, expected)


def _comparable(outcome: Outcome) -> Any:
    """Which of several wrong ids is named is not part of the rules."""
    return IdReused if isinstance(outcome, IdReused) else outcome


async def _check(opened: OpenLog, batches: list[list[AppendRequest]]) -> None:
    model = Model()
    for batch in batches:
        expected = [model.append(request) for request in batch]
        found = await opened.appender.append_all(batch)
        assert [_comparable(one) for one in found] == [_comparable(one) for one in expected]
        for request, outcome in zip(batch, found, strict=True):
            if isinstance(outcome, IdReused):
                assert outcome.id in {event.id for event in request.events}
    recorded = await opened.log.read(0, 1000)
    assert [(e.position, e.tenant, e.id, *_content(e)) for e in recorded] == [
        (position, e.tenant, e.id, *_content(e)) for position, e in enumerate(model.events, 1)
    ]
    for (tenant, stream), version in model.versions.items():
        assert await opened.log.stream_version(tenant, stream) == version
        versions = [event.version for event in await opened.log.read_stream(tenant, stream, 0, 1000)]
        assert versions == list(range(1, version + 1))


async def test_random_batches_are_judged_as_by_the_model(database: Database) -> None:
    async with as_owner(database) as owner, open_log(database) as opened:

        async def fresh_log(batches: list[list[AppendRequest]]) -> None:
            await owner.execute("TRUNCATE events.events, events.event_ids, events.streams")
            await owner.execute("UPDATE events.head SET position = 0")
            await _check(opened, batches)

        loop = asyncio.get_running_loop()

        @settings(max_examples=75, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(st.lists(st.lists(requests(), min_size=1, max_size=6), min_size=1, max_size=4))
        def check(batches: list[list[AppendRequest]]) -> None:
            asyncio.run_coroutine_threadsafe(fresh_log(batches), loop).result()

        await asyncio.to_thread(check)
