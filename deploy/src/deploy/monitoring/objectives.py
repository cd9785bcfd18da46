"""What is promised to users, in shares of what happens, and the rules that watch how fast the rest is used up.

An objective of 99.9 % leaves a budget of 0.1 % for thirty days. Burning it 14.4 times as fast uses up 2 % of it in an
hour, 6 times 5 % in six hours, once 10 % in three days. Each is looked at over a long window, which says that it
matters, and a short one, which says that it goes on: so an alert ends soon after its cause.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

RUNBOOKS = "docs/operating/runbooks"

# Asked by balancers, Kubernetes and Prometheus itself. A 503 is the right answer of most of these, and no user sees it.
_PROBES = "health|livez|readyz|ping|metrics|statusz"
# Requests whose time is the client's own: sockets and streams that stay open, bytes that come and go.
_LONG = "connection|ws|uploads|files|clean"


def _but(names: str) -> str:
    return f'route!~".*/({names})(/.*)?"'


CLIENTS = _but(_PROBES)


@dataclass(frozen=True, slots=True)
class Objective:
    name: str
    alert: str
    share: float  # of what happens, as it is promised
    bad: str  # a rate over {window}
    all: str
    says: str  # what a user sees when it is missed

    @property
    def budget(self) -> float:
        return round(1 - self.share, 6)

    def count(self, window: str) -> str:
        """How many there were."""
        return self.all.format(window=window).replace("rate(", "increase(")

    def record(self, window: str) -> str:
        return f"objective:{self.name}_missed:ratio_rate{window}"


@dataclass(frozen=True, slots=True)
class Burn:
    factor: float
    long: str
    short: str
    severity: str


def _slower_than(seconds: float, histogram: str, labels: str = "") -> tuple[str, str]:
    """What took longer, and all of it, by a histogram that has such a bucket."""
    everything = f"sum(rate({histogram}_count{{{{{labels}}}}}[{{window}}]))"
    bucket = ",".join(filter(None, (labels, f'le="{seconds:g}"')))
    return f"{everything} - sum(rate({histogram}_bucket{{{{{bucket}}}}}[{{window}}]))", everything


OBJECTIVES = (
    Objective(
        "availability",
        "RequestsFail",
        0.999,
        # No request has failed yet where there is no such series.
        f'sum(rate(millrace_gateway_requests_total{{{{{CLIENTS},status=~"5.."}}}}[{{window}}])) or vector(0)',
        f"sum(rate(millrace_gateway_requests_total{{{{{CLIENTS}}}}}[{{window}}]))",
        says="Requests are answered with 5xx.",
    ),
    Objective(
        "latency",
        "RequestsAreSlow",
        0.99,
        *_slower_than(0.5, "millrace_gateway_request_duration_seconds", f'method="GET",{_but(f"{_LONG}|{_PROBES}")}'),
        says="Reads take longer than half a second.",
    ),
    Objective(
        "freshness",
        "EventsAreLate",
        0.99,
        *_slower_than(0.5, "millrace_notifier_event_age_seconds"),
        says="What happens is told to sockets more than half a second late.",
    ),
    Objective(
        "intake",
        "UploadsAreTakenInLate",
        0.99,
        *_slower_than(2.5, "millrace_intake_event_age_seconds"),
        says="Jobs of uploads appear more than two and a half seconds after the 202.",
    ),
)

BURNS = (
    Burn(14.4, long="1h", short="5m", severity="page"),
    Burn(6, long="6h", short="30m", severity="page"),
    Burn(1, long="3d", short="6h", severity="ticket"),
)

# Nobody is woken by one slow request of a night in which there were three.
FEW = 100

WINDOWS = ("5m", "30m", "1h", "6h", "3d")


def rules() -> dict[str, Any]:
    """The rule file of all objectives, as Prometheus reads it."""
    return {
        "groups": [
            {"name": "millrace-objectives", "rules": [*_records()]},
            {"name": "millrace-budgets", "rules": [*_alerts()]},
        ]
    }


def _records() -> Iterator[dict[str, Any]]:
    for objective in OBJECTIVES:
        for window in WINDOWS:
            bad, everything = (part.format(window=window) for part in (objective.bad, objective.all))
            yield {"record": objective.record(window), "expr": f"({bad}) / ({everything})"}


def _alerts() -> Iterator[dict[str, Any]]:
    for objective in OBJECTIVES:
        for burn in BURNS:
            yield {
                "alert": objective.alert,
                "expr": " and ".join(
                    [
                        *(
                            f"{objective.record(window)} > {burn.factor:g} * {objective.budget:g}"
                            for window in (burn.long, burn.short)
                        ),
                        f"{objective.count(burn.long)} > {FEW}",
                    ]
                ),
                "labels": {"severity": burn.severity, "objective": objective.name, "burn": f"{burn.factor:g}"},
                "annotations": {
                    "summary": objective.says,
                    "description": f"Over the last {burn.long}, {{{{ $value | humanizePercentage }}}} missed the "
                    f"objective of {objective.share * 100:g} %: its budget burns more than {burn.factor:g} times as "
                    "fast as thirty days allow.",
                    "runbook": f"{RUNBOOKS}/{objective.alert}.md",
                },
            }
