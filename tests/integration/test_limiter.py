"""The limiter's buckets in the database, shared by replicas that know nothing of each other."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.postgres import PostgresServer
from deploy.provision import Database
from events.database import open_pool
from events.telemetry import Telemetry
from fixtures.limits import let_time_pass
from fixtures.log import as_owner
from gateway.limits.headers import Bucket
from gateway.limits.limiter import Limiter, Verdict
from gateway.limits.policy import Limit

SLOW = 1e-4  # per second: what a bucket gains while a test runs is nothing
PATIENCE = 10.0


@asynccontextmanager
async def limiter_on(database: Database, *, timeout: float = PATIENCE) -> AsyncIterator[Limiter]:
    async with (
        open_pool(database.url("gateway"), name="limiter", size=3) as pool,
        Limiter(pool, Telemetry("gateway"), timeout=timeout) as limiter,
    ):
        yield limiter


@asynccontextmanager
async def replicas(database: Database, count: int) -> AsyncIterator[list[Limiter]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(limiter_on(database)) for _ in range(count)]


def bucket(name: str, burst: int, rate: float = SLOW) -> Bucket:
    return Bucket(name, name, Limit(rate, burst))


async def spend(limiter: Limiter, *buckets: Bucket) -> Verdict:
    verdict = await limiter.spend(buckets)
    assert verdict is not None, "nobody could count"
    return verdict


async def admitted(limiters: Sequence[Limiter], each: int, *buckets: Bucket) -> int:
    """How many of `each` requests at every replica, all at once, are let through."""
    verdicts = await asyncio.gather(*(spend(limiter, *buckets) for limiter in limiters for _ in range(each)))
    return sum(verdict.admitted for verdict in verdicts)


async def test_a_burst_passes_and_the_next_request_is_told_when_to_come_again(database: Database) -> None:
    async with as_owner(database) as owner, limiter_on(database) as limiter:
        mine = bucket("mine", 3, rate=0.01)
        for left in (2, 1, 0):
            verdict = await spend(limiter, mine)
            assert verdict.admitted
            assert mine.remaining(verdict.owed[0]) == left
        refused = await spend(limiter, mine)
        assert not refused.admitted
        assert mine.remaining(refused.owed[0]) == 0
        wait = mine.wait(refused.owed[0])
        assert 90 < wait <= 100
        await let_time_pass(owner, wait)
        assert (await spend(limiter, mine)).admitted
        assert not (await spend(limiter, mine)).admitted
        await let_time_pass(owner, 1_000_000)
        assert await admitted([limiter], 10, mine) == 3, "a bucket holds no more than its burst"


async def test_a_request_spends_from_all_of_its_buckets_or_from_none(database: Database) -> None:
    async with limiter_on(database) as limiter:
        full, empty = bucket("full", 5), bucket("empty", 1)
        assert (await spend(limiter, empty)).admitted
        for order in ((full, empty), (empty, full)):
            assert await admitted([limiter], 20, *order) == 0
        assert full.remaining((await spend(limiter, full)).owed[0]) == 4


async def test_requests_of_one_call_are_decided_in_their_order(database: Database) -> None:
    async with limiter_on(database) as limiter:
        verdicts = await asyncio.gather(*(spend(limiter, bucket("a", 3), bucket("b", 5)) for _ in range(6)))
        assert [verdict.admitted for verdict in verdicts] == [True] * 3 + [False] * 3


async def test_buckets_of_others_are_not_touched(database: Database) -> None:
    async with limiter_on(database) as limiter:
        assert await admitted([limiter], 10, bucket("one", 2)) == 2
        assert await admitted([limiter], 10, bucket("other", 2)) == 2


async def test_a_database_clock_that_was_set_back_locks_nobody_out(database: Database) -> None:
    async with as_owner(database) as owner, limiter_on(database) as limiter:
        assert await admitted([limiter], 1, bucket("mine", 2, rate=1.0)) == 1
        await let_time_pass(owner, -86_400)
        assert bucket("mine", 2, rate=1.0).wait((await spend(limiter, bucket("mine", 2, rate=1.0))).owed[0]) <= 1


@st.composite
def days(draw: st.DrawFn) -> tuple[int, list[tuple[list[int], list[float], int]]]:
    """A burst; then for each round the requests at each replica, the replicas' clocks' errors, and what is refilled."""
    burst = draw(st.integers(1, 12))
    rounds = st.tuples(
        st.lists(st.integers(0, 12), min_size=3, max_size=3),
        st.lists(st.floats(-600, 600), min_size=3, max_size=3),
        st.integers(0, 15),
    )
    return burst, draw(st.lists(rounds, min_size=1, max_size=5))


async def test_replicas_with_skewed_clocks_admit_what_one_bucket_holds_and_at_most_one_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither fewer than the bucket holds nor more than one above it, over any rounds of requests and refills."""
    real_time, skew = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real_time() + skew)

    async with as_owner(database) as owner, replicas(database, 3) as limiters:

        async def ask(limiter: Limiter, error: float, shared: Bucket) -> bool:
            nonlocal skew
            skew = error
            return (await spend(limiter, shared)).admitted

        async def live(burst: int, rounds: list[tuple[list[int], list[float], int]]) -> None:
            await owner.execute("TRUNCATE gateway.buckets")
            shared = bucket("shared", burst)
            level, over = burst, 0
            for asked, errors, refilled in rounds:
                found = await asyncio.gather(
                    *(
                        ask(limiter, error, shared)
                        for limiter, error, count in zip(limiters, errors, asked, strict=True)
                        for _ in range(count)
                    )
                )
                expected = min(level, sum(asked))
                assert expected <= sum(found) <= expected + 1
                over += sum(found) - expected
                assert over <= 1
                level = min(burst, level - expected + refilled)
                await let_time_pass(owner, refilled / SLOW)

        loop = asyncio.get_running_loop()

        @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(days())
        def check(day: tuple[int, list[tuple[list[int], list[float], int]]]) -> None:
            asyncio.run_coroutine_threadsafe(live(*day), loop).result()

        await asyncio.to_thread(check)


