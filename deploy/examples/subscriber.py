"""An internal service that wants to know of every job that is completed, and keeps a row for each: exactly one.

    MILLRACE_DATABASE_URL=postgresql://billing:secret@host:5432/millrace \\
    MILLRACE_BROKER_URL=amqp://user:password@host:5672/vhost python deploy/examples/subscriber.py

docs/events.md says how to make the role `billing`. Run as many as you like, stop and kill them as you like: one of them
works, another goes on when it dies.
"""

import asyncio
import os
import sys

import asyncpg

from events.jobs import JobCompleted
from events.lifecycle import stop_signal
from events.subscribe import Received, subscribe

TABLE = "CREATE TABLE IF NOT EXISTS billing.completed (tenant text, job text, keys int)"


async def bill(received: Received) -> None:
    event, completed = received.event, received.payload(JobCompleted)
    keys = len(completed.result) if isinstance(completed.result, dict) else 0
    async with received.transaction() as connection:  # its commit is also what says that this event is done
        await connection.execute("INSERT INTO billing.completed VALUES ($1, $2, $3)", event.tenant, event.subject, keys)
    print(event.position, event.subject, flush=True)


async def main() -> None:
    try:
        database_url, broker_url = os.environ["MILLRACE_DATABASE_URL"], os.environ["MILLRACE_BROKER_URL"]
    except KeyError as missing:
        sys.exit(f"Set {missing.args[0]}: docs/events.md says to what.")
    connection = await asyncpg.connect(database_url)
    await connection.execute(TABLE)
    await connection.close()
    stop = stop_signal()
    async with subscribe("*.job.completed", "billing", bill, database_url=database_url, broker_url=broker_url):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
