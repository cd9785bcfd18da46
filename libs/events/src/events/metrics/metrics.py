"""What one service counts and measures for Prometheus, in a registry of its own: see `docs/operating/metrics.md`.

A label must be bounded. Whoever makes a metric says which values a label has, as far as they are known: then each is
there from the start, and says 0. Names that clients choose go through `Bounded`.
"""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import TypeVar

from opentelemetry.trace import get_current_span
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics import MetricWrapperBase

from events.metrics.exposition import exposed
from events.metrics.surveys import Ask, Survey, refresh

Labels = Sequence[str] | Mapping[str, Sequence[str]]  # names; or names with the values that are known

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LONG_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400)
BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

_MOST_NAMES = 50

M = TypeVar("M", bound=MetricWrapperBase)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made: dict[str, MetricWrapperBase] = {}
        self._surveys: list[Survey] = []

    def describe(self, service: str, version: str) -> None:
        """Which service it is, and the figures of its process."""
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        info = Info("millrace_build", "Which version of which service this is.", registry=self.registry)
        info.info({"service": service, "version": version, "python": platform.python_version()})

    def counter(self, name: str, says: str, labels: Labels = ()) -> Counter:
        """The one counter of that name: who counts the same thing shares it. So it is with the others."""
        return self._once(Counter, name, lambda: Counter(name, says, [*labels], registry=self.registry), labels)

    def gauge(self, name: str, says: str, labels: Labels = ()) -> Gauge:
        return self._once(Gauge, name, lambda: Gauge(name, says, [*labels], registry=self.registry), labels)

    def histogram(self, name: str, says: str, labels: Labels = (), *, buckets: Sequence[float] = SECONDS) -> Histogram:
        def make() -> Histogram:
            return Histogram(name, says, [*labels], buckets=buckets, registry=self.registry)

        return self._once(Histogram, name, make, labels)

    def survey(self, name: str, ask: Ask) -> None:
        """Have `ask` set gauges to what the database or the broker says, when somebody scrapes."""
        age = self.gauge(
            "millrace_survey_age_seconds", "Since what is asked on a scrape was last answered.", {"survey": [name]}
        )
        failures = self.counter(
            "millrace_survey_failures_total",
            "Times that what is asked on a scrape was not answered in time.",
            {"survey": [name]},
        )
        self._surveys.append(Survey(ask, age.labels(name), failures.labels(name)))

    async def told(self, accept: str) -> tuple[bytes, str]:
        """All of it, and its media type."""
        await refresh(self._surveys)
        return await exposed(self.registry, accept)

    def _once(self, kind: type[M], name: str, make: Callable[[], M], labels: Labels) -> M:
        metric = self._made.get(name)
        if metric is None:
            metric = self._made[name] = make()
        assert isinstance(metric, kind)
        if isinstance(labels, Mapping):
            for values in product(*labels.values()):
                metric.labels(*values)
        return metric


class Bounded:
    """Of names that clients choose, the first so many, besides those that are known. The others are `other`."""

    OTHER = "other"

    def __init__(self, most: int = _MOST_NAMES, known: Iterable[str] = ()) -> None:
        self._names = {*known}
        self._most = most + len(self._names)

    def __call__(self, name: str) -> str:
        if name not in self._names:
            if len(self._names) >= self._most:
                return self.OTHER
            self._names.add(name)
        return name


def exemplar(traceparent: str | None = None) -> dict[str, str] | None:
    """Of a histogram: the trace that this was seen in, if it is kept. The current one, unless another is given."""
    if traceparent is not None:
        return {"trace_id": traceparent[3:35]} if len(traceparent) == _TRACEPARENT and _sampled(traceparent) else None
    context = get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}"} if context.is_valid and context.trace_flags.sampled else None


_TRACEPARENT = 55  # characters of a W3C traceparent, whose last digit says whether it is sampled


def _sampled(traceparent: str) -> bool:
    return traceparent[-1] in "13579bdf"
