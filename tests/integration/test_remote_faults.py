"""Remote workers that die, lie, repeat themselves, come too late, or do not listen; and tasks that get lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio

from deploy.provision import Database
from deploy.rabbitmq import RabbitServer
from events.broker.broker import Exchange, Message, task_queue
from events.broker.by_url import open_broker
from events.broker.memory import MemoryBroker
from events.envelope import Event, encode_event, encode_json, new_event, stream_name
from events.ids import new_id
from events.remote import Task, working
from events.steps import LARGEST_BYTES, RemoteTask
from fixtures.log import as_owner
from fixtures.processor import WRITER, OpenProcessor, Processor, changes_of
from fixtures.remote import HandWorker, hand_worker

QUICK = {"remote_lost_seconds": 1.5, "step_retry_seconds": 0.01, "step_grace_seconds": 1.0, "claim_poll_seconds": 0.1}
# Long enough that no worker is ever lost.
PATIENT = QUICK | {"remote_lost_seconds": 600.0}
BY_HAND = {"uses": "remote/hand", "with": {"number": 1}}


@pytest_asyncio.fixture
async def processor(open_processor: OpenProcessor) -> AsyncIterator[Processor]:
    async with open_processor(**PATIENT) as processor:
        yield processor


@pytest_asyncio.fixture
async def quick(open_processor: OpenProcessor) -> AsyncIterator[Processor]:
    async with open_processor(**QUICK) as processor:
        yield processor


@pytest_asyncio.fixture
async def hand(processor: Processor) -> AsyncIterator[HandWorker]:
    async with hand_worker(processor.broker, "hand") as hand:
        yield hand


async def test_a_dead_workers_step_is_given_to_another_and_what_the_dead_still_says_is_too_late(
    quick: Processor,
) -> None:
    async with hand_worker(quick.broker, "hand", "dead") as dead, hand_worker(quick.broker, "hand", "next") as next_one:
        job_id = await quick.flow({"one": BY_HAND})
        first = await dead.take()
        await dead.say(first, "beat")
        second = await next_one.take()
        assert (second.attempt, second.effect_id) == (2, first.effect_id)
        assert second.task_id != first.task_id

        await dead.say(first, "beat")
        await dead.told_to_stop(first)
        await dead.say(first, "progressed", done=0.9, message="not yours any more")
        await dead.say(first, "completed", output="of the dead")
        await dead.say(first, "failed", code="late", detail="Too late.")
        await next_one.say(second, "completed", output="of the living")
        job = await quick.finished(job_id)
    assert job["result"] == "of the living"
    became = changes(quick, job_id)
    assert [(change["became"], change.get("attempt", 1)) for change in became] == [
        ("WAITING", 1),
        ("RETRYING", 2),
        ("WAITING", 2),
        ("COMPLETED", 2),
    ]
    assert became[1]["error"]["code"] == "worker_lost"


async def test_a_step_whose_workers_always_die_fails(quick: Processor) -> None:
    async with hand_worker(quick.broker, "hand") as hand:
        job_id = await quick.flow({"one": BY_HAND})
        for attempt in (1, 2, 3):
            task = await hand.take()
            assert task.attempt == attempt
            await hand.say(task, "beat")
        job = await quick.finished(job_id)
    assert job["error"] == {"code": "worker_lost", "detail": "The worker was silent for 1.5 seconds in attempt 3."}


async def test_a_worker_that_beats_is_not_lost_however_long_it_takes(quick: Processor) -> None:
    async with hand_worker(quick.broker, "hand") as hand:
        job_id = await quick.flow({"one": BY_HAND})
        task = await hand.take()
        assert (task.beat_seconds, task.lost_seconds) == (0.5, 1.5)
        for _ in range(10):
            await hand.say(task, "beat")
            await asyncio.sleep(task.beat_seconds)
        await hand.say(task, "completed", output="at last")
        assert (await quick.finished(job_id))["result"] == "at last"
    assert [change["became"] for change in changes(quick, job_id)] == ["WAITING", "COMPLETED"]


async def test_a_result_that_comes_twice_counts_once(processor: Processor, hand: HandWorker) -> None:
    job_id = await processor.flow({"one": BY_HAND, "two": BY_HAND | {"depends": ["one"]}})
    first = await hand.take()
    id_ = new_id()
    for _ in range(3):
        await hand.say(first, "completed", id_=id_, output=1)
        await hand.say(first, "completed", output=2)
    second = await hand.take()
    await hand.say(first, "completed", output=3)
    await hand.say(second, "completed", output=4)
    assert (await processor.finished(job_id))["result"] == 4
    outputs = [change["output"] for change in changes(processor, job_id) if change["became"] == "COMPLETED"]
    assert outputs == [1, 4]


async def test_a_task_has_one_worker_and_a_second_one_is_told_to_leave_it(
    processor: Processor, hand: HandWorker
) -> None:
    """RabbitMQ delivers again what it has delivered, for instance when an ack got lost."""
    job_id = await processor.flow({"one": BY_HAND})
    task = await hand.take()
    await hand.say(task, "beat")
    await taken(processor)  # what two workers say is heard in any order
    async with hand_worker(processor.broker, "hand", "second") as second:
        await processor.broker.publish(Exchange.TASKS, Message(str(task.task_id), encode_json(task), "hand"))
        again = await second.take()
        await second.say(again, "beat")
        await second.told_to_stop(task)
        await second.say(again, "failed", code="stopped", detail="I was told to stop.")
        await second.say(again, "completed", output="not mine")
    await hand.say(task, "completed", output="mine")
    assert (await processor.finished(job_id))["result"] == "mine"


async def test_a_deaf_worker_delays_a_cancel_by_the_grace_period_and_no_more(
    processor: Processor, hand: HandWorker
) -> None:
    job_id = await processor.flow({"one": BY_HAND})
    task = await hand.take()
    await hand.say(task, "beat")
    await taken(processor)
    await processor.post(f"/jobs/{job_id}/cancel", {}, principal=WRITER)
    await hand.told_to_stop(task, by_name=False)
    job = await processor.finished(job_id)
    assert job["status"] == "CANCELLED"
    times = {event.type: event.time for event in processor.watch.of_job(job_id)}
    waited = (times["job.cancelled"] - times["job.cancel_requested"]).total_seconds()
    assert 0.9 <= waited < 10
    await hand.say(task, "beat")
    await hand.told_to_stop(task)  # whoever missed it hears it again
    assert await processor.parts.pool.fetchval("SELECT count(*) FROM processor.remote_tasks WHERE NOT unwanted") == 0


async def test_a_cancelled_task_that_nobody_has_taken_holds_up_nothing(open_processor: OpenProcessor) -> None:
    async with open_processor(**PATIENT | {"step_grace_seconds": 600.0}) as processor:
        job_id = await processor.flow({"one": BY_HAND})
        await until(processor, "SELECT sent_at IS NOT NULL FROM processor.remote_tasks")
        await processor.post(f"/jobs/{job_id}/cancel", {}, principal=WRITER)
        assert (await processor.finished(job_id))["status"] == "CANCELLED"
        async with hand_worker(processor.broker, "hand") as hand:
            task = await hand.take()  # it lies in its queue still
            await hand.say(task, "beat")
            await hand.told_to_stop(task)


async def test_a_step_that_waits_for_its_next_attempt_is_cancelled_at_once(
    processor: Processor, hand: HandWorker
) -> None:
    job_id = await processor.flow({"one": BY_HAND | {"retry": {"max": 1, "backoff": 600}}})
    await hand.say(await hand.take(), "failed", code="busy", detail="Come again.")
    await processor.watch.until(job_id, "job.advanced")
    await processor.post(f"/jobs/{job_id}/cancel", {}, principal=WRITER)
    assert (await processor.finished(job_id))["status"] == "CANCELLED"


async def test_a_task_that_was_purged_is_sent_again(quick: Processor) -> None:
    job_id = await quick.flow({"one": BY_HAND})
    await until(quick, "SELECT sent_at IS NOT NULL FROM processor.remote_tasks")
    assert await quick.broker.purge(task_queue("hand")) == 1
    async with hand_worker(quick.broker, "hand") as hand:
        task = await hand.take()
        assert task.attempt == 1
        await hand.say(task, "completed", output="found")
        assert (await quick.finished(job_id))["result"] == "found"


async def test_a_task_that_waits_in_its_queue_is_not_sent_again(quick: Processor) -> None:
    """However long nobody takes it: else a queue with few workers would fill with copies."""
    job_id = await quick.flow({"one": BY_HAND})
    await until(quick, "SELECT looks >= 2 FROM processor.remote_tasks")
    assert await quick.broker.depth(task_queue("hand")) == 1
    async with hand_worker(quick.broker, "hand") as hand:
        await hand.say(await hand.take(), "completed", output=None)
        assert (await quick.finished(job_id))["status"] == "COMPLETED"


_SENT_LONG_AGO = "UPDATE processor.remote_tasks SET sent_at = now() - interval '2 hours', look_at = now()"


async def test_tasks_that_wait_in_their_queue_for_hours_are_not_sent_again(processor: Processor) -> None:
    """Each was, every hour: a queue that was a day behind had two dozen of it, and quick handlers did them all."""
    for _ in range(2):
        await processor.flow({"one": BY_HAND})
    await until(processor, "SELECT count(*) = 2 FROM processor.remote_tasks WHERE sent_at IS NOT NULL")
    await processor.parts.pool.execute(_SENT_LONG_AGO)
    await until(processor, "SELECT bool_and(look_at > now() + interval '1 minute') FROM processor.remote_tasks")
    assert await processor.broker.depth(task_queue("hand")) == 2


async def test_a_task_that_was_lost_long_ago_is_sent_again_although_others_wait(processor: Processor) -> None:
    lost = await processor.flow({"one": BY_HAND})
    await until(processor, "SELECT sent_at IS NOT NULL FROM processor.remote_tasks")
    await processor.broker.purge(task_queue("hand"))
    await processor.flow({"one": BY_HAND})
    await until(processor, "SELECT count(*) = 2 FROM processor.remote_tasks WHERE sent_at IS NOT NULL")
    await processor.parts.pool.execute(f"{_SENT_LONG_AGO} WHERE job_id = $1", lost)
    async with hand_worker(processor.broker, "hand") as hand:
        tasks = [await hand.take() for _ in range(2)]
    assert tasks[1].job_id == lost


class GatedBroker(MemoryBroker):
    """What is sent to workers waits for the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.sending, self.gate = asyncio.Event(), asyncio.Event()

    async def publish(self, exchange: Exchange, message: Message) -> None:
        if exchange is Exchange.TASKS:
            self.sending.set()
            await self.gate.wait()
        await super().publish(exchange, message)


