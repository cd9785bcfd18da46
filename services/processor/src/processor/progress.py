"""What running steps say of themselves, passed on at a pace that everybody can follow: the newest, and never without
the last."""

from collections.abc import Callable

from processor.workflows.commands import Progress
from processor.workflows.record import SECONDS_BETWEEN_MESSAGES
from processor.workflows.state import Key

SECONDS_BETWEEN = 0.1


class Pace:
    def __init__(self, wake: Callable[[], None], *, seconds_between: float = SECONDS_BETWEEN) -> None:
        self._wake = wake
        self._seconds_between = seconds_between
        self._newest: dict[Key, Progress] = {}  # not passed on yet
        self._last: dict[Key, Progress] = {}
        self._not_before = 0.0
        self._again_at: float | None = None

    def report(self, progress: Progress) -> None:
        if not self._newest:
            self._wake()
        self._newest[progress.key] = self._last[progress.key] = progress

    def forget(self, key: Key) -> None:
        """The step has ended: what it became says more."""
        self._newest.pop(key, None)
        self._last.pop(key, None)

    def due(self, now: float) -> list[Progress]:
        """What may be passed on by now."""
        if self._again_at is not None and now >= self._again_at:
            # A message that came too soon after another one is worth saying now, if it still holds.
            self._newest = {**self._last, **self._newest}
            self._again_at = None
        if not self._newest or now < self._not_before:
            return []
        passed, self._newest = list(self._newest.values()), {}
        self._not_before = now + self._seconds_between
        self._again_at = now + SECONDS_BETWEEN_MESSAGES
        return passed

    def due_in(self, now: float) -> float | None:
        if self._newest:
            return max(0.0, self._not_before - now)
        if self._last and self._again_at is not None:
            return max(0.0, self._again_at - now)
        return None

    def close(self) -> None:
        self._newest.clear()
        self._last.clear()
