"""The benchmarks of one machine again, in simulation: what comes out is compared with what was measured."""

from collections.abc import Callable

from bench.simulation import measured
from bench.simulation.fanout import Notifier
from bench.simulation.kernel import Cores, Loop, Process, Station, World
from bench.simulation.log import Log

CLIENT_READ = 16e-6  # fitted to the median of the fan-out over 1,000 channels: what its client takes for a message
_PIECES = 20  # of what a job costs besides: an append, its relaying and a frame are each a few milliseconds
FEED_HOP = 0.5e-3  # assumed: RabbitMQ's part of a message's way


def log_of_64_callers(world: World, seconds: float = 2.0) -> dict[str, float]:
    cores = Cores(world, 2)
    log = Log(world, Loop(world, cores), cores)

    def caller() -> Process:
        while True:
            began = world.clock.now
            yield from log.append(1)
            world.note("append", world.clock.now - began)

    for _ in range(64):
        world.clock.process(caller())
    world.run(seconds)
    return {
        "log_64_callers_per_s": len(world.noted["append"]) / seconds,
        "log_64_callers_p50_ms": world.milliseconds("append", 50),
        "log_64_callers_p99_ms": world.milliseconds("append", 99),
    }


def log_of_batches(world: World, seconds: float = 4.0) -> dict[str, float]:
    cores = Cores(world, 2)
    log = Log(world, Loop(world, cores), cores)

    def caller() -> Process:
        while True:
            yield from log.append(100)
            world.note("append", 0)

    world.clock.process(caller())
    world.run(seconds)
    return {"log_batch_100_per_s": 100 * len(world.noted["append"]) / seconds}


def engine(world: World, seconds: float = 4.0) -> dict[str, float]:
    """Jobs of one processor, as many as it holds at once, step after step."""
    cores = Cores(world, 2)
    loop, postgres = Loop(world, cores), Loop(world, cores)

    def job() -> Process:
        while True:
            yield from loop.work(world.about(measured.STEP_LOOP))
            yield from postgres.work(world.about(measured.STEP_POSTGRES))
            world.note("step", 0)

    for _ in range(100):
        world.clock.process(job())
    world.run(seconds)
    return {"engine_steps_per_s": len(world.noted["step"]) / seconds}


def chain(world: World) -> dict[str, float]:
    cores = Cores(world, 2)
    loop, postgres = Loop(world, cores), Loop(world, cores)

    def job() -> Process:
        for _ in range(40):
            yield from loop.work(world.about(measured.STEP_LOOP))
            yield from postgres.work(world.about(measured.STEP_POSTGRES))
            yield world.clock.timeout(0.01)
        world.note("chain", world.clock.now)

    world.clock.process(job())
    world.run(10)
    return {"engine_chain_40_s": world.noted["chain"][0]}


def latency(world: World, seconds: float = 30.0, per_second: float = 10.0) -> dict[str, float]:
    """From the 202 to the frame, while the jobs before are worked on by the same processes on the same two cores."""
    cores = Cores(world, 2)
    processor, notifier, gateway = (Loop(world, cores) for _ in range(3))
    log = Log(world, processor, cores)

    def upload() -> Process:
        yield from cores.work(world.about(measured.UPLOAD_BEFORE))
        began = world.clock.now
        yield from cores.work(world.about(measured.PUBLISH_ALONE))  # to the intake
        yield from processor.work(world.about(measured.INTAKE))
        yield from log.append(2)
        yield from processor.work(world.about(measured.INTAKE_TO_FEED))
        yield from cores.work(world.about(2 * measured.LOG_CALL))  # the relay looks at the head, and reads
        yield from cores.work(world.about(FEED_HOP))
        yield from notifier.work(world.about(measured.TELL_EVENT))
        yield from gateway.work(world.about(measured.GATEWAY_MESSAGE))
        world.note("told", world.clock.now - began)
        world.clock.process(step())
        for _ in range(_PIECES):
            yield from processor.work(world.about(measured.JOB_PROCESSOR / _PIECES))
            yield from cores.work(world.about(measured.JOB_POSTGRES / _PIECES))
            yield from cores.work(world.about(measured.JOB_OTHERS / _PIECES))

    def step() -> Process:
        yield from cores.work(world.about(measured.JOB_STEP))

    def arriving() -> Process:
        while True:
            world.clock.process(upload())
            yield world.clock.timeout(1 / per_second)

    world.clock.process(arriving())
    world.run(seconds)
    return {f"latency_p{percent}_ms": world.milliseconds("told", percent) for percent in (50, 95, 99)}


def one_by_one(world: World) -> dict[str, float]:
    """CPU of an event to 1,000 clients. Of the two figures that the costs are made of, so it only tests the sums."""
    notifier = Notifier(world, Station(world), Station(world), 0.0)
    world.clock.process(notifier.tell(0.0, 1000, measured.TELL_EVENT))
    world.run(10)
    return {"fanout_one_by_one_1000_per_s": 1000 / max(world.noted["told"])}


def fanout(world: World, name: str, channels: int, seconds: float = 5.0) -> dict[str, float]:
    """20,000 deliveries a second to 10,000 clients. The notifier has one core, everything else shares the other."""
    own, other = Cores(world), Cores(world)
    notifier = Notifier(world, own, other, CLIENT_READ)
    writer = Loop(world, other)
    log = Log(world, writer, other)
    followers = 10_000 // channels
    per_second = 20_000 / followers
    at_once = max(1, round(per_second * 0.01))
    cost = measured.TELL_AMONG_OTHERS if at_once > 1 else measured.TELL_EVENT

    def event(began: float) -> Process:
        yield from notifier.tell(began, followers, cost)

    def sending() -> Process:
        began = world.clock.now
        yield from log.append(at_once)
        yield from writer.work(world.about(measured.LOG_CALL))  # the relay reads
        yield from other.work(world.about(FEED_HOP))
        for _ in range(at_once):
            world.clock.process(event(began))

    def arriving() -> Process:
        while True:
            world.clock.process(sending())
            yield world.clock.timeout(at_once / per_second)

    world.clock.process(arriving())
    world.run(seconds)
    percents = (50, 95, 99) if channels > 1 else (50, 99)
    return {f"fanout_{name}_p{percent}_ms": world.milliseconds("told", percent) for percent in percents}


SCENES: tuple[Callable[[World], dict[str, float]], ...] = (
    log_of_64_callers,
    log_of_batches,
    engine,
    chain,
    latency,
    one_by_one,
    lambda world: fanout(world, "1000_channels", 1_000),
    lambda world: fanout(world, "one_channel", 1),
)


def simulated(seed: int) -> dict[str, float]:
    """Every point of `measured.POINTS`, each of a world of its own."""
    return {name: figure for scene in SCENES for name, figure in scene(World(seed)).items()}
