"""What the log, the queues and the jobs are like as a whole, for whoever scrapes the metrics: every replica says the
same of it."""

from events.broker.broker import Broker
from events.database import Pool, load_queries
from events.delivery.queue_lengths import tell_queue_lengths
from events.metrics.metrics import Bounded, Metrics

_JOBS = ("waiting", "blocked", "later", "working", "resting")
_TASKS = ("unsent", "waiting", "working")
_READERS = ("relay.feed", "relay.events")


class Surveys:
    def __init__(self, pool: Pool, broker: Broker, metrics: Metrics, *, lease_seconds: float) -> None:
        self._pool = pool
        self._lease_seconds = lease_seconds
        self._queries = load_queries("processor", "surveys.sql")
        gauge = metrics.gauge
        self._head = gauge("millrace_log_head_position", "The newest event of the log.")
        self._lag = gauge(
            "millrace_log_reader_lag_events", "Events that a named reader of the log has before it.", ["reader"]
        )
        self._lag_seconds = gauge("millrace_log_reader_lag_seconds", "The age of the oldest of these.", ["reader"])
        self._jobs = gauge("millrace_jobs", "Unfinished jobs, by what they wait for.", {"state": _JOBS})
        self._oldest_job = gauge(
            "millrace_jobs_oldest_waiting_age_seconds", "How long the longest waiting job could have begun."
        )
        self._oldest_lease = gauge(
            "millrace_jobs_lease_oldest_age_seconds", "Since the lease that was not renewed for longest was renewed."
        )
        gauge("millrace_jobs_lease_seconds", "How long a lease lasts.").set(lease_seconds)
        self._tenants = gauge(
            "millrace_tenant_jobs",
            "Unfinished jobs of the tenants with most of them, and of all others.",
            ["tenant", "state"],
        )
        self._dead = gauge("millrace_dead_letters_waiting", "Dead letters that nobody has replayed.")
        self._oldest_dead = gauge("millrace_dead_letters_oldest_age_seconds", "Since the oldest of these was parked.")
        self._tasks = gauge("millrace_remote_tasks", "Steps for remote workers that have not ended.", {"state": _TASKS})
        self._oldest_task = gauge(
            "millrace_remote_tasks_oldest_age_seconds", "The age of the oldest of these.", {"state": _TASKS}
        )
        self.queues = tell_queue_lengths(broker, metrics)
        for survey in (self.log, self.jobs, self.tenants, self.dead_letters, self.remote_tasks):
            metrics.survey(survey.__name__, survey)

    async def log(self) -> None:
        rows = await self._pool.fetch(self._queries["readers"])
        self._head.set(rows[0]["position"])
        lags = dict.fromkeys(_READERS, (0, 0.0))
        lags |= {row["name"]: (row["events"], row["seconds"]) for row in rows if row["name"] is not None}
        self._lag.clear()
        self._lag_seconds.clear()
        for reader, (events, seconds) in lags.items():
            self._lag.labels(reader).set(events)
            self._lag_seconds.labels(reader).set(seconds)

    async def jobs(self) -> None:
        row = await self._pool.fetchrow(self._queries["jobs"], self._lease_seconds)
        assert row is not None
        for state in _JOBS:
            self._jobs.labels(state).set(row[state])
        self._oldest_job.set(row["oldest_waiting"])
        self._oldest_lease.set(row["oldest_lease"])

    async def tenants(self) -> None:
        rows = await self._pool.fetch(self._queries["tenants"])
        found = {Bounded.OTHER: (0, 0)} | {row["tenant"]: (row["waiting"], row["working"]) for row in rows}
        self._tenants.clear()
        for tenant, (waiting, working) in found.items():
            self._tenants.labels(tenant, "waiting").set(waiting)
            self._tenants.labels(tenant, "working").set(working)

    async def dead_letters(self) -> None:
        row = await self._pool.fetchrow(self._queries["dead_letters"])
        assert row is not None
        self._dead.set(row["waiting"])
        self._oldest_dead.set(row["oldest"])

    async def remote_tasks(self) -> None:
        rows = await self._pool.fetch(self._queries["remote_tasks"])
        found = {row["state"]: (row["tasks"], row["oldest"]) for row in rows}
        for state in _TASKS:
            tasks, oldest = found.get(state, (0, 0.0))
            self._tasks.labels(state).set(tasks)
            self._oldest_task.labels(state).set(oldest)
