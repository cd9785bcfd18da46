"""The workers in deploy/examples do what the README says of them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from events.broker.broker import task_queue
from events.broker.by_url import open_broker
from fixtures.node import NodeCommand
from fixtures.processor import OpenProcessor

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"


@asynccontextmanager
async def running(*command: str, broker_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | {"MILLRACE_BROKER_URL": broker_url}, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_the_python_worker_counts_words_and_stops_in_order(
    broker_url: str, open_processor: OpenProcessor
) -> None:
    words = {"uses": "remote/words", "with": {"text": "${{ inputs.text }}"}}
    async with (
        open_broker(broker_url, name="test") as broker,
        open_processor(broker) as processor,
        running(sys.executable, str(EXAMPLES / "worker.py"), broker_url=broker_url) as worker,
    ):
        counted = await processor.finished(await processor.flow({"count": words}, {"text": "one two\nthree\n"}))
        assert counted["result"] == {"words": 3}
        failed = await processor.finished(await processor.flow({"count": words}, {"text": 5}))
        assert failed["error"]["code"] == "no_text"
        worker.terminate()
        assert await worker.wait() == 0
        assert await broker.depth(task_queue("words")) == 0


@pytest.mark.parametrize("broker_url", ["", "memory://"])
async def test_the_python_worker_says_what_it_needs(broker_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / "worker.py"),
        env=os.environ | {"MILLRACE_BROKER_URL": broker_url},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert said.startswith(b"Set MILLRACE_BROKER_URL to the RabbitMQ that Millrace uses")
    assert said.count(b"\n") == 1


@pytest.mark.timeout(600)  # the first time, Node is fetched
async def test_the_worker_in_node_shouts_and_says_what_it_cannot(
    broker_url: str, open_processor: OpenProcessor, node_command: NodeCommand
) -> None:
    shout = {"uses": "remote/shout", "with": {"text": "${{ inputs.text }}"}}
    async with (
        open_broker(broker_url, name="test") as broker,
        open_processor(broker) as processor,
        running(*node_command(EXAMPLES / "worker.mjs"), broker_url=broker_url),
    ):
        shouted = await processor.finished(await processor.flow({"shout": shout}, {"text": "one two"}))
        assert shouted["result"] == {"text": "ONE TWO"}
        failed = await processor.finished(await processor.flow({"shout": shout}, {"text": 5}))
        assert failed["error"]["code"] == "shout_failed"
        assert await broker.depth(task_queue("shout")) == 0
