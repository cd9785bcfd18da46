"""What an append answers, per request. `test_append_model.py` holds the same rules against random batches."""

import asyncio

import pytest

from deploy.provision import Database
from events.envelope import Event
from events.log.append import Appended, AppendRequest, Duplicate, Expected, IdReused, VersionConflict
from fixtures.log import TENANT, note, open_log, request


async def test_each_expected_version_is_judged_by_what_the_stream_has(database: Database) -> None:
    async with open_log(database) as opened:
        append = opened.appender.append
        assert await append(request(note("note:a"), expected=Expected.EXISTS)) == VersionConflict(0)
        assert await append(request(note("note:a"), expected=1)) == VersionConflict(0)
        assert await append(request(note("note:a"), note("note:a"), expected=Expected.NONE)) == Appended(1, 2, 2)
        assert await append(request(note("note:a"), expected=Expected.NONE)) == VersionConflict(2)
        assert await append(request(note("note:a"), expected=1)) == VersionConflict(2)
        assert await append(request(note("note:a"), expected=3)) == VersionConflict(2)
        assert await append(request(note("note:a"), expected=2)) == Appended(3, 3, 3)
        assert await append(request(note("note:a"), expected=Expected.EXISTS)) == Appended(4, 4, 4)
        assert await append(request(note("note:a"), expected=Expected.ANY)) == Appended(5, 5, 5)
        assert await append(request(note("note:b"), expected=Expected.ANY)) == Appended(6, 6, 1)
        assert (await opened.log.head()).position == 6


async def test_a_repetition_gets_the_first_outcome_whatever_it_expects_now(database: Database) -> None:
    first = request(note("note:a"), note("note:a"), expected=Expected.NONE)
    async with open_log(database) as opened:
        assert await opened.appender.append(first) == Appended(1, 2, 2)
        await opened.appender.append(request(note("note:a")))
        for expected in (Expected.NONE, 2, 99, Expected.ANY, Expected.EXISTS):
            again = AppendRequest(TENANT, "note:a", first.events, expected)
            assert await opened.appender.append(again) == Duplicate(1, 2, 2)
        assert (await opened.log.head()).position == 3


async def test_a_part_of_a_request_is_a_repetition_too(database: Database) -> None:
    events = [note("note:a", text) for text in ("one", "two", "three")]
    async with open_log(database) as opened:
        await opened.appender.append(request(*events))
        assert await opened.appender.append(request(*events[1:])) == Duplicate(2, 3, 3)
        assert await opened.appender.append(request(events[0])) == Duplicate(1, 1, 1)


async def test_a_repetition_may_be_stamped_with_another_time_and_trace(database: Database) -> None:
    first = note("note:a")
    async with open_log(database) as opened:
        await opened.appender.append(request(first))
        again = note("note:a", id=first.id)
        assert again.time != first.time
        assert await opened.appender.append(request(again)) == Duplicate(1, 1, 1)


async def test_an_id_cannot_be_used_for_anything_else(database: Database) -> None:
    known, later = note("note:a", "one"), note("note:a", "two")
    async with open_log(database) as opened:
        await opened.appender.append(request(known))
        await opened.appender.append(request(note("note:a")))
        await opened.appender.append(request(later))

        async def refused(*events: Event) -> None:
            assert await opened.appender.append(request(*events)) == IdReused(known.id)

        await refused(note("note:a", "other data", id=known.id))
        await refused(note("note:b", "one", id=known.id))
        await refused(note("note:a", "one", id=known.id, type="note.erased"))
        await refused(known, note("note:a"))  # half of it is new
        await refused(note("note:a"), known)
        await refused(known, later)  # they were not recorded together
        await refused(known, known)
        assert (await opened.log.head()).position == 3


async def test_a_new_id_cannot_stand_twice_in_one_request(database: Database) -> None:
    first, twice = note("note:a"), note("note:a")
    async with open_log(database) as opened:
        assert await opened.appender.append(request(first, twice, twice)) == IdReused(twice.id)
        assert (await opened.log.head()).position == 0


