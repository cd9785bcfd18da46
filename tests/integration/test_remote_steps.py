"""Steps that others do: on RabbitMQ and on the memory broker, with workers that work as they should."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio

from events.broker.broker import Broker, Exchange, Message, task_queue
from events.broker.by_url import open_broker
from events.broker.memory import MemoryBroker
from events.errors import Unroutable
from events.remote import Handler, StepFailed, Task, working
from fixtures.processor import WRITER, OpenProcessor, Processor, changes_of
from fixtures.remote import hand_worker

QUICK = {"remote_lost_seconds": 1.5, "step_retry_seconds": 0.01, "step_grace_seconds": 1.0, "claim_poll_seconds": 0.1}
DOUBLE = {"uses": "remote/doubles", "with": {"number": "${{ inputs.number }}"}}


@pytest.fixture(params=["memory", "rabbitmq"])
def address(request: pytest.FixtureRequest) -> str:
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("broker_url"))


@pytest_asyncio.fixture
async def broker(address: str) -> AsyncIterator[Broker]:
    async with open_broker(address, name="test") as broker:
        yield broker


@pytest_asyncio.fixture
async def processor(broker: Broker, open_processor: OpenProcessor) -> AsyncIterator[Processor]:
    async with open_processor(broker, **QUICK) as processor:
        yield processor


async def double(task: Task) -> dict[str, Any]:
    return {"number": 2 * task.parameters["number"]}


async def test_a_worker_does_a_step_and_the_job_goes_on_with_what_it_gives(
    processor: Processor, broker: Broker
) -> None:
    seen: list[Task] = []

    async def handler(task: Task) -> dict[str, Any]:
        seen.append(task)
        return await double(task)

    async with working(broker, "doubles", handler, 1, "w-1", 5):
        again = DOUBLE | {"with": {"number": "${{ steps.one.output.number }}"}, "depends": ["one"]}
        job_id = await processor.flow({"one": DOUBLE, "two": again}, {"number": 21})
        job = await processor.finished(job_id)
    assert (job["status"], job["result"]) == ("COMPLETED", {"number": 84})
    assert [(task.tenant, task.job_id, task.step, task.attempt) for task in seen] == [
        ("acme", job_id, "one", 1),
        ("acme", job_id, "two", 1),
    ]


async def test_each_item_of_a_map_goes_to_whoever_is_free(processor: Processor, broker: Broker) -> None:
    by: list[str] = []

    def named(name: str) -> Handler:
        async def handler(task: Task) -> Any:
            by.append(name)
            await asyncio.sleep(0)
            return task.parameters["number"] ** 2

        return handler

    squares = {"uses": "remote/squares", "with": {"number": "${{ item }}"}, "map": {"items": list(range(30))}}
    async with (
        working(broker, "squares", named("one"), 3, "one", 5),
        working(broker, "squares", named("other"), 3, "other", 5),
    ):
        job = await processor.finished(await processor.flow({"squares": squares}))
    assert job["result"] == [number**2 for number in range(30)]
    assert len(by) == 30, "nothing is done twice"


async def test_a_failure_is_the_steps_and_its_code_decides_whether_it_is_tried_again(
    processor: Processor, broker: Broker
) -> None:
    effects: list[UUID] = []

    async def handler(task: Task) -> Any:
        effects.append(task.effect_id)
        if task.attempt == 1:
            raise StepFailed("busy", "Come again.")
        raise StepFailed("broken", "It does not go.")

    step = DOUBLE | {"retry": {"max": 5, "backoff": 0, "on": ["busy"]}}
    async with working(broker, "doubles", handler, 1, "w-1", 5):
        job = await processor.finished(await processor.flow({"one": step}, {"number": 1}))
    assert job["error"] == {"code": "broken", "detail": "It does not go."}
    assert len(effects) == 2
    assert len(set(effects)) == 1, "both attempts have the same effect"


async def test_a_handler_that_raises_anything_is_tried_again_as_a_dead_process_is(
    processor: Processor, broker: Broker
) -> None:
    async def handler(task: Task) -> Any:
        if task.attempt < 3:
            raise RuntimeError("a bug")
        return {"set": {1}} if task.parameters["number"] else "fine"

    async with working(broker, "doubles", handler, 2, "w-1", 5):
        fine = await processor.finished(await processor.flow({"one": DOUBLE}, {"number": 0}))
    assert (fine["status"], fine["result"]) == ("COMPLETED", "fine")


async def test_how_far_a_worker_is_can_be_seen_and_its_beats_cannot(processor: Processor, broker: Broker) -> None:
    """A beat is one row's new time: it costs no event, and does not wake the job."""
    goes_on = asyncio.Event()

    async def handler(task: Task) -> Any:
        task.progress(0.4, "Reading")
        await goes_on.wait()
        return None

    async with working(broker, "doubles", handler, 1, "w-1", 5):
        job_id = await processor.flow({"one": DOUBLE}, {"number": 0})
        progressed = await processor.watch.until(job_id, "job.progressed")
        said = msgspec.json.decode(progressed.data)
        assert (said["progress_percent"], said["step_message"], said["sub_status"]) == (40, "Reading", "waiting")
        await let_go(processor)
        token = await processor.parts.pool.fetchval("SELECT token FROM processor.queue")
        for _ in range(4):
            await beaten(processor)
        assert await processor.parts.pool.fetchval("SELECT token FROM processor.queue") == token
        assert await processor.parts.pool.fetchval("SELECT count(*) FROM processor.mail") == 0

        _, job = await processor.get(f"/jobs/{job_id}")
        (waits_for,) = job["waits_for"]
        assert (waits_for["kind"], waits_for["step"], waits_for["worker"]) == ("remote", "one", "w-1")
        assert waits_for["detail"] == "A worker of doubles has it."
        assert waits_for["since"] <= waits_for["taken_at"]
        goes_on.set()
        assert (await processor.finished(job_id))["status"] == "COMPLETED"
    assert processor.types(job_id) == ["job.created", "job.started", "job.progressed", "job.completed"]


