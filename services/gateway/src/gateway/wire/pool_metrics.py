"""How full the connections to a service are, and what becomes of attempts to open another one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from events.metrics.metrics import Metrics


class PoolMetrics:
    def __init__(self, metrics: Metrics, service: str, most: int, **counts: Callable[[], int]) -> None:
        """`counts`: how many connections there are in each state."""
        connections = metrics.gauge(
            "millrace_gateway_upstream_connections", "Connections to a service.", ["service", "state"]
        )
        for state, count in counts.items():
            connections.labels(service, state).set_function(count)
        metrics.gauge("millrace_gateway_upstream_connections_max", "How many there may be.", ["service"]).labels(
            service
        ).set(most)
        self._service = service
        self._connects = metrics.counter(
            "millrace_gateway_upstream_connects_total",
            "New connections to a service, by how it went.",
            {"service": [service], "outcome": ["connected", "failed", "full"]},
        )
        self._seconds = metrics.histogram(
            "millrace_gateway_upstream_connect_duration_seconds",
            "Until a new connection was there.",
            {"service": [service]},
        )

    @contextmanager
    def connecting(self) -> Iterator[None]:
        began = perf_counter()
        outcome = "failed"
        try:
            yield
            outcome = "connected"
            self._seconds.labels(self._service).observe(perf_counter() - began)
        finally:
            self._connects.labels(self._service, outcome).inc()

    def full(self) -> None:
        self._connects.labels(self._service, "full").inc()