@pytest.mark.parametrize("ended_by", ["cancel", "timeout"])
async def test_a_step_that_has_ended_is_not_sent_any_more(open_processor: OpenProcessor, ended_by: str) -> None:
    broker = GatedBroker()
    await broker.declare_tasks("hand")
    one = BY_HAND | ({"timeout": 0.1} if ended_by == "timeout" else {})
    async with open_processor(broker, **PATIENT) as processor:
        job_id = await processor.flow({"one": one}, on_exit={"wait": {"signal": "go"}})
        await broker.sending.wait()
        if ended_by == "cancel":
            await processor.say(job_id, "cancel")
        await processor.watch.became(job_id, "on_exit", "WAITING")
        broker.gate.set()
        await processor.say(job_id, "signals/go")
        await processor.finished(job_id)
        assert await broker.depth(task_queue("hand")) == 0


async def test_what_a_worker_says_while_no_processor_is_there_is_heard_later(open_processor: OpenProcessor) -> None:
    """Nor is a worker lost because nobody could hear it."""
    broker = MemoryBroker()
    async with hand_worker(broker, "hand") as hand, hand_worker(broker, "hand", "slow") as slow:
        async with open_processor(broker, **QUICK) as before:
            fast_id = await before.flow({"one": BY_HAND})
            fast = await hand.take()
            slow_id = await before.flow({"one": BY_HAND})
            slow_one = await slow.take()
            await slow.say(slow_one, "beat")
            await until(before, "SELECT count(*) = 1 FROM processor.remote_tasks WHERE taken_at IS NOT NULL")
        await hand.say(fast, "completed", output="meanwhile")
        await asyncio.sleep(1.6)  # longer than a worker may be silent
        async with open_processor(broker, **QUICK) as after:
            assert (await after.finished(fast_id))["result"] == "meanwhile"
            await slow.say(slow_one, "completed", output="not lost")
            assert (await after.finished(slow_id))["result"] == "not lost"