async def test_only_queues_that_the_operator_allows_get_tasks(open_processor: OpenProcessor) -> None:
    """Any tenant could give tasks to workers that were meant for another, and make as many queues as it liked."""
    broker = MemoryBroker()
    async with open_processor(broker, remote_queues=["for-all", "acme/own", "other/theirs"]) as processor:
        for queue in ("for-all", "own"):
            await processor.flow({"one": {"uses": f"remote/{queue}"}})
            async with hand_worker(broker, queue) as hand:
                await hand.take()
        for queue in ("theirs", "invented"):
            job = await processor.outcome({"one": {"uses": f"remote/{queue}"}})
            assert job["error"]["code"] == "queue_not_allowed"
            with pytest.raises(Unroutable):
                await broker.publish(Exchange.TASKS, Message("1", b"{}", queue))


async def test_a_job_says_that_nobody_has_taken_its_task(processor: Processor, broker: Broker) -> None:
    job_id = await processor.flow({"one": DOUBLE}, {"number": 1})
    await let_go(processor)
    _, job = await processor.get(f"/jobs/{job_id}")
    (waits_for,) = job["waits_for"]
    assert waits_for["detail"] == "No worker of doubles has taken it yet."
    assert "since" in waits_for
    assert "taken_at" not in waits_for
    assert await broker.depth(task_queue("doubles")) == 1, "it waits for the first worker that there is"
    async with working(broker, "doubles", double, 1, "w-1", 5):
        assert (await processor.finished(job_id))["result"] == {"number": 2}


