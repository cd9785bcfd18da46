"""How much a client may send: so many at once, and so many a second in the long run."""


class Allowance:
    __slots__ = ("_burst", "_counted_at", "_left", "_rate")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = float(burst)
        self._counted_at = now

    def take(self, now: float, count: int = 1) -> bool:
        """Whether so many more are allowed now."""
        self._left = min(self._burst, self._left + (now - self._counted_at) * self._rate)
        self._counted_at = now
        if self._left < count:
            return False
        self._left -= count
        return True
