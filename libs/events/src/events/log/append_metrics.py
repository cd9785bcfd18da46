"""What the append actor tells of itself: how many wait, how much goes into a call, how long that takes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from events.log.batch import Appended, AppendRequest, Duplicate, IdReused, Outcome, VersionConflict
from events.metrics.metrics import BATCH, Metrics, exemplar

_NAMES: Mapping[object, str] = {
    Appended: "appended",
    Duplicate: "duplicate",
    VersionConflict: "conflict",
    IdReused: "id_reused",
}


class AppendMetrics:
    def __init__(self, metrics: Metrics, waiting: Callable[[], int]) -> None:
        self._seconds = metrics.histogram(
            "millrace_append_duration_seconds", "One call of the append function, which is one commit."
        )
        self._sizes = metrics.histogram(
            "millrace_append_batch_events", "How many events went into one call.", buckets=BATCH
        )
        self._requests = metrics.counter(
            "millrace_append_requests_total",
            "What became of what was to be appended.",
            {"outcome": [*_NAMES.values(), "failed"]},
        )
        self._events = metrics.counter("millrace_append_events_total", "Events that this process has appended.")
        metrics.gauge("millrace_append_waiting", "Callers that wait for the next call.").set_function(waiting)

    def called(self, requests: Sequence[AppendRequest], seconds: float) -> None:
        """One call was answered. Of all the traces that it belongs to, an example can name one."""
        self._sizes.observe(sum([len(request.events) for request in requests]))
        traces = [event.traceparent for request in requests[:1] for event in request.events[:1]]
        self._seconds.observe(seconds, exemplar(next(iter(traces), None) or ""))

    def answered(self, outcomes: Sequence[Outcome], appended: int) -> None:
        for kind, count in Counter(map(type, outcomes)).items():
            self._requests.labels(_NAMES[kind]).inc(count)
        self._events.inc(appended)

    def failed(self, requests: Sequence[AppendRequest]) -> None:
        self._requests.labels("failed").inc(len(requests))