async def test_a_task_is_sent_when_the_broker_is_back(
    broker_url: str, rabbitmq_server: RabbitServer, open_processor: OpenProcessor
) -> None:
    async with (
        open_broker(broker_url, name="test") as broker,
        open_processor(broker, **PATIENT) as processor,
        working(broker, "hand", echo, 1, "w-1", 5),
    ):
        await processor.finished(await processor.flow({"one": BY_HAND}))
        await rabbitmq_server.stop()
        job_id = await processor.flow({"one": BY_HAND})
        await until(processor, "SELECT count(*) = 1 FROM processor.remote_tasks")
        await rabbitmq_server.start()
        assert (await processor.finished(job_id))["result"] == {"number": 1}


async def test_rabbitmq_away_for_longer_than_a_worker_may_be_silent_costs_no_attempt(
    broker_url: str, rabbitmq_server: RabbitServer, open_processor: OpenProcessor
) -> None:
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def handler(task: Task) -> Any:
        began.set()
        await goes_on.wait()
        return task.attempt

    async with (
        open_broker(broker_url, name="test") as broker,
        open_processor(broker, **QUICK) as processor,
        working(broker, "hand", echo, 1, "w-0", 5),
    ):
        await processor.finished(await processor.flow({"one": BY_HAND}))
        async with working(broker, "slow", handler, 1, "w-1", 5):
            job_id = await processor.flow({"one": BY_HAND | {"uses": "remote/slow"}})
            await began.wait()
            beat_at = f"beat_at FROM processor.remote_tasks WHERE job_id = '{job_id}'"
            await until(processor, f"SELECT (SELECT {beat_at}) IS NOT NULL")
            await rabbitmq_server.stop()
            await asyncio.sleep(2.0)
            await rabbitmq_server.start()
            last = await processor.parts.pool.fetchval(f"SELECT {beat_at}")
            await until(processor, f"SELECT (SELECT {beat_at}) > '{last}'")
            goes_on.set()
            assert (await processor.finished(job_id))["result"] == 1


