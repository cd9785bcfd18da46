"""What is limited, and by how much: the one table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from events.errors import StartupError

_LONGEST_WINDOW = 366 * 86_400  # seconds

Per = Literal["subject", "tenant", "address"]


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket that holds `burst` requests, and gains `rate` per second."""

    rate: float
    burst: int
    interval: int = field(init=False, repr=False)  # ns in which it gains one; rounded up, so never too many
    capacity: int = field(init=False, repr=False)  # ns in which it gains all
    window: int = field(init=False, repr=False)  # the same in whole seconds

    def __post_init__(self) -> None:
        if not (0 < self.rate <= 1e6 and 1 <= self.burst <= self.rate * _LONGEST_WINDOW):
            raise ValueError(
                "rate must be above 0 and at most 1000000 per second, burst at least 1 and filled in a year"
            )
        interval = math.ceil(1e9 / self.rate)
        object.__setattr__(self, "interval", interval)
        object.__setattr__(self, "capacity", interval * self.burst)
        object.__setattr__(self, "window", max(1, math.ceil(self.burst / self.rate)))


LONGEST_SECONDS = 60  # that connects are remembered


@dataclass(frozen=True, slots=True)
class Connects:
    """How many connects one principal may make to one path in any `seconds`, to the last one exactly.

    Beyond `free`, a WebSocket is accepted and closed with 1013, and what is none is refused. Beyond `most`, all are."""

    seconds: int
    free: int
    most: int

    def __post_init__(self) -> None:
        if not (1 <= self.seconds <= LONGEST_SECONDS and 1 <= self.free <= self.most <= 10_000):
            raise ValueError(f"seconds must be 1 to {LONGEST_SECONDS}, and free at most most, which is at most 10000")


@dataclass(frozen=True, slots=True)
class RouteClass:
    name: str
    limits: Mapping[Per, Limit]
    passes_uncounted: bool = True  # while the database is away; else it is a 503
    connects: Connects | None = None


Overrides = Mapping[str, Mapping[Per, Limit | None]]  # by class; None takes a limit away

_PRINCIPAL: Mapping[Per, Limit] = {"subject": Limit(100, 200), "tenant": Limit(500, 1000), "address": Limit(500, 2000)}

# A request spends one from each bucket of its class, or nothing if one of them is empty.
CLASSES = (
    RouteClass("auth", {"address": Limit(0.5, 20)}, passes_uncounted=False),
    RouteClass("guess", {"address": Limit(10, 200)}),  # of requests whose credential is missing or wrong
    RouteClass("public", {"address": Limit(100, 200)}),
    RouteClass("read", _PRINCIPAL),
    RouteClass("write", _PRINCIPAL),
    RouteClass("upload", _PRINCIPAL),
    # Each keeps a process of all tenants busy for a while.
    RouteClass("clean", {"subject": Limit(10, 20), "tenant": Limit(20, 40), "address": Limit(50, 200)}),
    RouteClass("ws", _PRINCIPAL, connects=Connects(seconds=10, free=5, most=20)),
    RouteClass("connection", _PRINCIPAL, connects=Connects(seconds=10, free=100, most=400)),
)


def classes(limits: Overrides, connects: Mapping[str, Connects]) -> Mapping[str, RouteClass]:
    """The table by name, with the operator's limits instead of ours."""
    table = {known.name: known for known in CLASSES}
    for setting, named in (("MILLRACE_LIMITS", limits), ("MILLRACE_LIMITS_CONNECTS", connects)):
        if unknown := sorted(set(named) - set(table)):
            raise StartupError(f"{setting} names the class {unknown[0]!r}; there are {', '.join(table)}.")
    for name, changed in limits.items():
        merged = {**table[name].limits, **changed}
        table[name] = replace(table[name], limits={per: limit for per, limit in merged.items() if limit is not None})
    for name, limit in connects.items():
        table[name] = replace(table[name], connects=limit)
    return table
