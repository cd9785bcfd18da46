"""How much numeric columns go together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.report.document import Correlations

MOST_COLUMNS = 20
_FEWEST_ROWS = 3
_SAME = 1e-12  # of its size: a column that varies less does not vary


def correlate(names: Sequence[str], columns: Sequence[NDArray[np.float64]], is_all: bool) -> Correlations | None:
    """Of columns with NaN where there is no value. None if fewer than two of them vary."""
    varying = [(name, values) for name, values in zip(names, columns, strict=True) if _varies(values)][:MOST_COLUMNS]
    if len(varying) < 2:
        return None
    values = tuple(tuple(_pearson(one, other) for _, other in varying) for _, one in varying)
    return Correlations(tuple(name for name, _ in varying), values, len(columns[0]), is_all)


def _varies(values: NDArray[np.float64]) -> bool:
    there = values[np.isfinite(values)]
    return len(there) >= _FEWEST_ROWS and float(np.ptp(there)) > _SAME * float(np.abs(there).max())


def _pearson(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    both = np.isfinite(one) & np.isfinite(other)
    left, right = one[both], other[both]
    if not (_varies(left) and _varies(right)):
        return None
    left, right = left / np.abs(left).max(), right / np.abs(right).max()  # squares of large numbers are no numbers
    left, right = left - left.mean(), right - right.mean()
    # Not by dot products, for which BLAS would start threads of its own.
    share = float((left * right).sum() / np.sqrt((left * left).sum() * (right * right).sum()))
    return round(max(-1.0, min(1.0, share)), 4)
