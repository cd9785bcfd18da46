"""Wires the processor from its parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from events.append import Appender
from events.broker import Queue
from events.consumer import Consumer
from events.doorbell import Doorbell
from events.lifecycle import Parts, Service, loops, ticking
from events.relay import Relay, to_events, to_feed
from events.web import new_app
from processor import admin
from processor.dead_letters import DeadLetters
from processor.intake import Intake
from processor.settings import ProcessorSettings
from processor.worker import Worker
from processor.workflows import routes


@asynccontextmanager
async def open_service(settings: ProcessorSettings, parts: Parts) -> AsyncIterator[Service]:
    work_waits = asyncio.Event()
    dead_letters = DeadLetters(parts)
    async with (
        Doorbell(parts.pool) as doorbell,
        Appender(parts.pool, function="processor.append", doorbell=doorbell) as appender,
        loops(parts.telemetry) as running,
    ):
        worker = Worker(parts, settings, appender, work_waits)
        await worker.warm_up()
        intake = Consumer(parts.broker, Queue.INTAKE, Intake(appender, work_waits).handle, parts.telemetry)
        parking = Consumer(parts.broker, Queue.DEAD, dead_letters.keep, parts.telemetry)
        feed = Relay("feed", parts.pool, doorbell, to_feed(parts.broker), parts.telemetry)
        events = Relay("events", parts.pool, doorbell, to_events(parts.broker), parts.telemetry)
        running.start("intake", intake.run)
        running.start("dead-letters", parking.run)
        running.start("relay.feed", feed.run)
        running.start("relay.events", events.run)
        running.start("worker", lambda: ticking(worker.run_once, every=settings.claim_poll_seconds, wake=work_waits))

        app = new_app(parts, title="Millrace processor", running=running)
        app.include_router(routes.router(parts))
        app.include_router(admin.router(dead_letters))
        try:
            yield Service("processor", app)
        finally:
            await running.stop()
            await worker.close()
