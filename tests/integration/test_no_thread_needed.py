"""A request that only asks the database runs on the loop, from its head to its answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread

from events.identity import PRINCIPAL_HEADER
from fixtures.event_streams import following, sse
from fixtures.ingest import RunningIngest
from fixtures.notifier import READER, RunningNotifier, Writer
from fixtures.processor import OpenProcessor
from fixtures.tus import Tus


@asynccontextmanager
async def no_thread_is_free() -> AsyncIterator[None]:
    """Whoever wants one waits until this is over."""
    threads = to_thread.current_default_thread_limiter()
    usual, threads.total_tokens = threads.total_tokens, 1
    try:
        async with threads:
            yield
    finally:
        threads.total_tokens = usual


async def test_what_a_route_depends_on_needs_no_thread(
    ingest: RunningIngest, notifier: RunningNotifier, writer: Writer, open_processor: OpenProcessor
) -> None:
    """Credential, principal, scope and parameters each went through one, of every request to every service. Where a
    machine was busy, with a restart of half of all processes, each of these detours waited its turn: streams opened
    after ten seconds, and WebSockets behind them got a 504."""
    job_id = await writer.job(1)
    async with open_processor() as processor, no_thread_is_free(), asyncio.timeout(30):
        assert (await ingest.get("/api/v1/uploads")).status == 200
        assert (await Tus(ingest).head(f"/api/v1/files/{job_id}")).status == 404
        assert (await processor.get("/jobs"))[0] == 200
        signed = f"{PRINCIPAL_HEADER}: {notifier.headers(READER)[PRINCIPAL_HEADER]}"
        place = notifier.address.host, notifier.address.port
        async with following(*place, sse(f"job:{job_id}", after="0"), signed) as stream:
            assert await stream.versions(1) == [1]
