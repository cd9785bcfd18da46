"""How fast a relay publishes the log to RabbitMQ: one confirmed message an event for internal services, while nobody
has bound a queue and while somebody has, and batches for notifiers. Beside it, in the same run: a bare aio-pika
publisher of the same bodies, nobody bound, with 100 confirms in flight."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter, process_time
from uuid import UUID

import aio_pika

from bench.report import Aim, Result, percentiles
from bench.servers import open_broker as open_server
from bench.servers import open_database
from events.broker.broker import UNCONFIRMED, Exchange
from events.broker.rabbitmq import RabbitBroker
from events.database import Pool, open_pool
from events.delivery.relay import Publish, Relay, to_events, to_feed
from events.envelope import RecordedEvent, encode_event, new_event
from events.log.append import Appender, AppendRequest
from events.log.doorbell import Doorbell
from events.log.log import EventLog
from events.telemetry import Telemetry

AIMS = {"events_per_s": Aim(at_least=10_000)}

EVENTS = 20_000
BATCH = 500
DATA = (
    b'{"status":"PROCESSING","progress_percent":12,"current_step":"csv-profile","step_message":"' + b"x" * 150 + b'"}'
)


async def run() -> Result:
    async with open_database() as database, open_server() as url:
        broker = RabbitBroker(url, name="bench")
        async with (
            open_pool(database.url("processor"), name="bench", size=8) as pool,
            Doorbell(pool) as doorbell,
            Appender(pool, function="events.append") as appender,
        ):
            await _fill(appender)
            samples: list[float] = []
            to_bus = to_events(broker, Telemetry("bench"))
            worked = process_time()
            per_second = await _relayed("events", pool, doorbell, to_bus, samples)
            cpu_us = 1e6 * (process_time() - worked) / EVENTS
            feed = await _relayed("feed", pool, doorbell, to_feed(broker, Telemetry("bench")), [])
            async with _bound(url):
                queued = await _relayed("queued", pool, doorbell, to_bus, [])
            events = await EventLog(pool).read(0, EVENTS)
        await broker.close()
        bare = await _bare(url, events)
    return Result(
        "relay",
        {"events": EVENTS, "batch": BATCH, "bytes an event": len(DATA)},
        {
            "events_per_s": per_second,
            "cpu_us": cpu_us,
            "queued_events_per_s": queued,
            "feed_events_per_s": feed,
            "bare_publisher_per_s": bare,
            "over_bare": per_second / bare,
            **percentiles("batch", samples, "ms"),
        },
    )


@asynccontextmanager
async def _bound(url: str) -> AsyncIterator[None]:
    """A durable queue of somebody's, who is away."""
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue("bench", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(Exchange.EVENTS, "#")
        yield
        await queue.unbind(Exchange.EVENTS, "#")


async def _fill(appender: Appender) -> None:
    for first in range(0, EVENTS, BATCH):
        stream = f"bench:{first}"
        events = tuple(
            new_event(type="bench.happened", stream=stream, tenant="bench", source="/bench", data=DATA)
            for _ in range(BATCH)
        )
        await appender.append(AppendRequest("bench", stream, events))


async def _relayed(name: str, pool: Pool, doorbell: Doorbell, publish: Publish, ms: list[float]) -> float:
    """Events a second, from the first read to the last confirm; `ms` gets the time that each batch took."""
    done = asyncio.Event()

    async def timed(batch: Sequence[RecordedEvent], epoch: UUID) -> None:
        began = perf_counter()
        await publish(batch, epoch)
        ms.append((perf_counter() - began) * 1000)
        if batch[-1].position == EVENTS:
            done.set()

    relay = Relay(name, pool, doorbell, timed, Telemetry("bench"))
    began = perf_counter()
    relaying = asyncio.create_task(relay.run())
    await done.wait()
    seconds = perf_counter() - began
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)
    return EVENTS / seconds


async def _bare(url: str, events: list[RecordedEvent]) -> float:
    connection = await aio_pika.connect(url)
    channel = await connection.channel(publisher_confirms=True)
    exchange = await channel.get_exchange(Exchange.EVENTS, ensure=False)
    in_flight = asyncio.Semaphore(UNCONFIRMED)

    async def publish(event: RecordedEvent) -> None:
        async with in_flight:
            await exchange.publish(
                aio_pika.Message(encode_event(event), delivery_mode=aio_pika.DeliveryMode.PERSISTENT),
                "bench",
                mandatory=False,
            )

    began = perf_counter()
    await asyncio.gather(*(publish(event) for event in events))
    seconds = perf_counter() - began
    await connection.close()
    return len(events) / seconds
