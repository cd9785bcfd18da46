"""A registry as text, written slice by slice: all of it at once takes tens of milliseconds of the event loop."""

import asyncio
import re
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Metric, exposition
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

_OPENMETRICS = "application/openmetrics-text"
_SAMPLES = 100  # that are written until everybody else has a turn: about a millisecond
_HEAD = re.compile(rb"\A(?:# .*\n)+")
_END = b"# EOF\n"


async def exposed(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The text and its media type: OpenMetrics for whoever takes that, else Prometheus' own."""
    if _OPENMETRICS in accept:
        return await _slices(registry, openmetrics.generate_latest) + _END, openmetrics.CONTENT_TYPE_LATEST
    return await _slices(registry, exposition.generate_latest), exposition.CONTENT_TYPE_PLAIN_0_0_4


async def _slices(registry: CollectorRegistry, write: Callable[[Collector], bytes]) -> bytes:
    written: list[bytes] = []
    for metric in registry.collect():
        # `_created` doubles what counters say: `process_start_time_seconds` tells when they began.
        samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
        for begin in range(0, len(samples) or 1, _SAMPLES):
            metric.samples = samples[begin : begin + _SAMPLES]
            text = write(_Only(metric)).removesuffix(_END)
            written.append(_HEAD.sub(b"", text) if begin else text)
            await asyncio.sleep(0)
    return b"".join(written)


class _Only(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        yield self._metric
