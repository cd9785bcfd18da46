"""RabbitMQ: whether it answers, and has the exchanges and queues that we declare."""

import asyncio

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ChannelPreconditionFailed

from deploy.checks.finding import Finding
from deploy.printing import reason
from deploy.target import Target
from events.broker.broker import QUEUE_OF, Exchange

_SECONDS = 5.0
_MANY = 10_000  # messages that wait at the intake, of which each is one upload


async def check_broker(target: Target) -> list[Finding]:
    if target.broker_url is None:
        if target.directory is None:
            return [Finding("broker", "skipped", "MILLRACE_BROKER_URL is not set")]
        return [Finding("broker", "ok", "In the memory of `make run`: its gateway tells how it is")]
    try:
        connection = await asyncio.wait_for(aio_pika.connect(target.broker_url, timeout=_SECONDS), _SECONDS)
    except (AMQPError, OSError, TimeoutError, ValueError) as refused:
        fix = "Start it, or correct MILLRACE_BROKER_URL. Uploads are accepted meanwhile, and wait in the outbox."
        return [Finding("broker", "down", f"It does not let us in: {reason(refused)}", fix)]
    try:
        async with asyncio.timeout(_SECONDS * 2):
            return [Finding("broker", "ok", "It answers"), *await _topology(connection)]
    except (AMQPError, OSError, TimeoutError, RuntimeError) as gone:
        fix = "Look at its alarms (rabbitmq-diagnostics alarms): memory, disk."
        return [Finding("broker", "down", f"It lets us in, and does not answer: {reason(gone)}", fix)]
    finally:
        await connection.close()


async def _topology(connection: AbstractConnection) -> list[Finding]:
    """Passively: what is missing is declared by whichever service starts next, not by us."""
    missing, waiting = [], {}
    for exchange in Exchange:
        channel = await connection.channel()
        try:
            await channel.declare_exchange(exchange.value, passive=True)
        except ChannelNotFoundEntity:
            missing.append(f"exchange {exchange.value}")
        else:
            await channel.close()
    for queue in QUEUE_OF.values():
        channel = await connection.channel()
        try:
            declared = await channel.declare_queue(queue.value, passive=True)
            waiting[queue.value] = declared.declaration_result.message_count or 0
        except (ChannelNotFoundEntity, ChannelPreconditionFailed):
            missing.append(f"queue {queue.value}")
        else:
            await channel.close()
    if missing:
        fix = "Restart a service: each declares all of it when it connects."
        return [Finding("topology", "wrong", f"There is no {', no '.join(missing)}", fix)]
    says = ", ".join(f"{name} {count}" for name, count in waiting.items())
    if max(waiting.values()) > _MANY:
        return [Finding("topology", "warn", f"Many messages wait: {says}", "Start processors, or more of them.")]
    return [Finding("topology", "ok", f"Every exchange and queue is there; messages that wait: {says}")]
