"""How many of each part serve so many clients and events, at what price: sums over measured costs.

A *cell* is one log with all that belongs to it: PostgreSQL, RabbitMQ, processors, notifiers, ingest. A tenant is in one
cell. Gateways stand before all cells.
"""

from dataclasses import dataclass, fields
from math import ceil

from bench.simulation import measured

BUSY = 0.6  # of a core, a loop or a log: what is above it is kept for bursts and for a neighbour that died
FOLLOWERS = 10  # assumed: who sees an event; as in the benchmark `fanout`
STEP_SHARE = 0.2  # assumed: of the events, those that end a step; the others tell progress
REQUESTS_PER_CLIENT = 0.01  # assumed: HTTP requests a second of a connected client
UPLOAD_BYTES_PER_EVENT = 20_000  # assumed: 1 MB makes some 50 events
EVENT_BYTES = 300  # as it is in the feed
FRAME_BYTES = 230
STORED_BYTES = 700  # an event with its id and its indexes; measure yours by pg_total_relation_size
PING_SECONDS = 25.0
FILLED = 0.8  # of the sockets that a replica may have: from 0.85 on, `ConnectionsRunOut` wakes somebody
NOTIFIER_CONNECTIONS = FILLED * 20_000  # MILLRACE_MAX_CONNECTIONS
GATEWAY_CONNECTIONS = FILLED * 10_000  # MILLRACE_MAX_SOCKETS
TUNNEL_BYTES = 40 * 1024  # assumed: a tunnel has two connections
RABBITMQ_BYTES_PER_CORE = 100e6  # assumed: what one core of it hands out in a second
LOG_EVENTS_PER_S = 17_000  # measured: 64 callers
POSTGRES_OTHERS = 30e-6  # assumed: relays and catching up read each event again, twice

# Assumed, in US dollars a month; put your own.
CORE_PRICE, GB_PRICE, DISK_GB_PRICE, EGRESS_GB_PRICE = 25.0, 3.0, 0.10, 0.01
MONTH_SECONDS = 30 * 86_400
KEPT_DAYS = 30


@dataclass(frozen=True, slots=True)
class Demand:
    clients: int
    events_per_s: int

    @property
    def deliveries_per_s(self) -> float:
        return self.events_per_s * FOLLOWERS


@dataclass(frozen=True, slots=True)
class Fleet:
    """Of each, how many in all; cores are what they work, not what they are given."""

    logs: int
    gateways: int
    ingests: int
    processors: int
    notifiers: int
    rabbitmqs: int
    cores: float
    memory_gb: float
    network_mb_s: float  # inside: what RabbitMQ hands to notifiers
    egress_mb_s: float
    disk_gb: float

    @property
    def dollars_a_month(self) -> float:
        egress_gb = self.egress_mb_s * MONTH_SECONDS / 1000
        return (
            self.cores * CORE_PRICE
            + self.memory_gb * GB_PRICE
            + self.disk_gb * DISK_GB_PRICE
            + egress_gb * EGRESS_GB_PRICE
        )

    def figures(self, name: str) -> dict[str, float]:
        each = {field.name: float(getattr(self, field.name)) for field in fields(self)}
        return {f"{name}_{part}": figure for part, figure in each.items()} | {
            f"{name}_dollars_a_month": self.dollars_a_month
        }


def most_events_per_log(*, single_messages: bool) -> float:
    """What one log takes with room to spare. `single_messages`: with the relay to `millrace.events`, which is the
    first to be full."""
    steps = 1 / measured.STEP_POSTGRES / STEP_SHARE
    most = min(LOG_EVENTS_PER_S, steps)
    return BUSY * min(most, measured.RELAY_EVENTS_PER_S if single_messages else most)


def fleet(demand: Demand, *, single_messages: bool) -> Fleet:
    logs = ceil(demand.events_per_s / most_events_per_log(single_messages=single_messages))
    events, clients = demand.events_per_s / logs, demand.clients / logs
    steps = events * STEP_SHARE
    notifiers = _notifiers(events, clients)
    processors = max(2, ceil(steps * measured.STEP_LOOP / BUSY))
    upload_cores = events * UPLOAD_BYTES_PER_EVENT * measured.UPLOAD_BYTE
    ingests = max(2, ceil(upload_cores / BUSY))
    gateway_cores = _gateway_cores(demand)
    gateways = max(2, ceil(gateway_cores / BUSY), ceil(demand.clients / GATEWAY_CONNECTIONS))
    feed_bytes = events * EVENT_BYTES * notifiers
    singly = events if single_messages else 0.0
    postgres = events * (measured.LOG_EVENT + POSTGRES_OTHERS) + steps * measured.STEP_POSTGRES
    postgres += REQUESTS_PER_CLIENT * clients / measured.LIMITER_DECISIONS_PER_S
    cell_cores = (
        notifiers * notifier_load(events, clients / notifiers, notifiers)
        + steps * measured.STEP_LOOP
        + upload_cores
        + max(0.1, singly * measured.RELAY_EVENT)
        + 3 * max(0.3, feed_bytes / 3 / RABBITMQ_BYTES_PER_CORE + singly * measured.RABBITMQ_EVENT / 3)
        + postgres
    )
    return Fleet(
        logs=logs,
        gateways=gateways,
        ingests=logs * ingests,
        processors=logs * processors,
        notifiers=logs * notifiers,
        rabbitmqs=3 * logs,
        cores=(logs * cell_cores + gateway_cores) / BUSY,
        memory_gb=_memory_gb(demand, gateways, logs, logs * (ingests + processors + notifiers)),
        network_mb_s=logs * feed_bytes / 1e6,
        egress_mb_s=demand.deliveries_per_s * FRAME_BYTES / 1e6,
        disk_gb=demand.events_per_s * STORED_BYTES * KEPT_DAYS * 86_400 / 1e9,
    )


def notifier_load(events_per_s: float, clients: float, of: int) -> float:
    """Of a core, what one of so many notifiers of a log works: it hears of all events, and tells its clients theirs."""
    here = FOLLOWERS / of  # of an event's followers
    told = min(1.0, here)
    hearing = measured.TELL_NOBODY + told * (measured.TELL_AMONG_OTHERS - measured.TELL_NOBODY)
    pings = 2 * clients / PING_SECONDS
    return events_per_s * (hearing + here * measured.TELL_WRITE) + pings * measured.TELL_WRITE


def _notifiers(events_per_s: float, clients: float) -> int:
    """More of them share the clients, but each hears of all: past some number, more do not help."""
    number = max(2, ceil(clients / NOTIFIER_CONNECTIONS))
    while notifier_load(events_per_s, clients / number, number) > BUSY:
        number += 1
        if number > 1000:
            raise ValueError(f"No number of notifiers hears {events_per_s:.0f} events a second.")
    return number


def _gateway_cores(demand: Demand) -> float:
    pings = 2 * demand.clients / PING_SECONDS
    messages = (demand.deliveries_per_s + pings) * measured.GATEWAY_MESSAGE
    return messages + demand.clients * REQUESTS_PER_CLIENT * measured.GATEWAY_REQUEST


def _memory_gb(demand: Demand, gateways: int, logs: int, processes: int) -> float:
    """Connections, 200 MB for each process, and 8 GB for PostgreSQL and 2 GB for each RabbitMQ of a log."""
    connections = demand.clients * (measured.IDLE_CLIENT_BYTES + TUNNEL_BYTES) / 1e9
    return connections + 0.2 * (gateways + processes) + logs * (8 + 3 * 2)
