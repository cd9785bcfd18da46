"""An internal service with a queue of its own, as in any language: nothing here is Millrace's. It keeps the newest
state of each job in SQLite. By `id`, an event counts once; by `version`, the older never overwrites the newer.

    MILLRACE_BROKER_URL=amqp://user:password@host:5672/vhost python deploy/examples/queue_subscriber.py jobs.sqlite
"""

import asyncio
import json
import os
import sqlite3
import sys

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

QUEUE = "millrace.subscribers.states"
TABLES = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS jobs (stream TEXT PRIMARY KEY, version INTEGER, status TEXT, percent INTEGER);
"""
NEWEST = """
INSERT INTO jobs VALUES (:subject, :version, :status, :progress_percent) ON CONFLICT (stream) DO UPDATE
SET version = excluded.version, status = excluded.status, percent = excluded.percent WHERE excluded.version > version
"""


def keep(database: sqlite3.Connection, body: bytes) -> None:
    event = json.loads(body)
    with database:  # one transaction: the effect, and the note that it was had
        if database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event["id"],)).rowcount:
            database.execute(NEWEST, event | event["data"])


async def settle(
    database: sqlite3.Connection, dead: aio_pika.abc.AbstractExchange, message: AbstractIncomingMessage
) -> None:
    try:
        keep(database, message.body)
    except Exception as error:  # a dead letter: operators see the reason, and can replay it
        key = message.routing_key or ""
        headers = {**message.headers, "queue": QUEUE, "routing_key": key, "reason": repr(error)}
        letter = aio_pika.Message(
            message.body, headers=headers, message_id=message.message_id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
        )
        await dead.publish(letter, key)
    await message.ack()


async def main(file: str, broker_url: str) -> None:
    database = sqlite3.connect(file)
    database.executescript(TABLES)
    connection = await aio_pika.connect_robust(broker_url)  # it comes back by itself when the broker does
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(50)
        events = await channel.declare_exchange("millrace.events", aio_pika.ExchangeType.TOPIC, durable=True)
        again = await channel.declare_exchange("millrace.subscribers", aio_pika.ExchangeType.DIRECT, durable=True)
        dead = await channel.declare_exchange("millrace.dead", aio_pika.ExchangeType.TOPIC, durable=True)
        durable = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000, "x-single-active-consumer": True}
        queue = await channel.declare_queue(QUEUE, durable=True, arguments=durable)
        await queue.bind(events, "default.job.*")  # <tenant>.<category>.<verb>
        await queue.bind(again, QUEUE.rpartition(".")[2])
        print("listening", flush=True)
        async with queue.iterator() as messages:
            async for message in messages:
                await settle(database, dead, message)


if __name__ == "__main__":
    if len(sys.argv) != 2 or "MILLRACE_BROKER_URL" not in os.environ:
        sys.exit("Set MILLRACE_BROKER_URL, and name the file of the database.")
    asyncio.run(main(sys.argv[1], os.environ["MILLRACE_BROKER_URL"]))