async def test_replicas_that_spend_from_the_same_buckets_in_any_order_never_deadlock(database: Database) -> None:
    async with as_owner(database) as owner, replicas(database, 3) as limiters:
        buckets = [bucket(f"bucket {number}", 1_000) for number in range(8)]

        async def storm(limiter: Limiter, turn: int) -> None:
            for number in range(100):
                first = (turn * 3 + number) % 8
                chosen = [buckets[(first + step * (1 if turn % 2 else -1)) % 8] for step in range(4)]
                assert (await spend(limiter, *chosen)).admitted
                if number % 10 == 0:
                    await limiter.sweep()

        await asyncio.gather(*(storm(limiter, turn) for turn, limiter in enumerate(limiters * 3)))
        spent = await owner.fetchval(
            "SELECT sum((full_at - gateway.clock_ns()) / 10000000000000.0) FROM gateway.buckets"
        )
        assert round(spent) == 3 * 3 * 100 * 4


async def test_full_buckets_and_old_connects_are_swept_and_no_others(database: Database) -> None:
    async with as_owner(database) as owner, limiter_on(database) as limiter:
        await spend(limiter, bucket("used long ago", 1))
        await limiter.connect("long ago", seconds=10, free=5, most=20)
        await let_time_pass(owner, 2 / SLOW)
        await spend(limiter, bucket("in use", 1))
        await limiter.connect("now", seconds=10, free=5, most=20)
        assert not await limiter.sweep()
        assert await owner.fetchval("SELECT array_agg(bucket) FROM gateway.buckets") == ["in use"]
        assert await owner.fetchval("SELECT array_agg(place) FROM gateway.connects") == ["now"]


async def test_connects_are_counted_exactly_over_replicas(database: Database) -> None:
    async with as_owner(database) as owner, replicas(database, 3) as limiters:

        async def connects(count: int) -> list[tuple[int, bool]]:
            found = await asyncio.gather(
                *(limiters[n % 3].connect("here", seconds=10, free=5, most=20) for n in range(count))
            )
            assert None not in found
            return sorted((one[0], one[1] > 0) for one in found if one is not None)

        assert await connects(24) == [(n, n > 5) for n in range(1, 21)] + [(21, True)] * 4
        await let_time_pass(owner, 9)
        assert await connects(1) == [(21, True)], "who was refused is not counted, and still has to wait"
        await let_time_pass(owner, 2)
        assert await connects(6) == [(n, n > 5) for n in range(1, 7)]


async def test_the_wait_that_is_told_is_enough(database: Database) -> None:
    async with as_owner(database) as owner, limiter_on(database) as limiter:

        async def connect() -> tuple[int, float]:
            found = await limiter.connect("here", seconds=10, free=5, most=20)
            assert found is not None
            return found

        for _ in range(7):
            await connect()
            await let_time_pass(owner, 1)
        _, wait = await connect()
        assert 5 < wait <= 6
        await let_time_pass(owner, wait)
        assert (await connect())[1] == 0


async def test_requests_that_come_at_once_are_one_call(database: Database) -> None:
    async with as_owner(database) as owner, limiter_on(database) as limiter:

        async def transactions() -> int:
            return int(await owner.fetchval("SELECT pg_current_xact_id()::text::bigint"))

        before = await transactions()
        assert await admitted([limiter], 200, bucket("mine", 1000)) == 200
        assert await transactions() - before < 10, "of which one is ours; the server has some of its own"


async def test_after_a_crash_of_the_server_every_bucket_is_full_and_counted_on(
    database: Database, postgres_server: PostgresServer
) -> None:
    async with limiter_on(database) as limiter:
        assert await admitted([limiter], 5, bucket("mine", 3)) == 3
        await postgres_server.kill()
        await postgres_server.start()
        async with asyncio.timeout(PATIENCE):
            while (verdict := await limiter.spend([bucket("mine", 3)])) is None:
                await asyncio.sleep(0.01)
        assert bucket("mine", 3).remaining(verdict.owed[0]) == 2
        assert await admitted([limiter], 5, bucket("mine", 3)) == 2


async def test_a_database_that_does_not_answer_costs_one_call_and_comes_back(database: Database) -> None:
    async with as_owner(database) as owner, limiter_on(database, timeout=0.2) as limiter:
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute("LOCK TABLE gateway.buckets")
        assert await asyncio.gather(*(limiter.spend([bucket("mine", 3)]) for _ in range(5))) == [None] * 5
        before = asyncio.all_tasks()
        assert await limiter.spend([bucket("mine", 3)]) is None
        assert asyncio.all_tasks() == before, "nothing was asked of the database for it"
        await transaction.rollback()
        async with asyncio.timeout(PATIENCE):
            while (verdict := await limiter.spend([bucket("another", 1)])) is None:
                await asyncio.sleep(0.01)
        assert verdict.admitted
