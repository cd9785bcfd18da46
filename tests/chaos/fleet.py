"""The stack with two notifiers and two gateways, and somebody who appends to its log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.stack import Stack
from events.database import Pool, open_pool
from events.log.append import Appender
from events.log.doorbell import Doorbell
from fixtures.stack import OpenStack

# Nobody is refused for coming often; a client's queue is short, and the broker's silence is soon noticed.
SETTINGS = {
    "MILLRACE_LIMITS_CONNECTS": '{"ws":{"seconds":1,"free":10000,"most":10000},'
    '"connection":{"seconds":1,"free":10000,"most":10000}}',
    "MILLRACE_LIMITS": '{"ws":{"subject":null,"tenant":null,"address":null},'
    '"connection":{"subject":null,"tenant":null,"address":null}}',
    "MILLRACE_MAX_SOCKETS_PER_SUBJECT": "1000",
    "MILLRACE_QUEUE_BYTES": "16384",
    "MILLRACE_FEED_POLL_SECONDS": "0.3",
    "MILLRACE_WORKERS": "1",
    "MILLRACE_LOG_LEVEL": "WARNING",
}


@dataclass(frozen=True, slots=True)
class Fleet:
    stack: Stack
    pool: Pool
    appender: Appender


@asynccontextmanager
async def open_fleet(open_stack: OpenStack, folder: Path) -> AsyncIterator[Fleet]:
    async with (
        open_stack(folder, SETTINGS, notifier=2, gateway=2) as stack,
        open_pool(stack.postgres_url("processor"), name="storm", size=6) as pool,
        Doorbell(pool) as doorbell,
        Appender(pool, doorbell=doorbell) as appender,
    ):
        yield Fleet(stack, pool, appender)
