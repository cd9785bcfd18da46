"""From the log to live without a seam: every version once, in order, whoever writes meanwhile."""

import asyncio
import random

from fixtures.notifier import RunningNotifier, Writer
from notifier.history import PAGE


async def test_appends_that_race_with_a_subscriber_reach_it_once_and_in_order(
    notifier: RunningNotifier, writer: Writer
) -> None:
    dice = random.Random(7)

    async def one_round() -> None:
        before, during = dice.randrange(4), dice.randrange(1, 12)
        after = dice.randrange(before + 1)
        job_id = await writer.job(before)

        async def write() -> None:
            for _ in range(during):
                await writer.append(job_id)

        writing = asyncio.create_task(write())
        for _ in range(dice.randrange(3)):
            await asyncio.sleep(0)
        async with notifier.open(f"/ws/{job_id}?after={after}") as socket:
            expected = list(range(after + 1, before + during + 1))
            assert await socket.versions(len(expected)) == expected
            await writing
            assert await socket.is_silent()

    for _ in range(40):
        await asyncio.gather(*(one_round() for _ in range(5)))


async def test_whoever_is_live_on_all_jobs_hears_each_event_once_in_the_order_of_the_log(
    notifier: RunningNotifier, writer: Writer
) -> None:
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await writer.append(await writer.reserve(), 3)

    writers = [asyncio.create_task(write()) for _ in range(4)]

    async def listen() -> None:
        async with notifier.open("/ws") as socket:
            frames = await socket.take(60)
            positions = [frame["position"] for frame in frames]
            begin = socket.greeting["after"]
            assert positions == list(range(begin + 1, begin + 61))
        # From where it left, over what the log holds, to what comes.
        async with notifier.open(f"/ws?after={positions[29]}") as socket:
            again = await socket.take(60)
            assert again[:30] == frames[30:]
            assert [frame["position"] for frame in again] == list(range(positions[29] + 1, positions[29] + 61))

    await asyncio.gather(*(listen() for _ in range(10)))
    stop.set()
    await asyncio.gather(*writers)


async def test_a_client_resumes_from_any_version(notifier: RunningNotifier, writer: Writer) -> None:
    job_id = await writer.job(20)
    for after in range(21):
        async with notifier.open(f"/ws/{job_id}?after={after}") as socket:
            assert await socket.versions(20 - after) == list(range(after + 1, 21))
            assert await socket.is_silent()


async def test_without_a_cursor_a_job_is_told_from_its_first_version(notifier: RunningNotifier, writer: Writer) -> None:
    job_id = await writer.job(3)
    async with notifier.open(f"/ws/{job_id}") as socket:
        assert await socket.versions(3) == [1, 2, 3]


async def test_a_job_that_is_only_promised_is_told_when_it_begins(notifier: RunningNotifier, writer: Writer) -> None:
    job_id = await writer.reserve()
    async with notifier.open(f"/ws/{job_id}?after=0") as socket:
        assert await socket.is_silent()
        await writer.append(job_id, 2)
        assert await socket.versions(2) == [1, 2]


async def test_catching_up_over_many_pages_goes_live_without_a_seam(notifier: RunningNotifier, writer: Writer) -> None:
    job_id = await writer.job(2 * PAGE)
    async with notifier.open(f"/ws/{job_id}") as socket:
        for _ in range(50):
            await writer.append(job_id)
        assert await socket.versions(2 * PAGE + 50) == list(range(1, 2 * PAGE + 51))


async def test_a_cursor_may_name_its_epoch(notifier: RunningNotifier, writer: Writer) -> None:
    job_id = await writer.job(4)
    epoch = (await writer.log.head()).epoch
    for path in ("/ws", "/api/v1/ws"):
        async with notifier.open(f"{path}/{job_id}?after={epoch}.2") as socket:
            assert await socket.versions(2) == [3, 4]


async def test_a_frame_is_the_events_place_its_trace_and_its_payload(notifier: RunningNotifier, writer: Writer) -> None:
    job_id = await writer.reserve()
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    outcome = await writer.append(job_id, traceparent=traceparent)
    async with notifier.open(f"/ws/{job_id}") as socket:
        frame = await socket.next()
    assert frame.pop("time").endswith("Z")
    assert frame == {
        "job_id": job_id,
        "type": "job.progressed",
        "position": outcome.first_position,
        "version": 1,
        "traceparent": traceparent,
        "status": "PROCESSING",
        "progress_percent": 7,
        "current_step": "profile",
        "sub_status": None,
        "eta_seconds": None,
        "step_message": "",
    }
