"""Patterns of routing keys, as RabbitMQ's topic exchanges have them: `*` is one word, `#` any number of them."""

import operator
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate

from events.errors import InvalidInput

_PATTERN = re.compile(r"(?:[^.*#]+|\*|#)(?:\.(?:[^.*#]+|\*|#))*")
_KEYS = 10_000  # whose answer is kept


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a key is meant."""
    if _PATTERN.fullmatch(pattern) is None or len(pattern) > 255:
        raise InvalidInput(f"{pattern!r:.80} is not a pattern: it must look like *.job.completed or acme.#.")
    wanted = pattern.split(".")

    @lru_cache(_KEYS)
    def is_meant(key: str) -> bool:
        return _match(wanted, key.split("."))

    return is_meant


def _match(wanted: Sequence[str], words: Sequence[str]) -> bool:
    reached = [True] + [False] * len(words)  # [n]: the pattern so far can be the first n words
    for part in wanted:
        if part == "#":
            reached = list(accumulate(reached, operator.or_))
        else:
            matched = [before and part in ("*", word) for before, word in zip(reached[:-1], words, strict=True)]
            reached = [False, *matched]
    return reached[-1]
