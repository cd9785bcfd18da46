"""What operators allow every workflow."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for steps that do not say otherwise."""

    attempts: int = 3  # of a step whose process, or whose worker, dies
    backoff: float = 1.0  # seconds before the second
    step_seconds: float = 3600.0  # that undoing something, or the exit, may wait for others
    largest_map: int = 100_000  # items