async def test_the_same_id_of_another_tenant_is_another_event(database: Database) -> None:
    mine = note("note:a")
    theirs = note("note:a", "theirs", id=mine.id, tenant="other")
    async with open_log(database) as opened:
        outcomes = await opened.appender.append_all([request(mine), request(theirs)])
    assert outcomes == [Appended(1, 1, 1), Appended(2, 2, 1)]


async def test_each_request_of_a_batch_sees_the_ones_before_it(database: Database) -> None:
    one, two, three = (note("note:a", text) for text in ("one", "two", "three"))
    async with open_log(database) as opened:
        outcomes = await opened.appender.append_all(
            [
                request(one, expected=1),
                request(one, expected=Expected.NONE),
                request(one, expected=Expected.NONE),
                request(two, expected=1),
                request(three, expected=1),
                request(two, three),
                request(three, expected=2),
                request(note("note:b"), expected=Expected.EXISTS),
            ]
        )
        assert outcomes == [
            VersionConflict(0),
            Appended(1, 1, 1),
            Duplicate(1, 1, 1),
            Appended(2, 2, 2),
            VersionConflict(2),
            IdReused(two.id),
            Appended(3, 3, 3),
            VersionConflict(0),
        ]
        assert [event.position for event in await opened.log.read(0, 10)] == [1, 2, 3]
        assert await opened.log.stream_version(TENANT, "note:b") is None  # a conflict reserves nothing


async def test_a_batch_in_which_everybody_gets_what_they_expect(database: Database) -> None:
    async with open_log(database) as opened:
        outcomes = await opened.appender.append_all(
            [
                request(note("note:a"), expected=Expected.NONE),
                request(note("note:b"), note("note:b")),
                request(note("note:a"), expected=1),
                request(note("note:a"), expected=Expected.EXISTS),
                request(note("note:b"), expected=2),
            ]
        )
    assert outcomes == [Appended(1, 1, 1), Appended(2, 3, 2), Appended(4, 4, 2), Appended(5, 5, 3), Appended(6, 6, 3)]


async def test_one_conflict_does_not_fail_its_batch_mates(database: Database) -> None:
    async with open_log(database) as opened:
        requests = [request(note(f"note:{n}"), expected=1 if n % 3 == 0 else Expected.NONE) for n in range(60)]
        outcomes = await asyncio.gather(*(opened.appender.append(one) for one in requests))
        for n, outcome in enumerate(outcomes):
            assert isinstance(outcome, VersionConflict if n % 3 == 0 else Appended)
        assert [event.position for event in await opened.log.read(0, 100)] == list(range(1, 41))


async def test_many_callers_on_one_stream_get_consecutive_versions(database: Database) -> None:
    async with open_log(database) as opened:
        outcomes = await asyncio.gather(*(opened.appender.append(request(note("note:a"))) for _ in range(300)))
    assert sorted(outcome.version for outcome in outcomes if isinstance(outcome, Appended)) == list(range(1, 301))


async def test_of_callers_that_expect_the_same_version_one_wins(database: Database) -> None:
    async with open_log(database) as first, open_log(database) as second:
        racing = [
            opened.appender.append(request(note("note:a"), expected=Expected.NONE))
            for opened in (first, second)
            for _ in range(20)
        ]
        outcomes = await asyncio.gather(*racing)
    assert sum(isinstance(outcome, Appended) for outcome in outcomes) == 1
    assert sum(outcome == VersionConflict(1) for outcome in outcomes) == 39


async def test_a_request_is_of_one_stream_and_has_events() -> None:
    with pytest.raises(ValueError, match="without events"):
        AppendRequest(TENANT, "note:a", ())
    with pytest.raises(ValueError, match="note:b"):
        AppendRequest(TENANT, "note:a", (note("note:a"), note("note:b")))
    with pytest.raises(ValueError, match="other"):
        AppendRequest(TENANT, "note:a", (note("note:a", tenant="other"),))
