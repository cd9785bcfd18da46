"""One log and one of its notifiers on machines of their own, at a share of a larger demand: how long an event takes to
a client there, and how many the relay of single messages leaves behind. All other notifiers of the log do the same at
the same time."""

from dataclasses import dataclass

from bench.simulation import measured
from bench.simulation.fanout import Notifier
from bench.simulation.kernel import Loop, Process, Station, World
from bench.simulation.log import Log
from bench.simulation.sizing import FOLLOWERS

NETWORK = 0.25e-3  # assumed: between two machines, one way
RABBITMQ = 0.5e-3  # assumed: what a batch takes in it
RELAY_READ = 1e-3  # assumed: a call for a page, its decoding and encoding


@dataclass(frozen=True, slots=True)
class Cell:
    events_per_s: float
    notifiers: int
    gateways_per_notifier: float


def run(world: World, cell: Cell, seconds: float) -> dict[str, float]:
    """p50, p95 and p99 from append to client, and how busy the parts were."""
    postgres, processor = Station(world, 4), Loop(world, Station(world))
    tunnel = Station(world, max(1, round(cell.gateways_per_notifier)))
    core = Station(world)
    notifier = Notifier(world, core, tunnel, measured.GATEWAY_MESSAGE)
    log = Log(world, processor, postgres)
    relay_at = Station(world)
    due: list[float] = []
    unpublished = [0]  # events that the relay of single messages has not published

    def appended() -> Process:
        began = world.clock.now
        yield from log.append(1)
        due.append(began)
        unpublished[0] += 1

    def arriving() -> Process:
        while True:
            yield world.clock.timeout(world.dice.expovariate(cell.events_per_s))
            world.clock.process(appended())

    def told(batch: list[float]) -> Process:
        yield world.clock.timeout(2 * NETWORK + RABBITMQ)
        for began in batch:
            followers = sum(world.dice.random() < 1 / cell.notifiers for _ in range(FOLLOWERS))
            cost = measured.TELL_AMONG_OTHERS if followers else measured.TELL_NOBODY
            world.clock.process(notifier.tell(began - 2 * NETWORK, followers, cost))

    def relaying() -> Process:
        """It reads whatever is there, publishes it, and reads again."""
        while True:
            yield from relay_at.work(RELAY_READ)
            batch = due[:500]
            del due[:500]
            if batch:
                world.clock.process(told(batch))

    def publishing() -> Process:
        """The other relay: one confirmed message an event."""
        while True:
            batch = min(500, unpublished[0])
            yield from relay_at.work(RELAY_READ)
            yield world.clock.timeout(batch / measured.RELAY_EVENTS_PER_S)
            unpublished[0] -= batch

    world.clock.process(arriving())
    world.clock.process(relaying())
    world.clock.process(publishing())
    world.run(seconds)
    return {f"p{percent}_ms": world.milliseconds("told", percent) for percent in (50, 95, 99)} | {
        "unpublished_events": float(unpublished[0]),
        "notifier_busy": core.utilisation,
        "postgres_busy": postgres.utilisation,
        "tunnel_busy": tunnel.utilisation,
    }
