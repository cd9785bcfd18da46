"""Steps that others do: on RabbitMQ and on the memory broker, with workers that work as they should."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from events.broker import Broker
from events.brokers import open_broker
from events.remote import StepFailed, Task, working
from fixtures.processor import OpenProcessor, Processor, changes_of

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
        job_id = await processor.start({"one": DOUBLE, "two": again}, {"number": 21})
        job = await processor.finished(job_id)
    assert (job["status"], job["result"]) == ("COMPLETED", {"number": 84})
    assert [(task.tenant, task.job_id, task.step, task.attempt) for task in seen] == [
        ("acme", job_id, "one", 1),
        ("acme", job_id, "two", 1),
    ]
