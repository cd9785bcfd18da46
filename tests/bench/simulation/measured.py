"""What was measured on one machine (2 shared cores at 2.5 GHz): the simulation's inputs, and the points it must meet.

Inputs are in seconds. Where the README has a range, its middle is taken. No point below is made of the figure that it
is compared with, except where it says so.
"""

from dataclasses import dataclass

# The log. README, Figures: "about 27 µs of PostgreSQL and 17 µs of Python an event".
LOG_EVENT = 27e-6
LOG_EVENT_PYTHON = 17e-6
# One call with its commit and round trip: of a step of the chain (40 steps of 10 ms: 0.43 s) what is not the engine's.
LOG_CALL = 360e-6
# What a caller of its own costs beside its event: a future, a switch of tasks, the next request. Of `make bench
# NAME=parts`, on a busy machine: caller_cpu_us (62) less an event.
LOG_CALLER = 45e-6

# The gateway, CPU for a request with limiter, and for a message through a tunnel.
GATEWAY_REQUEST = 215e-6
GATEWAY_MESSAGE = 16e-6
LIMITER_DECISIONS_PER_S = 13_600

# The engine: "some 400 µs of its core each", "PostgreSQL's functions take some 300 µs of the other".
STEP_LOOP = 400e-6
STEP_POSTGRES = 300e-6

# The notifier. An event by itself (RabbitMQ's client, decoding), and a write: of one event to 10,000 clients, 11.1 µs a
# delivery. To 1,000 it was 16.2 in the same run, and 10.1 and 7.7 the day before: the machine varies.
TELL_EVENT = 1.1e-3
TELL_WRITE = 11.0e-6
# An event among others, hundreds in a second, to ten: 21 µs a delivery, less ten writes.
TELL_AMONG_OTHERS = 100e-6
# An event that nobody of this notifier follows: NAME=parts, unfollowed_cpu_us.
TELL_NOBODY = 4e-6
IDLE_CLIENT_BYTES = 4.5 * 1024

# RabbitMQ by aio-pika: 500 confirmed publishes a second one at a time.
PUBLISH_ALONE = 2e-3
# A message of `millrace.events`, in pages: CPU of the relay, of NAME=relay on a busy machine, and of RabbitMQ where a
# quorum queue is bound (24 µs where none is). RabbitMQ is the first to be full.
RELAY_EVENT = 57e-6
RABBITMQ_EVENT = 110e-6
RELAY_EVENTS_PER_S = 1 / max(RELAY_EVENT, RABBITMQ_EVENT)

# An upload of some bytes and its job, CPU by process (60 of them at three a second, on a busy machine, less what all do
# when idle). On the way to the first frame: the intake until it appends, and from there until the feed is published,
# with what else wakes then (both relays, whoever claims): the lower quartile.
INTAKE = 0.5e-3
INTAKE_TO_FEED = 3.6e-3
# Ingest and the gateway, before the 202. After the first frame: some five appends more, each relayed and told.
UPLOAD_BEFORE = 12e-3
JOB_PROCESSOR = 34.5e-3 - INTAKE - INTAKE_TO_FEED
JOB_POSTGRES = 28.8e-3 - 3 * LOG_CALL
JOB_OTHERS = 10.3e-3 - PUBLISH_ALONE - TELL_EVENT  # RabbitMQ and the notifier
JOB_STEP = 82e-3  # the process that profiles the file

# Ingest: 6.4 CPU seconds a GB; 199 MB/s by one process.
UPLOAD_BYTE = 6.4e-9


@dataclass(frozen=True, slots=True)
class Point:
    """A figure of the README that a simulated one is compared with."""

    name: str
    least: float
    most: float
    within: float  # share of the middle that the simulation may be off by: what decision 0034 admits

    def error(self, simulated: float) -> float:
        """Share of the middle that the simulation is off by."""
        return simulated / self.middle - 1

    @property
    def middle(self) -> float:
        return (self.least + self.most) / 2


POINTS = {
    point.name: point
    for point in (
        Point("log_64_callers_per_s", 16_100, 17_900, 0.20),
        Point("log_64_callers_p50_ms", 3.1, 3.6, 0.35),
        Point("log_64_callers_p99_ms", 6.9, 7.6, 0.10),
        Point("log_batch_100_per_s", 22_400, 24_500, 0.15),
        Point("engine_steps_per_s", 2_260, 2_260, 0.15),
        Point("engine_chain_40_s", 0.43, 0.43, 0.05),
        Point("latency_p50_ms", 15, 15, 0.45),
        Point("latency_p95_ms", 25, 25, 0.55),
        Point("latency_p99_ms", 34, 34, 0.55),
        Point("fanout_one_by_one_1000_per_s", 61_700, 61_700, 0.40),
        Point("fanout_1000_channels_p50_ms", 7.8, 7.8, 0.10),
        Point("fanout_1000_channels_p95_ms", 25, 25, 0.65),
        Point("fanout_1000_channels_p99_ms", 42, 42, 0.80),
        Point("fanout_one_channel_p50_ms", 77, 77, 0.15),
        Point("fanout_one_channel_p99_ms", 179, 179, 0.15),
    )
}
