"""Cohorts: many are told the same bytes at once, and nobody can tell that from being told alone.

`test_notifier_session.py` is about the same with the real log.
"""

import asyncio
import random
import time

import pytest

from fixtures.cohorts import (
    ALL_JOBS,
    EVERYTHING,
    FORMS,
    PLAIN,
    SILENT,
    A,
    B,
    Client,
    Place,
    Plain,
    World,
    place,
    place_in,
)
from notifier.cohort import Cohort, Follower
from notifier.form import Channel, is_stream
from notifier.subscription import Subscription

SEEDS = 200


async def test_all_at_the_same_place_are_told_the_same_bytes_in_one_write_each() -> None:
    world = World()
    clients = [await world.live(A) for _ in range(3)]
    for _ in range(5):
        world.log.append("job:a")
    await world.tell()
    for client in clients:
        assert await client.has(5) == place("job:a", 1, 2, 3, 4, 5)
        assert [id(write) for write in client.writes] == [id(clients[0].writes[0])]


def test_who_joins_at_another_place_while_events_are_due_is_told_each_of_the_rest_once() -> None:
    world = World()
    room = world.hub.enter(A)
    early, later, ahead = (
        Subscription(room, cursor, PLAIN, world.client(), unexpected, conflate=False) for cursor in (0, 2, 4)
    )

    def heard() -> list[Cohort]:
        world.log.append("job:a")
        return list(room.hear(world.log.events[-1], {}))

    def taken(cohort: Cohort) -> dict[Follower, list[int]]:
        return {follower: [line.place for line in due.lines] for due, told in cohort.take() for follower in told}

    assert early.go_live()
    heard()
    (cohort,) = heard()
    assert later.go_live()
    assert ahead.go_live()
    heard()
    assert taken(cohort) == {early: [1, 2, 3], later: [3]}
    heard()
    heard()
    assert taken(cohort) == {early: [4, 5], later: [4, 5], ahead: [5]}
    heard()
    assert taken(cohort) == {early: [6], later: [6], ahead: [6]}


def unexpected(subscription: Subscription) -> None:
    raise AssertionError("It should not have fallen behind.")


async def test_who_has_not_read_all_that_was_told_reads_again_before_it_is_live() -> None:
    world = World()
    await world.live(A)
    joining = world.client()
    world.log.append("job:a")
    world.log.let_go.clear()
    joining.session.follow(A, 0, PLAIN)
    await world.until(lambda: world.log.pages == 2)
    world.log.append("job:a")
    await world.tell()
    world.log.let_go.set()
    assert await joining.has(2) == place("job:a", 1, 2)
    world.log.append("job:a")
    await world.tell()
    assert await joining.has(3) == place("job:a", 1, 2, 3)


async def test_whoever_begins_now_keeps_nobody_from_going_live_who_comes_from_the_last_event() -> None:
    """Now is behind the last event of a category; whoever has had all of that was sent to the log again and again."""
    world = World()
    for stream in ("job:a", "user:u", "user:u"):
        world.log.append(stream)
    await world.tell()
    now = world.client()
    assert now.session.follow(ALL_JOBS, None, PLAIN) == 3
    last = await world.live(ALL_JOBS)  # after position 1
    world.log.append("job:a")
    await world.tell()
    for client in (now, last):
        assert await client.has(1) == place("job:a", 2)


async def test_what_is_due_from_several_channels_is_written_at_once_in_the_order_of_the_log() -> None:
    world = World()
    both, other = await world.live(A, B), await world.live(B, A)
    for stream in ("job:b", "job:a", "job:c", "job:a", "job:b"):
        world.log.append(stream)
    await world.tell()
    expected = [("job:b", 1), ("job:a", 1), ("job:a", 2), ("job:b", 2)]
    for client in (both, other):
        assert await client.has(4) == expected
        assert len(client.writes) == 1


async def test_a_slow_member_delays_nobody_and_reads_from_the_log_when_it_can() -> None:
    world = World()
    slow, quick = await world.live(A), await world.live(A)
    slow.writable = False
    for version in range(1, 4):
        world.log.append("job:a")
        await world.tell()
        assert len(await quick.has(version)) == version
    assert slow.told == []
    slow.writable = True
    slow.session.resume()
    assert await slow.has(3) == place("job:a", 1, 2, 3)
    world.log.append("job:a")
    await world.tell()
    assert (await slow.has(4))[3:] == (await quick.has(4))[3:] == place("job:a", 4)


async def test_who_leaves_while_a_round_is_under_way_is_told_nothing_more() -> None:
    world = World()
    first, leaving, last = [await world.live(A, B) for _ in range(3)]
    first.before_write = lambda: leaving.session.unfollow(A)
    for stream in ("job:a", "job:b"):
        world.log.append(stream)
    await world.tell()
    assert len(await last.has(2)) == 2
    assert leaving.told == place("job:b", 1)


async def test_a_long_round_lets_others_have_their_turn() -> None:
    def write_slowly() -> None:
        until = time.perf_counter() + 0.0005
        while time.perf_counter() < until:
            pass

    world = World()
    clients = [await world.live(A) for _ in range(100)]
    for client in clients:
        client.before_write = write_slowly
    world.log.append("job:a")
    await world.tell()
    await clients[0].has(1)
    assert clients[-1].told == []
    assert await clients[-1].has(1) == place("job:a", 1)


