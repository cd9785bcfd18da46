"""Wires the processor from its parts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

from events.broker.broker import Queue
from events.delivery.consumer import Consumer
from events.delivery.relay import Relay, to_events, to_feed
from events.lifecycle import Parts, Service, loops, ticking
from events.log.append import Appender
from events.log.doorbell import Doorbell
from events.log.log import EventLog
from events.web.web import new_app
from processor import admin, artifact_routes, event_routes
from processor.artifact_views import Artifacts
from processor.attempts import Attempts
from processor.builtin.table import open_builtin
from processor.cleaning import clean_routes
from processor.cleaning import routes as recipe_routes
from processor.cleaning.query import routes as query_routes
from processor.cleaning.query.copies import Copies
from processor.dead_letters import DeadLetters
from processor.intake import Intake
from processor.job_files import JobFiles
from processor.queue import QUEUE_CHANNEL, JobQueue, Postbox
from processor.quota import JobQuota
from processor.remote.reports import SECONDS_BETWEEN, RemoteReports
from processor.remote.tasks import RemoteTasks
from processor.remote.watch import RemoteWatch
from processor.schedules import routes as schedule_routes
from processor.schedules.clock import Clock, clock_of
from processor.schedules.firing import Firing
from processor.schedules.launch import Launch
from processor.schedules.schedules import Schedules
from processor.scratch import open_scratch
from processor.settings import ProcessorSettings
from processor.slots import Slots
from processor.status import Backlog
from processor.step_calls import StepCalls
from processor.step_process import STEP_COMMAND
from processor.surveys import Surveys
from processor.turns import Turns
from processor.upload_ends import UploadEnds
from processor.upload_progress import UploadProgress
from processor.uploads import ToldUploads
from processor.worker import Worker
from processor.workflows import control_routes, publishing_routes, routes
from processor.workflows.control import Control
from processor.workflows.jobs import Jobs
from processor.workflows.library import Library
from processor.workflows.publishing import Publishing
from processor.workflows.start import Starter

_RENEWALS_PER_LEASE = 3
_COLLECT_SECONDS = 0.4  # a running step hears within a second that it is cancelled
_UNBLOCK_SECONDS = 60.0
_REMOTE_LOOK_SECONDS = 1.0
_FILES_SECONDS = 15.0


@asynccontextmanager
async def open_service(
    settings: ProcessorSettings,
    parts: Parts,
    *,
    step_command: Sequence[str] = STEP_COMMAND,
    warm: bool = True,
    clock: Clock | None = None,
) -> AsyncIterator[Service]:
    """Stops in reverse order: nothing new is taken, then the work ends, last what was appended is written. `warm`: the
    processes for steps are started before there is work; else the first step waits for its own."""
    async with AsyncExitStack() as stack:
        metrics = parts.telemetry.metrics
        scratch = stack.enter_context(open_scratch(settings.data_dir / "scratch"))
        doorbell = await stack.enter_async_context(Doorbell(parts.pool))
        appender = await stack.enter_async_context(
            Appender(parts.pool, function="processor.append", doorbell=doorbell, telemetry=parts.telemetry)
        )
        queue_bell = await stack.enter_async_context(Doorbell(parts.pool, QUEUE_CHANNEL))
        library = Library(parts.pool)
        postbox = Postbox(parts.pool)
        quota = JobQuota(parts.pool, open_at_once=settings.quota_open_jobs, per_day=settings.quota_jobs_per_day)
        starter = Starter(parts.pool, appender, library, postbox, quota)
        queue = JobQueue(parts.pool, uuid4().hex, seconds=settings.lease_seconds, per_tenant=settings.jobs_per_tenant)
        files = JobFiles(parts, staged_seconds=settings.staged_seconds)
        slots = Slots(settings.workers, step_command, metrics)
        here = await stack.enter_async_context(open_builtin(settings, parts.blobs, files.noted, parts.telemetry))
        turns = Turns(parts.telemetry)
        attempts = Attempts(parts, settings, files.noted, slots, here, scratch, turns)
        remote = RemoteTasks(
            parts.pool,
            parts.broker,
            parts.telemetry,
            lost_seconds=settings.remote_lost_seconds,
            grace=settings.step_grace_seconds,
            allowed=settings.remote_queues,
        )
        worker = Worker(parts, settings, appender, queue, slots, attempts, library, starter, remote, turns)
        stack.push_async_callback(worker.close)
        if warm:
            await slots.warm_up()
        reports = RemoteReports(parts.pool, remote, parts.telemetry, announce_mail=queue_bell.ring)
        progress = UploadProgress(appender, EventLog(parts.pool))
        uploads = ToldUploads(parts.pool)
        ends = UploadEnds(appender, uploads)
        incoming = Intake(appender, library, quota, reports, progress, ends, metrics, announce_work=queue_bell.ring)
        remote_watch = RemoteWatch(
            parts.pool,
            parts.broker,
            remote,
            parts.telemetry,
            lost_seconds=settings.remote_lost_seconds,
            announce_mail=queue_bell.ring,
        )
        intake = Consumer(parts.broker, Queue.INTAKE, incoming.handle, parts.telemetry)
        clock = clock or clock_of(parts.pool)
        launch = Launch(
            parts.pool, library, starter, postbox, announce_work=worker.wake.set, announce_mail=worker.mail.set
        )
        firing = Firing(parts, settings, appender, library, launch, quota, clock)
        dead_letters = DeadLetters(parts.pool, parts.broker)
        feed = Relay("feed", parts.pool, doorbell, to_feed(parts.broker, parts.telemetry), parts.telemetry)
        events = Relay("events", parts.pool, doorbell, to_events(parts.broker, parts.telemetry), parts.telemetry)

        running = await stack.enter_async_context(loops(parts.telemetry))
        running.start("intake", intake.run)
        running.start("dead_letters", dead_letters.drain)
        running.start("relay.feed", feed.run)
        running.start("relay.events", events.run)
        running.start("queue.bell", lambda: worker.listen(queue_bell))
        running.start(
            "worker.claim", lambda: ticking(worker.claim_once, every=settings.claim_poll_seconds, wake=worker.wake)
        )
        running.start(
            "worker.renew", lambda: ticking(worker.renew_once, every=settings.lease_seconds / _RENEWALS_PER_LEASE)
        )
        running.start("worker.collect", lambda: ticking(worker.collect_once, every=_COLLECT_SECONDS, wake=worker.mail))
        running.start(
            "schedules.fire", lambda: ticking(firing.run_once, every=settings.schedule_poll_seconds, wake=firing.wake)
        )
        running.start("remote.look", lambda: ticking(remote_watch.look_once, every=_REMOTE_LOOK_SECONDS))
        running.start("remote.tell", lambda: ticking(remote_watch.tell_once, every=SECONDS_BETWEEN))
        running.start("files.sweep", lambda: ticking(files.sweep, every=_FILES_SECONDS))
        running.start("queue.unblock", lambda: ticking(queue.unblock_all, every=_UNBLOCK_SECONDS))

        log = EventLog(parts.pool)
        Surveys(parts.pool, parts.broker, metrics, lease_seconds=settings.lease_seconds)
        facts = Backlog(parts.pool, parts.broker).facts
        app = new_app(parts, title="Millrace processor", running=running, facts=facts)
        jobs = Jobs(parts.pool, parts.blobs, log, library, postbox)
        control = Control(
            parts.pool,
            starter,
            library,
            jobs,
            postbox,
            quota,
            announce=queue_bell.ring,
        )
        app.add_routes(routes.router(jobs))
        artifacts, calls = Artifacts(parts.pool), StepCalls(slots, settings)
        copies = Copies(
            parts.blobs,
            scratch / "tables",
            most_bytes=settings.query_cache_bytes,
            disk_free_bytes=settings.caps.disk_free_bytes,
            seconds=settings.call_wait_seconds,
        )
        stack.push_async_callback(copies.close)
        app.add_routes(query_routes.router(artifacts, jobs, copies, calls, settings, scratch))
        app.add_routes(artifact_routes.router(artifacts, jobs, parts.blobs))
        app.add_routes(control_routes.router(control))
        app.add_routes(clean_routes.router(calls, settings, scratch))
        app.add_routes(publishing_routes.router(Publishing(parts.pool, appender, library)))
        app.add_routes(recipe_routes.router(library.beside))
        schedules = Schedules(parts.pool, settings, appender, library, launch, clock, announce=firing.wake.set)
        app.add_routes(schedule_routes.router(schedules))
        app.add_routes(event_routes.router(log))
        app.add_routes(admin.router(dead_letters))
        yield Service("processor", app)
