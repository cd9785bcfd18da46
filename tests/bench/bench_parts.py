"""What single parts take, as the simulation of `scale` needs to know it: a call of the log by its size, a caller of its
own, and an event that a notifier hears for nobody. CPU times where they will do; of what waits for PostgreSQL, the
lower quartile, so that a neighbour on the machine is not counted in.
"""

import statistics
from itertools import islice
from time import perf_counter, process_time

from bench.bench_log import BATCH, CALLERS, job_events, open_log, rate, single_appends
from bench.report import Result
from bench.servers import open_database
from events.database import open_pool
from events.envelope import RecordedEvent, decode_batch, encode_batch
from events.ids import new_id
from events.log.append import Appender, AppendRequest
from events.log.log import EventLog, Head
from events.telemetry import Telemetry
from notifier.hub import Hub

CALLS = 200
SIZES = (1, 32, 128)
HEARD = 200  # batches


async def _call_us(log: Appender, events: int) -> float:
    """One call with so many events of as many streams, from its request to its outcome."""
    life = job_events()
    found: list[float] = []
    for _ in range(CALLS):
        requests = [
            AppendRequest(event.tenant, event.subject, (event,), version) for version, event in islice(life, events)
        ]
        began = perf_counter()
        await log.append_all(requests)
        found.append(1e6 * (perf_counter() - began))
    return statistics.quantiles(found, n=4)[0]


async def _caller_us(log: Appender) -> float:
    """CPU of this process for an append of one of many callers."""
    began = process_time()
    _, milliseconds = await rate(single_appends(log))
    return 1e6 * (process_time() - began) / len(milliseconds)


async def _unfollowed_us(events: list[RecordedEvent]) -> float:
    """CPU for an event of the feed that nobody follows, from its bytes on."""
    body = encode_batch(events)
    hub = Hub(Telemetry("bench"))
    hub.begin(Head(new_id(), 0))
    began = process_time()
    for _ in range(HEARD):
        await hub.broadcast(decode_batch(body))
    return 1e6 * (process_time() - began) / (HEARD * len(events))


async def run() -> Result:
    async with (
        open_database() as database,
        open_log(database) as (log, _),
        open_pool(database.url("processor"), name="reader", size=1) as reader,  # the appender keeps its connections
    ):
        calls = {size: await _call_us(log, size) for size in SIZES}
        caller = await _caller_us(log)
        unfollowed = await _unfollowed_us(await EventLog(reader).read(0, BATCH))
    line = statistics.linear_regression(list(calls), list(calls.values()))
    return Result(
        "parts",
        {"calls": CALLS, "callers": CALLERS, "events of a batch": BATCH},
        {
            **{f"call_{size}_us": microseconds for size, microseconds in calls.items()},
            "call_us": line.intercept,
            "event_us": line.slope,
            "caller_cpu_us": caller,
            "unfollowed_cpu_us": unfollowed,
        },
    )
