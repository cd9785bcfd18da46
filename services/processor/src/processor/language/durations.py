"""Durations as people write them: a number of seconds, or `90s`, `5m`, `1h30m`, `1d`."""

import re
from typing import Any

PATTERN = r"^(?:[0-9]{1,9}d)?(?:[0-9]{1,9}h)?(?:[0-9]{1,9}m)?(?:[0-9]{1,9}(?:\.[0-9]{1,3})?s)?$"
LONGEST = 31_622_400.0  # seconds: a leap year

_WRITTEN = re.compile(r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9}(?:\.[0-9]{1,3})?)s)?")
_UNITS = (86_400, 3_600, 60, 1)


def seconds(duration: Any) -> float | None:
    """None for what is no duration."""
    if isinstance(duration, bool):
        return None
    if isinstance(duration, int | float):
        return float(duration)
    written = _WRITTEN.fullmatch(duration) if isinstance(duration, str) and duration else None
    if written is None:
        return None
    return sum(float(amount) * unit for amount, unit in zip(written.groups(), _UNITS, strict=True) if amount)
