"""What a processor tells of the jobs and steps that it has worked on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from time import perf_counter

from events.ids import made_at
from events.jobs import JobStatus
from events.metrics.metrics import LONG_SECONDS, Bounded, Metrics, exemplar
from processor.handlers import HANDLERS, Runs
from processor.step import StepStopped
from processor.workflows.built_in import BUILT_IN
from processor.workflows.library import NOTHING
from processor.workflows.state import JobState

_OUTCOMES = [status.lower() for status in JobStatus if status.terminal]
_STEPS = sorted(name for name, handler in HANDLERS.items() if handler.runs is not Runs.WAIT)


class JobMetrics:
    def __init__(self, metrics: Metrics) -> None:
        self._workflows, self._tenants = Bounded(known=BUILT_IN), Bounded()
        self._finished = metrics.counter(
            "millrace_jobs_finished_total",
            "Jobs that ended here.",
            {"workflow": [*BUILT_IN, Bounded.OTHER], "outcome": _OUTCOMES},
        )
        self._of_tenant = metrics.counter(
            "millrace_tenant_jobs_finished_total",
            "Jobs that ended here, by whose they were.",
            {"tenant": [Bounded.OTHER], "outcome": _OUTCOMES},
        )
        self._seconds = metrics.histogram(
            "millrace_job_duration_seconds",
            "From a job's start to its end.",
            {"outcome": _OUTCOMES},
            buckets=LONG_SECONDS,
        )
        self._waits = metrics.histogram(
            "millrace_job_wait_duration_seconds",
            "From when a job was made, or was to start, to its start.",
            buckets=LONG_SECONDS,
        )
        self.unreadable = metrics.counter(
            "millrace_jobs_unreadable_total", "Times that a job's history could not be read."
        )
        self.lost = metrics.counter(
            "millrace_leases_lost_total", "Jobs that somebody else has taken while this process worked on them."
        )

    def finished(self, state: JobState, now: datetime) -> None:
        created, outcome = state.created, state.status.lower()
        # A name that nobody has published is whatever a client has written.
        workflow = Bounded.OTHER if state.plan is NOTHING else self._workflows(created.workflow)
        self._finished.labels(workflow, outcome).inc()
        self._of_tenant.labels(self._tenants(state.tenant), outcome).inc()
        if state.started_at is None:
            return
        self._seconds.labels(outcome).observe(_between(state.started_at, now), exemplar())
        if created.parent is None:  # else its id tells when its parent was made
            wanted = max(made_at(state.id), created.start_at or made_at(state.id))
            self._waits.observe(_between(wanted, state.started_at))


class StepMetrics:
    def __init__(self, metrics: Metrics) -> None:
        self._seconds = metrics.histogram(
            "millrace_step_duration_seconds",
            "One attempt of one step, without the wait for a process.",
            {"step": _STEPS, "outcome": ["completed", "failed", "stopped"]},
            buckets=LONG_SECONDS,
        )

    @contextmanager
    def attempt(self, step: str) -> Iterator[None]:
        began = perf_counter()
        outcome = "failed"
        try:
            yield
            outcome = "completed"
        except (StepStopped, asyncio.CancelledError):
            outcome = "stopped"
            raise
        finally:
            self._seconds.labels(step, outcome).observe(perf_counter() - began, exemplar())


def _between(begin: datetime, end: datetime) -> float:
    return max(0.0, (end - begin).total_seconds())
