"""The workers in deploy/examples do what the README says of them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from events.broker import task_queue
from events.brokers import open_broker
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
