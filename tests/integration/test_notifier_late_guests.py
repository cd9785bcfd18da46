"""Clients that come, or go, while they are being let in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from websockets.frames import Opcode

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from events.identity import PRINCIPAL_HEADER
from fixtures.event_streams import following, sse
from fixtures.log import as_owner
from fixtures.notifier import PATIENCE, READER, RunningNotifier, Writer, open_notifier
from fixtures.parts import OpenParts
from fixtures.raw_websockets import raw_client


@asynccontextmanager
async def nobody_is_let_in(database: Database, waiting: int) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """What is called waits until so many clients wait to hear of their stream."""
    async with as_owner(database) as locking, as_owner(database) as watching, locking.transaction():
        await locking.execute("LOCK TABLE events.streams IN ACCESS EXCLUSIVE MODE")

        async def until_they_wait() -> None:
            async with asyncio.timeout(PATIENCE):
                while await watching.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < waiting:
                    await asyncio.sleep(0.01)

        yield until_they_wait


def signed(notifier: RunningNotifier) -> str:
    return f"{PRINCIPAL_HEADER}: {notifier.headers(READER)[PRINCIPAL_HEADER]}"


async def test_who_was_let_in_before_a_restart_and_opened_during_it_is_sent_away_too(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    """Goodbyes were said to those who were open when the draining began. A stream that opened a moment later was cut
    off when the patience with it was over."""
    job_id = await writer.job(1)
    async with AsyncExitStack() as clients, AsyncExitStack() as service:
        notifier = await service.enter_async_context(open_notifier(database, open_parts_for, MemoryBroker()))
        place = notifier.address.host, notifier.address.port
        early = await clients.enter_async_context(raw_client(*place, "/ws", signed(notifier)))
        assert (await early.frame())[0] is Opcode.TEXT
        streaming = following(*place, sse(f"job:{job_id}", after="1"), signed(notifier))
        socket = raw_client(*place, f"/ws/{job_id}?after=1", signed(notifier))
        async with nobody_is_let_in(database, 2) as until_they_wait:
            opening_stream = asyncio.create_task(clients.enter_async_context(streaming))
            opening_socket = asyncio.create_task(clients.enter_async_context(socket))
            await until_they_wait()
            stopping = asyncio.create_task(service.aclose())
            assert (await early.frame())[0] is Opcode.CLOSE  # it does not hang up, so it keeps the notifier waiting
        stream, late = await opening_stream, await opening_socket
        (farewell,) = await stream.rest()
        assert (farewell.event, farewell.data["code"]) == ("error", "unavailable")
        assert await late.close_code() == 1012
        await clients.aclose()
        await stopping


@pytest.mark.parametrize("several", [False, True])
async def test_who_was_let_in_before_the_log_was_replaced_and_opened_after_it_is_sent_away_too(
    database: Database, open_parts_for: OpenParts, writer: Writer, several: bool
) -> None:
    """All others had been sent away by then. A stream of several channels opened, and was told nothing for ever; one of
    a single channel was taken for a fault of ours."""
    jobs = [await writer.job(1) for _ in range(1 + several)]
    async with open_notifier(database, open_parts_for, MemoryBroker(), feed_poll_seconds=0.05) as notifier:
        place = notifier.address.host, notifier.address.port
        path = sse(*(f"job:{job_id}" for job_id in jobs))
        async with AsyncExitStack() as clients:
            early = await clients.enter_async_context(raw_client(*place, "/ws", signed(notifier)))
            assert (await early.frame())[0] is Opcode.TEXT
            async with nobody_is_let_in(database, 1) as until_it_waits:
                streaming = following(*place, path, signed(notifier))
                opening = asyncio.create_task(clients.enter_async_context(streaming))
                await until_it_waits()
                async with as_owner(database) as owner:
                    await owner.execute("UPDATE events.head SET epoch = gen_random_uuid()")
                assert await early.close_code() == 1011
            (farewell,) = await (await opening).rest()
            assert (farewell.event, farewell.data["code"]) == ("error", "unavailable")


async def test_who_leaves_before_the_answer_is_no_error(
    database: Database, open_parts_for: OpenParts, writer: Writer, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = await writer.job(1)
    async with open_notifier(database, open_parts_for, MemoryBroker()) as notifier:
        path = sse(f"job:{job_id}")
        async with nobody_is_let_in(database, 1) as until_it_waits:
            _, asking = await asyncio.open_connection(notifier.address.host, notifier.address.port)
            asking.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{signed(notifier)}\r\n\r\n".encode())
            await until_it_waits()
            asking.transport.abort()
            await notifier.metrics()  # by then it knows
        await notifier.until("millrace_notifier_connections", lambda count: count == 0)
        async with following(notifier.address.host, notifier.address.port, path, signed(notifier)) as stream:
            await stream.until_begun()
    assert "request failed" not in capsys.readouterr().out
