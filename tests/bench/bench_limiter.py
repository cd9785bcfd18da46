"""How many requests the limiter decides, and what one costs the gateway, beside a bare upsert for each.

Ours spends from three buckets per request (key, tenant, address), from all or none. The bare one is a GCRA upsert of
one row in an UNLOGGED table, on as many connections as a service's pool has.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter, process_time

import asyncpg
import uvloop

from bench.report import Result, percentiles
from bench.servers import open_database
from deploy.provision import Database
from events.database import Pool, open_pool
from events.telemetry import Telemetry
from gateway.limits.headers import Bucket
from gateway.limits.limiter import Limiter
from gateway.limits.policy import Limit

CALLERS = 64  # each waits for its decision before it asks for the next
FEW_CALLERS = 8
KEYS, TENANTS, ADDRESSES = 10_000, 500, 2_000
CONNECTIONS = 8
WARM_UP, SECONDS = 1.0, 6.0
NOBODY_IS_REFUSED = Limit(rate=1_000_000, burst=1_000_000)

_BARE = """
CREATE SCHEMA bench;
CREATE UNLOGGED TABLE bench.buckets (bucket text COLLATE "C" PRIMARY KEY, full_at float8 NOT NULL)
WITH (fillfactor = 50);
GRANT USAGE ON SCHEMA bench TO millrace_gateway;
GRANT ALL ON bench.buckets TO millrace_gateway;
"""
_UPSERT = """
INSERT INTO bench.buckets AS kept VALUES ($1, extract(epoch FROM clock_timestamp()) + $2)
ON CONFLICT (bucket) DO UPDATE
SET full_at = greatest(kept.full_at, extract(epoch FROM clock_timestamp())) + $2
WHERE greatest(kept.full_at, extract(epoch FROM clock_timestamp())) + $2 <= extract(epoch FROM clock_timestamp()) + $3
RETURNING full_at
"""

Decide = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Found:
    per_s: float
    cpu_us: float  # of this process, the callers included
    milliseconds: list[float]


async def measure(decide: Decide, *, callers: int, keys: int) -> Found:
    """Every caller asks for one decision after the other, each for a key by chance."""
    milliseconds: list[float] = []
    began = perf_counter() + WARM_UP
    end = began + SECONDS
    cpu = 0.0

    async def caller() -> None:
        nonlocal cpu
        while (before := perf_counter()) < end:
            await decide(random.randrange(keys))
            if before < began:
                cpu = process_time()
            else:
                milliseconds.append(1000 * (perf_counter() - before))

    await asyncio.gather(*(caller() for _ in range(callers)))
    spent, seconds = process_time() - cpu, perf_counter() - began
    return Found(len(milliseconds) / seconds, 1e6 * spent / len(milliseconds), milliseconds)


def ours(limiter: Limiter) -> Decide:
    requests = [
        tuple(
            Bucket(name, name, NOBODY_IS_REFUSED)
            for name in (
                f"read 'subject' 'default' 'key:{key:012}'",
                f"read 'tenant' 'tenant-{key % TENANTS}'",
                f"read 'address' '203.0.113.{key % ADDRESSES}'",
            )
        )
        for key in range(KEYS)
    ]

    async def decide(key: int) -> None:
        verdict = await limiter.spend(requests[key])
        assert verdict is not None
        assert verdict.admitted

    return decide


def bare(pool: Pool) -> Decide:
    async def decide(key: int) -> None:
        assert await pool.fetchval(_UPSERT, f"read 'subject' 'default' 'key:{key:012}'", 1e-6, 1.0) is not None

    return decide


async def _measure_all(database: Database) -> dict[str, Found]:
    found: dict[str, Found] = {}
    async with open_pool(database.url("gateway"), name="bench", size=CONNECTIONS) as pool:
        async with Limiter(pool, Telemetry("gateway"), timeout=10.0) as limiter:
            decide = ours(limiter)
            found["many"] = await measure(decide, callers=CALLERS, keys=KEYS)
            found["one"] = await measure(decide, callers=CALLERS, keys=1)
            found["few"] = await measure(decide, callers=FEW_CALLERS, keys=KEYS)
        found["bare"] = await measure(bare(pool), callers=CALLERS, keys=KEYS)
        found["bare_one"] = await measure(bare(pool), callers=CALLERS, keys=1)
    return found


async def run() -> Result:
    async with open_database() as database:
        owner = await asyncpg.connect(database.admin_url)
        await owner.execute(_BARE)
        version = await owner.fetchval("SELECT current_setting('server_version')")
        # On the loop that the gateway has.
        found = await asyncio.to_thread(lambda: uvloop.run(_measure_all(database)))
        await owner.close()
    many, one, few = found["many"], found["one"], found["few"]
    return Result(
        "limiter",
        {
            "postgres": version,
            "callers": CALLERS,
            "few callers": FEW_CALLERS,
            "buckets per decision": 3,
            "keys": KEYS,
            "bare connections": CONNECTIONS,
        },
        {
            "decisions_per_s": many.per_s,
            **percentiles("decision", many.milliseconds, "ms"),
            "decision_cpu_us": many.cpu_us,
            "one_key_decisions_per_s": one.per_s,
            **percentiles("one_key_decision", one.milliseconds, "ms"),
            "one_key_decision_cpu_us": one.cpu_us,
            "few_callers_decisions_per_s": few.per_s,
            **percentiles("few_callers_decision", few.milliseconds, "ms"),
            "few_callers_decision_cpu_us": few.cpu_us,
            "bare_upserts_per_s": found["bare"].per_s,
            "bare_upsert_cpu_us": found["bare"].cpu_us,
            "bare_one_key_upserts_per_s": found["bare_one"].per_s,
            "decisions_over_bare_upserts": many.per_s / found["bare"].per_s,
        },
    )
