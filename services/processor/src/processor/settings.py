"""What the processor is told at its start."""

from pydantic import Field

from events.settings import BodySettings
from processor.builtin.hosts import PatternText
from processor.inputs.caps import Caps


class ProcessorSettings(BodySettings):
    # connections; the doorbell, the log and each relay keep one
    database_pool_size: int = Field(default=16, ge=12, le=200)
    jobs_at_once: int = Field(default=128, ge=1, le=10_000)  # jobs that are under way here at once
    jobs_per_tenant: int = Field(default=10_000, ge=1)  # jobs of one tenant that are worked on at once, on all replicas
    workers: int = Field(default=2, ge=1, le=64)  # processes for steps that compute
    lease_seconds: float = Field(default=5.0, gt=0)  # until the job of a killed worker is taken over
    claim_poll_seconds: float = Field(default=0.5, gt=0)  # between looks for jobs that nobody woke us for
    step_attempts: int = Field(default=3, ge=1)  # times that a job's step may die before the job fails
    step_retry_seconds: float = Field(default=1.0, ge=0)  # until a step that died is tried again
    step_seconds: float = Field(default=3600.0, gt=0)  # seconds that a step may take
    step_grace_seconds: float = Field(default=5.0, ge=0)  # seconds that a cancelled step has to end by itself
    # seconds until a job that cannot be read fails: a release that was rolled back may come again until then
    unreadable_seconds: float = Field(default=3600.0, ge=0)
    step_memory_mb: int = Field(default=400, ge=128)  # megabytes that a step may use; beyond, it goes to disk or fails
    # seconds that what the steps of a job that failed have staged for later ones is kept, for a retry to go on with
    staged_seconds: float = Field(default=86_400.0, ge=0)
    remote_lost_seconds: float = Field(default=30.0, gt=0)  # seconds of silence after which a remote worker is lost
    # JSON list of queues that steps may name: thumbnails, or acme/thumbnails for the tenant acme alone. None: any
    remote_queues: frozenset[str] | None = None
    quota_jobs_per_day: int | None = Field(default=None, ge=0)  # jobs that a tenant may start in a day of UTC
    quota_open_jobs: int | None = Field(default=None, ge=0)  # jobs that a tenant may have unfinished at once
    schedule_poll_seconds: float = Field(default=1.0, gt=0)  # between looks for what others' schedules have due
    schedule_grace_seconds: int = Field(default=60, ge=1)  # a firing that comes later counts as missed
    schedule_catch_up_jobs: int = Field(default=100, ge=1)  # missed firings that one schedule makes up for, at most
    schedule_backlog: int = Field(default=1000, ge=1)  # unfinished jobs of one schedule; more are not made
    schedules_per_tenant: int = Field(default=1000, ge=0)
    # The shortest interval. A firing leaves four events or more in the log for good: every second, 126 million a year.
    schedule_smallest_seconds: int = Field(default=10, ge=1)
    step_threads: int = Field(default=2, ge=1, le=64)  # threads of a step
    # Of compressed inputs. Ten times what ingest takes by default
    archive_bytes: int = Field(default=100 * 1024**3, ge=1)  # bytes that come out of one
    archive_ratio: int = Field(default=200, ge=1)  # bytes that come out for each of the file's, after the first MiB
    archive_depth: int = Field(default=3, ge=0)  # layers: a zip with a .csv.gz in it has two
    archive_entries: int = Field(default=10_000, ge=1)  # of a zip
    archive_disk_free_mb: int = Field(default=1024, ge=0)  # megabytes that steps leave free on the scratch disk
    http_hosts: tuple[PatternText, ...] = ()  # JSON list of what steps may call: *.example.com, example.com:8443
    http_private_addresses: bool = False  # whether these may be on this machine or in a private network
    http_seconds: float = Field(default=30.0, gt=0)  # seconds that a call may take from the lookup to its last byte
    http_answer_bytes: int = Field(default=1024 * 1024, ge=0, le=64 << 20)  # bytes of an answer, decompressed
    # Of what a client waits for, a small clean or a query. The gateway gives up after 30 s of silence.
    call_wait_seconds: float = Field(default=5.0, gt=0)  # seconds that it may wait for a process
    call_seconds: float = Field(default=15.0, gt=0)  # seconds that it may take then
    query_cache_bytes: int = Field(default=4 * 1024**3, ge=0)  # bytes of tables from an object store that are kept here
    clean_bytes: int = Field(default=10 * 1024**2, ge=1)  # bytes of a file that is cleaned at once, also decompressed

    @property
    def caps(self) -> Caps:
        return Caps(
            bytes=self.archive_bytes,
            ratio=self.archive_ratio,
            depth=self.archive_depth,
            entries=self.archive_entries,
            disk_free_bytes=self.archive_disk_free_mb << 20,
        )
