"""What a handler on the service's loop is: given an attempt and its parameters, it gives the step's output."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from events.jobs import Artifact
from processor.step import Report


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one step of one job. If it is cancelled, it ends: the job was cancelled, timed out, or taken over."""

    tenant: str
    job_id: UUID
    step: str
    item: int | None  # the place in the list, in a map
    number: int  # 1, 2, 3 …
    effect_id: UUID  # the same for every attempt: whoever gets it twice does it once
    output_name: str  # for what it writes: no other attempt has it, not even that of a zombie
    report: Report  # how far it is
    traceparent: str | None = None
    artifacts: list[Artifact] = field(default_factory=list)  # that it has stored: told with its end


Here: TypeAlias = Callable[[Attempt, Mapping[str, Any]], Awaitable[Any]]
