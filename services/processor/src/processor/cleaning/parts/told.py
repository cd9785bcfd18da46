"""What was told of a chunk's rows."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Told:
    """What is in the tables of `apply`."""

    rows: NDArray[np.intp]  # which of the feed's its rows are
    rows_out: int  # of all
    rejected: Counter[str]
    changed: Counter[tuple[int, str]]