async def test_only_who_asks_for_it_is_told_only_the_latest_progress() -> None:
    world = World()
    all_of_it, latest = await world.live(EVERYTHING), await world.live(EVERYTHING, conflate=True)
    written = [
        ("job:a", "job.progressed"),
        ("job:a", "job.paused"),
        ("job:b", "job.progressed"),
        ("job:a", "job.progressed"),
        ("job:a", "job.progressed"),
        ("job:a", "job.paused"),
        ("job:b", "job.completed"),
    ]
    for stream, type_ in written:
        world.log.append(stream, type_)
    chosen = [("job:a", 2), ("job:b", 1), ("job:a", 4), ("job:a", 5), ("job:b", 2)]
    await world.tell()
    assert len(await all_of_it.has(7)) == 7
    assert await latest.has(5) == chosen

    read = world.client()
    read.session.follow(EVERYTHING, 0, PLAIN, conflate=True)
    assert await read.has(5) == chosen
    read_all = world.client()
    read_all.session.follow(EVERYTHING, 0, PLAIN)
    assert await read_all.has(7) == all_of_it.told


async def test_what_the_form_has_no_words_for_leaves_no_gap() -> None:
    world = World()
    client = await world.live(A)
    for type_ in (SILENT, "job.paused", SILENT, SILENT):
        world.log.append("job:a", type_)
        await world.tell()
    assert await client.has(1) == place("job:a", 2)
    client.writable = False
    for type_ in (SILENT, "job.paused"):
        world.log.append("job:a", type_)
        await world.tell()
    await world.until(lambda: client.session.behind == 1)
    client.writable = True
    client.session.resume()
    assert await client.has(2) == place("job:a", 2, 6)


async def test_a_hole_before_something_that_the_form_has_no_words_for_is_filled_from_the_log() -> None:
    world = World()
    client = await world.live(A)
    world.log.append("job:a", times=3)
    world.log.append("job:a", SILENT)
    await world.tell(1)
    await client.has(1)
    await world.hub.broadcast(world.log.events[3:])
    assert await client.has(3) == place("job:a", 1, 2, 3)


@pytest.mark.parametrize("fails", ["encode", "pack"])
async def test_a_form_that_breaks_fails_those_who_follow_in_it_and_nobody_else(fails: str) -> None:
    def broken(_: object) -> bytes:
        raise RuntimeError(fails)

    form = Plain()
    world = World()
    well, ill = await world.live(A), world.client()
    ill.session.follow(A, 0, form)
    await world.until(lambda: not ill.session.behind)
    setattr(form, fails, broken)
    for version in range(1, 4):
        world.log.append("job:a")
        await world.tell()
        assert await well.has(version) == place("job:a", *range(1, version + 1))
    await world.until(lambda: ill.failed is not None)
    assert ill.told == []


async def test_no_order_of_anything_loses_or_repeats_or_reorders_what_is_told() -> None:
    for seed in range(SEEDS):
        await _one_history(random.Random(seed))


async def _one_history(dice: random.Random) -> None:
    world = World()
    clients = [world.client() for _ in range(4)]
    since: dict[tuple[Client, Channel], int] = {}  # whoever follows wants everything after that place
    for _ in range(dice.randrange(20, 80)):
        client, channel = dice.choice(clients), dice.choice(list(FORMS))
        match dice.randrange(8):
            case 0 | 1:
                for _ in range(dice.randrange(1, 4)):
                    world.log.append(
                        dice.choice(("job:a", "job:a", "job:b", "upload:u")), dice.choice(("job.paused", SILENT))
                    )
            case 2:
                await world.tell(dice.randrange(1, 5))
            case 3:
                world.log.let_go.set()
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
                world.log.let_go.clear()
            case 4 | 5 if (client, channel) not in since:
                from_now = not is_stream(channel) and dice.random() < 0.3
                places = [0, *map(place_in(channel), world.log.of(channel))]
                cursor = None if from_now else dice.choice(places[-5:])
                since[client, channel] = client.session.follow(channel, cursor, FORMS[channel])
            case 6:
                client.writable = not client.writable
                client.session.resume()
            case 7 if (client, channel) in since:
                client.session.unfollow(channel)
                expected = _expected(world, channel, since.pop((client, channel)))
                told = client.told_in(str(channel[1]))
                assert told == expected[: len(told)]
                client.forget(str(channel[1]))
            case _:
                await asyncio.sleep(0)
    world.log.let_go.set()
    for client in clients:
        client.writable = True
        client.session.resume()
    await world.tell()
    for client in clients:
        followed = [channel for channel in FORMS if (client, channel) in since]
        wanted = {channel: _expected(world, channel, since[client, channel]) for channel in followed}
        await client.has(sum(len(places) for places in wanted.values()))
        assert {channel: client.told_in(str(channel[1])) for channel in wanted} == wanted
        client.session.close()


def _expected(world: World, channel: Channel, since: int) -> list[Place]:
    return [
        (event.subject, event.version)
        for event in world.log.of(channel)
        if place_in(channel)(event) > since and PLAIN.encode(event) is not None
    ]


class Gone(Client):
    """Its transport raises, even when a farewell is written."""

    def write(self, frame: bytes) -> bool:
        raise RuntimeError("The handler is closed.")

    def fail(self, error: Exception) -> None:
        raise RuntimeError("The handler is closed.")


@pytest.mark.parametrize("channels", [(A,), (A, B)])
async def test_a_connection_that_cannot_even_fail_keeps_nobody_else_from_being_told(
    channels: tuple[Channel, ...],
) -> None:
    """The round died of it, and whoever it had not told yet was told what came next without that."""
    world = World()
    gone = Gone(world.following)
    for channel in channels:
        gone.session.follow(channel, 0, PLAIN)
    await world.until(lambda: not gone.session.behind)
    others = [await world.live(*channels) for _ in range(2)]
    for stream in ("job:a", "job:b"):
        world.log.append(stream)
    await world.tell()
    for client in others:
        assert await client.has(len(channels)) == place("job:a", 1) + place("job:b", 1)[: len(channels) - 1]
