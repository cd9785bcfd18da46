"""What is told to hundreds at once has one span, and none if nobody's trace is collected."""

import msgspec
import pytest

from fixtures.cohorts import A, World
from fixtures.collected import collecting

CLIENTS = 200


def happened(world: World, *traceparents: str | None) -> None:
    for traceparent in traceparents:
        world.log.append("job:a")
        world.log.events[-1] = msgspec.structs.replace(world.log.events[-1], traceparent=traceparent)


def of(number: int, flags: str = "01") -> str:
    return f"00-{number:032x}-{number:016x}-{flags}"


async def test_a_round_has_one_span_however_many_it_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifier.turn.TURN_SECONDS", 60.0)  # on a slow machine there would be more rounds
    async with collecting() as collector:
        for name, value in collector.settings.items():
            monkeypatch.setenv(name, value)
        world = World()
        clients = [await world.live(A) for _ in range(CLIENTS)]
        for told, traceparents in (
            (2, [None, of(9, "00")]),
            (6, [of(1), of(2), of(2), of(8, "00")]),
            (7, [of(3)]),
        ):
            happened(world, *traceparents)
            await world.tell()
            for client in clients:
                await client.has(told)
        spans = await collector.all(lambda span: span.name == "send websocket", count=2)
    assert collector.spans == spans
    assert [(span.trace, span.parent) for span in spans] == [(f"{n:032x}", f"{n:016x}") for n in (1, 3)]
    assert [span.links for span in spans] == [{(f"{2:032x}", f"{2:016x}")}, frozenset()]
    assert [span.attributes["messaging.batch.message_count"] for span in spans] == [4 * CLIENTS, CLIENTS]
