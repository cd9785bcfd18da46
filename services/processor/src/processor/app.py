"""Wires the processor from its parts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

from events.append import Appender
from events.broker import Queue
from events.consumer import Consumer
from events.doorbell import Doorbell
from events.lifecycle import Parts, Service, loops, ticking
from events.log import EventLog
from events.relay import Relay, to_events, to_feed
from events.web import new_app
from processor import admin, event_routes
from processor.dead_letters import DeadLetters
from processor.intake import Intake
from processor.leases import Leases
from processor.quota import JobQuota
from processor.scratch import open_scratch
from processor.settings import ProcessorSettings
from processor.status import Backlog
from processor.step_process import STEP_COMMAND
from processor.worker import Worker
from processor.workflows import routes
from processor.workflows.jobs import Jobs

_RENEWALS_PER_LEASE = 3
_SWEEP_SECONDS = 60.0


@asynccontextmanager
async def open_service(
    settings: ProcessorSettings, parts: Parts, *, step_command: Sequence[str] = STEP_COMMAND
) -> AsyncIterator[Service]:
    """Stops in reverse order: nothing new is taken, then the work ends, last what was appended is written."""
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(open_scratch(settings.data_dir / "scratch"))
        doorbell = await stack.enter_async_context(Doorbell(parts.pool))
        appender = await stack.enter_async_context(Appender(parts.pool, function="processor.append", doorbell=doorbell))
        leases = Leases(parts.pool, uuid4().hex, seconds=settings.lease_seconds)
        worker = Worker(parts, settings, appender, leases, scratch, step_command=step_command)
        stack.push_async_callback(worker.close)
        await worker.warm_up()
        quota = JobQuota(parts.pool, open_at_once=settings.quota_open_jobs, per_day=settings.quota_jobs_per_day)
        incoming = Intake(appender, quota, announce_work=worker.wake.set)
        intake = Consumer(parts.broker, Queue.INTAKE, incoming.handle, parts.telemetry)
        dead_letters = DeadLetters(parts.pool, parts.broker)
        feed = Relay("feed", parts.pool, doorbell, to_feed(parts.broker), parts.telemetry)
        events = Relay("events", parts.pool, doorbell, to_events(parts.broker), parts.telemetry)

        running = await stack.enter_async_context(loops(parts.telemetry))
        running.start("intake", intake.run)
        running.start("dead_letters", dead_letters.drain)
        running.start("relay.feed", feed.run)
        running.start("relay.events", events.run)
        running.start(
            "worker.claim", lambda: ticking(worker.claim_once, every=settings.claim_poll_seconds, wake=worker.wake)
        )
        running.start(
            "worker.renew", lambda: ticking(worker.renew_once, every=settings.lease_seconds / _RENEWALS_PER_LEASE)
        )
        running.start("leases.sweep", lambda: ticking(leases.sweep, every=_SWEEP_SECONDS))

        log = EventLog(parts.pool)
        app = new_app(parts, title="Millrace processor", running=running, facts=Backlog(parts.pool, parts.broker).facts)
        app.include_router(routes.router(Jobs(parts.pool, parts.blobs, log)))
        app.include_router(event_routes.router(log))
        app.include_router(admin.router(dead_letters))
        yield Service("processor", app)
