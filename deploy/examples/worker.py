"""A service that does a step of workflows: `uses: remote/words`, given a `text`.

    MILLRACE_BROKER_URL=amqp://user:password@host:5672/vhost python deploy/examples/worker.py

Run as many as you like, stop and kill them as you like.
"""

import asyncio
import os
import sys

from events.lifecycle import stop_signal
from events.remote import StepFailed, Task, remote_worker


async def count_words(task: Task) -> dict[str, int]:
    text = task.parameters.get("text")
    if not isinstance(text, str):
        raise StepFailed("no_text", "There is no text to count the words of.")
    words = 0
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        words += len(line.split())
        task.progress(number / len(lines), f"Line {number} of {len(lines)}")
        await asyncio.sleep(0)  # whatever blocks the loop for long stops the beats: use asyncio.to_thread for it
    return {"words": words}


async def main() -> None:
    broker_url = os.environ.get("MILLRACE_BROKER_URL", "")
    if not broker_url.startswith(("amqp://", "amqps://")):
        sys.exit(
            "Set MILLRACE_BROKER_URL to the RabbitMQ that Millrace uses, amqp://user:password@host:5672/vhost: "
            "`make stack` writes it to .millrace/stack/broker-url, and `make run` has none."
        )
    stop = stop_signal()
    async with remote_worker(broker_url, "words", count_words, concurrency=4):
        print("taking tasks of remote/words", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
