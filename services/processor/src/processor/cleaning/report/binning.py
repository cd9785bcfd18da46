"""Numbers in bins whose edges people can read."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.report.document import Bins

Numbers = NDArray[np.float64]

_MOST_BINS, _WANTED_BINS = 32, 24
_FAR = 5.0  # times as wide as the middle 98 % of the values: what is beyond them gets no bins
_NARROWEST = 1e-300  # of which a part may be nothing
_DAY = 86_400
_DAYS = (1, 2, 3, 5, 7, 14, 21, 30, 45, 61, 91, 122, 182, 365, 730, 1826, 3652, 7305, 18262, 36525)
_TIME_STEPS = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 3 * 3600, 6 * 3600, 12 * 3600),
    *(_DAY * days for days in _DAYS),
)


def edges_of(samples: Sequence[Numbers], unit: str) -> Numbers:
    """Between which all of these find a place, but for values that are far from the others of their sample. Each sample
    has a value."""
    ends = [_ends(values) for values in samples]
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    step = _step(most - least, unit, is_whole=all(bool(np.all(values == np.floor(values))) for values in samples))
    grid = min(step, _DAY) if unit != "number" and unit != "characters" else step
    first = math.floor(least / grid) * grid
    count = max(1, math.ceil((most - first) / step))
    if first + count * step <= most and (unit != "number" or step == 1):
        count += 1  # a day and a whole number are bins of their own, not the end of the one before
    edges: Numbers = first + step * np.arange(count + 1, dtype=np.float64)
    return np.unique(edges) if len(np.unique(edges)) > 1 else np.array([least, np.nextafter(least, np.inf)])


def _ends(values: Numbers) -> tuple[float, float]:
    least, most = float(values.min()), float(values.max())
    low, high = (float(at) for at in np.quantile(values, [0.01, 0.99]))
    return (low, high) if high > low and most - least > _FAR * (high - low) else (least, most)


def bins_of(values: Numbers, edges: Numbers, unit: str) -> Bins:
    counts, _ = np.histogram(values, edges)
    below, above = int(np.count_nonzero(values < edges[0])), int(np.count_nonzero(values > edges[-1]))
    is_whole = bool(np.all(values == np.floor(values)))
    return Bins(unit, tuple(map(float, edges)), tuple(map(int, counts)), below, above, is_whole)


def _step(width: float, unit: str, *, is_whole: bool) -> float:
    if unit in ("date", "timestamp"):
        least = _DAY if unit == "date" else 1
        fitting = (step for step in _TIME_STEPS if step >= least and width / step <= _WANTED_BINS)
        return float(next(fitting, math.ceil(width / _WANTED_BINS / _DAY) * _DAY))
    if is_whole and width < _MOST_BINS:
        return 1.0
    if width < _NARROWEST:
        return 1.0
    power = 10.0 ** math.floor(math.log10(width / _WANTED_BINS))
    step = next(times * power for times in (1, 2, 5, 10) if width / (times * power) <= _WANTED_BINS)
    return max(1.0, step) if is_whole else step