async def test_a_long_task_holds_no_delivery_celery_6760(
    broker_url: str, rabbitmq_server: RabbitServer, open_processor: OpenProcessor
) -> None:
    """celery #6760: RabbitMQ closes the channel of a consumer that has not acked for 30 minutes, with all that it
    holds; tasks that took longer were done again and again. Ours are acked when they are taken, and nothing waits
    behind them: whenever the connections are cut during a task, nothing comes back."""
    began, goes_on = asyncio.Event(), asyncio.Event()
    attempts: list[int] = []

    async def handler(task: Task) -> Any:
        attempts.append(task.attempt)
        began.set()
        await goes_on.wait()
        return None

    async with (
        open_broker(broker_url, name="test") as broker,
        open_broker(broker_url, name="long") as of_worker,
        open_processor(broker, **PATIENT) as processor,
        working(of_worker, "hand", handler, 1, "w-1", 5),
    ):
        first, second = [await processor.flow({"one": BY_HAND}) for _ in range(2)]
        await began.wait()
        await until(processor, "SELECT count(*) = 2 FROM processor.remote_tasks WHERE sent_at IS NOT NULL")
        vhost = broker_url.rsplit("/", 1)[1]
        assert await cut(rabbitmq_server, vhost, "millrace-long") > 0
        async with asyncio.timeout(30):
            while await broker.depth(task_queue("hand")) != 1:
                await asyncio.sleep(0.1)
        assert attempts == [1], "neither has the first come again, nor was the second held back with it"
        goes_on.set()
        assert (await processor.finished(first))["status"] == "COMPLETED"
        assert (await processor.finished(second))["status"] == "COMPLETED"
    assert attempts == [1, 1]


def _changed(**changes: object) -> Callable[[Event], Event]:
    return lambda event: msgspec.structs.replace(event, **changes)


def _said(**data: object) -> Callable[[Event], Event]:
    return lambda event: msgspec.structs.replace(
        event, data=msgspec.Raw(encode_json(msgspec.json.decode(event.data) | data))
    )


