"""However many are told something, everybody else has a turn in between; and none of that can be told from one go."""

import asyncio
import random
import time

import pytest

from events.envelope import RecordedEvent
from fixtures.cohorts import FORMS, PATIENCE, PLAIN, TENANT, A, Client, Plain, World, place, place_in
from notifier import turn
from notifier.form import Channel, is_stream

CLIENTS = 100
SEEDS = 50


class SlowForm(Plain):
    """Its words do not come easily."""

    def encode(self, event: RecordedEvent) -> bytes | None:
        until = time.perf_counter() + 0.0005
        while time.perf_counter() < until:
            pass
        return super().encode(event)


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is over as soon as somebody looks."""
    monkeypatch.setattr(turn, "TURN_SECONDS", -1.0)


async def test_an_event_that_is_written_in_many_forms_lets_others_have_their_turn() -> None:
    """Each socket with a bound ticket had a form of its own. An event was written for all of them in one go."""
    world = World()
    clients = [world.client() for _ in range(CLIENTS)]
    for client in clients:
        client.session.follow(A, 0, SlowForm())
    await world.until(lambda: not any(client.session.behind for client in clients))
    world.log.append("job:a")
    telling = asyncio.create_task(world.tell())
    await asyncio.sleep(0)
    assert not telling.done()
    await telling
    for client in clients:
        assert await client.has(1) == place("job:a", 1)


@pytest.mark.usefixtures("short_turns")
async def test_who_are_sent_to_the_log_at_once_do_not_all_go_in_one_turn() -> None:
    """A hole before an event sent a whole cohort there in one go, which took as long as thousands of tasks take."""
    world = World()
    clients = [await world.live(A) for _ in range(CLIENTS)]
    world.log.append("job:a", times=2)
    world.log.let_go.clear()
    await world.hub.broadcast(world.log.events[:1])
    world.log.append("job:a", times=2)
    await world.until(lambda: all(client.told for client in clients))
    await world.hub.broadcast(world.log.events[3:])
    await world.until(lambda: any(client.session.behind for client in clients))
    assert not all(client.session.behind for client in clients)
    world.log.let_go.set()
    for client in clients:
        assert await client.has(4) == place("job:a", 1, 2, 3, 4)


@pytest.mark.usefixtures("short_turns")
async def test_the_order_of_the_log_holds_across_channels_while_a_round_is_put_together() -> None:
    """What a later channel heard meanwhile would be told in this round, and what an earlier one heard, in the next."""
    world, dice = World(), random.Random(1)
    streams = [f"job:{number}" for number in range(10)]
    client = await world.live(*((TENANT, stream) for stream in streams))
    for _ in range(300):
        world.log.append(dice.choice(streams))
    await world.tell()
    told = await client.has(300)
    assert told == [(event.subject, event.version) for event in world.log.events]


@pytest.mark.usefixtures("short_turns")
async def test_no_order_of_anything_that_happens_in_between_loses_or_repeats_what_is_told() -> None:
    for seed in range(SEEDS):
        await _one_history(random.Random(seed))


async def _one_history(dice: random.Random) -> None:
    """Clients come, stall and leave while an event is on its way to some and has not reached others."""
    world = World()
    forms = [Plain(str(number)) for number in range(3)]
    clients = [world.client() for _ in range(6)]
    since: dict[tuple[Client, Channel], int] = {}
    telling: asyncio.Future[None] = asyncio.ensure_future(world.tell())
    for _ in range(dice.randrange(40, 120)):
        client, channel = dice.choice(clients), dice.choice(list(FORMS))
        match dice.randrange(8):
            case 0 | 1:
                world.log.append(dice.choice(("job:a", "job:b")))
            case 2 | 3 if telling.done():
                telling = asyncio.ensure_future(world.tell(dice.randrange(1, 5)))
            case 4 | 5 if (client, channel) not in since and len(client.session) == 0:
                from_now = not is_stream(channel) and dice.random() < 0.3
                places = [0, *map(place_in(channel), world.log.of(channel))]
                cursor = None if from_now else dice.choice(places[-5:])
                since[client, channel] = client.session.follow(channel, cursor, dice.choice(forms))
            case 6:
                client.writable = not client.writable
                client.session.resume()
            case 7 if (client, channel) in since:
                assert client.told == _expected(world, channel, since.pop((client, channel)))[: len(client.told)]
                client.session.unfollow(channel)
                client.writes.clear()
            case _:
                await asyncio.sleep(0)
    await telling
    await world.tell()
    for client in clients:
        client.writable = True
        client.session.resume()
    for (follower, followed), cursor in since.items():
        expected = _expected(world, followed, cursor)
        assert await follower.has(len(expected)) == expected
    for client in clients:
        client.session.close()


def _expected(world: World, channel: Channel, since: int) -> list[tuple[str, int]]:
    return [(event.subject, event.version) for event in world.log.of(channel) if place_in(channel)(event) > since]


class Broken(Client):
    """Breaks whatever is asked of it."""

    def write(self, frame: bytes) -> bool:
        raise RuntimeError("The handler is closed.")

    def fail(self, error: Exception) -> None:
        raise RuntimeError("The handler is closed, too.")


async def test_a_connection_that_can_neither_be_told_nor_fail_is_hung_up_on_and_that_is_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing was said of it, and it stayed with whom it had broken."""
    world = World()
    broken = Broken(world.following)
    broken.session.follow(A, 0, PLAIN)
    await world.until(lambda: not broken.session.behind)
    well = await world.live(A)
    world.log.append("job:a")
    await world.tell()
    assert await well.has(1) == place("job:a", 1)
    assert broken.hung_up
    assert "connection could not be failed" in capsys.readouterr().out


async def test_a_command_that_breaks_a_connection_which_cannot_fail_hangs_up_on_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The session's task ended with it, unheard, and the client waited for an answer."""

    async def obey(command: str) -> None:
        raise RuntimeError(command)

    world = World()
    broken = Broken(world.following)
    broken.session.obey = obey
    broken.session.received(["fly"])
    async with asyncio.timeout(PATIENCE):
        while not broken.hung_up:
            await asyncio.sleep(0)
    assert "connection could not be failed" in capsys.readouterr().out