async def test_a_worker_is_told_that_its_job_was_cancelled(processor: Processor, broker: Broker) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def handler(task: Task) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    undo = {"uses": "remote/undo", "with": {"number": "${{ inputs.number }}"}}
    async with working(broker, "doubles", handler, 1, "w-1", 5), working(broker, "undo", double, 1, "w-2", 5):
        job_id = await processor.flow({"one": DOUBLE | {"compensate": undo}}, {"number": 1})
        await began.wait()
        await processor.post(f"/jobs/{job_id}/cancel", {}, principal=WRITER)
        job = await processor.finished(job_id)
    assert ended.is_set()
    assert job["status"] == "CANCELLED"
    became = [(change["step"], change["became"]) for change in changes(processor, job_id)]
    assert became == [
        ("one", "WAITING"),
        ("one", "CANCELLED"),
        ("compensate:one", "WAITING"),
        ("compensate:one", "COMPLETED"),
    ], "it is undone only when nobody works on it any more"


async def test_a_worker_is_told_that_its_time_is_over(processor: Processor, broker: Broker) -> None:
    ended = asyncio.Event()

    async def handler(task: Task) -> Any:
        assert task.until is not None
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with working(broker, "doubles", handler, 1, "w-1", 5):
        job = await processor.finished(await processor.flow({"one": DOUBLE | {"timeout": 1.5}}, {"number": 1}))
        assert job["error"] == {"code": "step_timeout", "detail": "The step was ended after 1.5 seconds."}
        async with asyncio.timeout(30):
            await ended.wait()


async def test_a_worker_that_stops_in_order_gives_back_what_it_cannot_finish(
    processor: Processor, broker: Broker
) -> None:
    began = asyncio.Event()

    async def never(task: Task) -> Any:
        began.set()
        await asyncio.Event().wait()

    async with working(broker, "doubles", never, 1, "w-1", 0):
        job_id = await processor.flow({"one": DOUBLE}, {"number": 4})
        await began.wait()
    async with working(broker, "doubles", double, 1, "w-2", 5):
        job = await processor.finished(job_id)
    assert job["result"] == {"number": 8}
    assert [change["became"] for change in changes(processor, job_id)] == ["WAITING", "COMPLETED"], "no attempt is lost"


async def test_a_worker_that_stops_in_order_finishes_what_it_can(processor: Processor, broker: Broker) -> None:
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def handler(task: Task) -> Any:
        began.set()
        await goes_on.wait()
        return await double(task)

    async with working(broker, "doubles", handler, 1, "w-1", 30):
        job_id = await processor.flow({"one": DOUBLE}, {"number": 4})
        await began.wait()
        asyncio.get_running_loop().call_later(0.2, goes_on.set)
    assert (await processor.finished(job_id))["result"] == {"number": 8}


async def test_what_a_worker_gives_may_be_large_but_not_too_large(processor: Processor, broker: Broker) -> None:
    async def handler(task: Task) -> Any:
        return {"text": "x" * task.parameters["number"]}

    length = DOUBLE | {"uses": "noop", "with": {"n": "${{ len(steps.one.output.text) }}"}, "depends": ["one"]}
    async with working(broker, "doubles", handler, 1, "w-1", 5):
        large = await processor.flow({"one": DOUBLE, "two": length}, {"number": 200_000})
        too_large = await processor.flow({"one": DOUBLE}, {"number": 1_100_000})
        assert (await processor.finished(large))["result"] == {"n": 200_000}
        assert (await processor.finished(too_large))["error"]["code"] == "output_too_large"
    assert all(len(event.data) < 40_000 for event in processor.watch.of_job(large)), "it is kept as a blob"


def changes(processor: Processor, job_id: UUID) -> list[dict[str, Any]]:
    return [change for event in processor.watch.of_job(job_id) for change in changes_of(event)]


async def let_go(processor: Processor) -> None:
    """Until nobody holds the only job."""
    await until(processor, "SELECT worker IS NULL AND due_at = 'infinity' FROM processor.queue")


async def beaten(processor: Processor) -> None:
    """Until the only task's worker has said that it lives."""
    last = await processor.parts.pool.fetchval("SELECT beat_at FROM processor.remote_tasks")
    await until(processor, f"SELECT beat_at > '{last}' FROM processor.remote_tasks")


async def until(processor: Processor, true: str) -> None:
    async with asyncio.timeout(30):
        while not await processor.parts.pool.fetchval(true):
            await asyncio.sleep(0.05)