HOSTILE = {
    "of no job": _changed(subject="upload:1"),
    "of a job without an id": _changed(subject="job:all"),
    "a tenant that PostgreSQL cannot hold": _changed(tenant="acme\0"),
    "no payload": _changed(data=msgspec.Raw(b"{}")),
    "no object": _changed(data=msgspec.Raw(b"[]")),
    "a task without an id": _said(task_id="all"),
    "a worker that PostgreSQL cannot hold": _said(worker="\0"),
    "a worker with a long name": _said(worker="x" * 201),
    "more than is done": _changed(
        type="step.progressed", data=msgspec.Raw(b'{"task_id":"%s","done":1.5}' % (b"0" * 32))
    ),
    "a code that is none": lambda event: _said(code="No Code", detail="")(_changed(type="step.failed")(event)),
    "an output too deep": lambda event: _changed(
        type="step.completed",
        data=msgspec.Raw(b'{"task_id":"%s","output":%s}' % (b"0" * 32, b"[" * 300 + b"]" * 300)),
    )(event),
    "an output far too deep": lambda event: _changed(
        type="step.completed",
        data=msgspec.Raw(b'{"task_id":"%s","output":%s}' % (b"0" * 32, b"[" * 90_000 + b"]" * 90_000)),
    )(event),
    "a number that is none": lambda event: _changed(
        type="step.completed", data=msgspec.Raw(b'{"task_id":"%s","output":1e999}' % (b"0" * 32))
    )(event),
    "a number without end": lambda event: _changed(
        type="step.completed", data=msgspec.Raw(b'{"task_id":"%s","output":%s}' % (b"0" * 32, b"9" * 6000))
    )(event),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_no_worker_can_mean_is_parked_and_changes_nothing(
    processor: Processor, hand: HandWorker, change: Callable[[Event], Event]
) -> None:
    job_id = await processor.flow({"one": BY_HAND})
    task = await hand.take()
    fine = new_event(
        type="step.beat",
        stream=stream_name("job", job_id),
        tenant="acme",
        source="/workers/hostile",
        data=encode_json({"task_id": task.task_id, "worker": "hand"}),
    )
    body = encode_event(change(fine)).replace(b"0" * 32, task.task_id.hex.encode())
    async with processor.broker.subscribe(Exchange.DEAD, limit=10) as dead:
        await processor.broker.publish(Exchange.INTAKE, Message("hostile", body, "step.beat"))
        async with asyncio.timeout(90):
            parked = await anext(dead)
    assert (parked.id, parked.headers["attempts"]) == ("hostile", "1")
    await hand.say(task, "completed", output="fine")
    assert (await processor.finished(job_id))["result"] == "fine"


STRANGERS = {
    "another tenant's": lambda task: msgspec.structs.replace(task, tenant="other"),
    "another job's": lambda task: msgspec.structs.replace(task, job_id=new_id()),
    "no task": lambda task: msgspec.structs.replace(task, task_id=new_id()),
}


@pytest.mark.parametrize("wrong", STRANGERS.values(), ids=STRANGERS.keys())
async def test_what_is_said_of_anothers_task_counts_for_nobody(
    processor: Processor, hand: HandWorker, wrong: Callable[[RemoteTask], RemoteTask]
) -> None:
    job_id = await processor.flow({"one": BY_HAND})
    task = await hand.take()
    of_another = wrong(task)
    await hand.say(of_another, "beat")
    await hand.told_to_stop(of_another)
    await hand.say(of_another, "progressed", done=0.5)
    await hand.told_to_stop(of_another)
    await hand.say(of_another, "completed", output="stolen")
    await hand.say(of_another, "released")
    await hand.say(task, "completed", output="own")
    assert (await processor.finished(job_id))["result"] == "own"


@pytest.mark.parametrize(
    "output", [None, 0, "", [], {}, "\U0001f600", 2**80, 1e308, {"a": [1, {"b": None}]}, {"__proto__": 1}]
)
async def test_any_json_may_be_an_output(processor: Processor, hand: HandWorker, output: object) -> None:
    two = {"uses": "noop", "with": {"given": "${{ steps.one.output }}"}, "depends": ["one"]}
    job_id = await processor.flow({"one": BY_HAND, "two": two})
    await hand.say(await hand.take(), "completed", output=output)
    assert (await processor.finished(job_id))["result"] == {"given": output}


async def test_a_nul_that_postgresql_cannot_read_does_not_get_that_far(processor: Processor, hand: HandWorker) -> None:
    job_id = await processor.flow({"one": BY_HAND})
    await hand.say(await hand.take(), "completed", output="a\0b")
    assert (await processor.finished(job_id))["result"] == "a\ufffdb"


async def test_a_queue_that_is_called_like_a_step_of_ours_is_a_queue(processor: Processor) -> None:
    async with hand_worker(processor.broker, "emit") as hand:
        job_id = await processor.flow({"one": BY_HAND | {"uses": "remote/emit"}})
        await hand.say(await hand.take(), "completed", output={"data": 1})
        assert (await processor.finished(job_id))["result"] == {"data": 1}
    assert "job.emitted" not in processor.types(job_id)


async def test_a_step_that_is_given_too_much_fails_and_says_so(processor: Processor) -> None:
    given = "ä" * 100_000  # few characters, many bytes
    times = LARGEST_BYTES // len(given.encode()) + 1
    text = {"text": [f"${{{{ inputs.text }}}}{number}" for number in range(times)]}
    job_id = await processor.flow({"one": {"uses": "remote/hand", "with": text}}, {"text": given})
    assert (await processor.finished(job_id))["error"]["code"] == "parameters_too_large"


async def test_a_task_that_a_worker_cannot_read_is_parked(processor: Processor) -> None:
    async with working(processor.broker, "hand", echo, 1, "w-1", 5):
        async with processor.broker.subscribe(Exchange.DEAD, limit=10) as dead:
            await processor.broker.publish(Exchange.TASKS, Message("odd", b"{}", "hand"))
            async with asyncio.timeout(30):
                assert (await anext(dead)).headers["queue"] == "millrace.tasks.hand"
        assert (await processor.finished(await processor.flow({"one": BY_HAND})))["result"] == {"number": 1}


_HOLD_UP = """
    CREATE FUNCTION processor.hold_up() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN OLD; END';
    CREATE TRIGGER hold_up BEFORE DELETE ON processor.remote_tasks FOR EACH ROW EXECUTE FUNCTION processor.hold_up();
"""


async def test_a_job_that_has_ended_still_forgets_its_tasks_when_its_lease_is_renewed(
    open_processor: OpenProcessor, database: Database
) -> None:
    """Its lease ends with it: the renewal took it for lost, and dropped the job before it had done so."""
    leases = "SELECT min(expires_at) FROM processor.queue WHERE worker IS NOT NULL"
    async with (
        open_processor(**PATIENT, obedient=True, lease_seconds=1.0) as processor,
        working(processor.broker, "hand", echo, 1, "w-1", 5),
    ):
        pool = processor.parts.pool
        async with as_owner(database) as owner:
            await owner.execute(_HOLD_UP)
        other = await processor.begin(b"hang 40")
        await processor.watch.until(other, "job.progressed")
        async with pool.acquire() as holding, holding.transaction():
            await holding.execute("SELECT pg_advisory_xact_lock(1)")
            job_id = await processor.flow({"one": BY_HAND})
            await processor.watch.until(job_id, "job.completed")
            for _ in range(2):
                await until(processor, f"SELECT ({leases}) > '{await pool.fetchval(leases)}'")
        await until(processor, "SELECT count(*) = 0 FROM processor.remote_tasks")
        await processor.say(other, "cancel")


async def echo(task: Task) -> Any:
    return task.parameters


def changes(processor: Processor, job_id: UUID) -> list[dict[str, Any]]:
    return [change for event in processor.watch.of_job(job_id) for change in changes_of(event)]


async def taken(processor: Processor) -> None:
    await until(processor, "SELECT taken_at IS NOT NULL FROM processor.remote_tasks")


async def until(processor: Processor, true: str) -> None:
    async with asyncio.timeout(60):
        while not await processor.parts.pool.fetchval(true):
            await asyncio.sleep(0.05)


async def cut(server: RabbitServer, vhost: str, name: str) -> int:
    """Close the connections whose names begin so; RabbitMQ lists them some seconds after they are made."""
    async with asyncio.timeout(60):
        while True:
            listed = await server.api("GET", f"/vhosts/{vhost}/connections")
            ours = [
                one["name"] for one in listed if one["client_properties"].get("connection_name", "").startswith(name)
            ]
            if ours:
                break
            await asyncio.sleep(0.2)
    for one in ours:
        await server.api("DELETE", f"/connections/{quote(one, safe='')}")
    return len(ours)
