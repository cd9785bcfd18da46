"""What may stand in a document or in a job's inputs: JSON that every reader and the database take for the same."""

import math
from collections.abc import Iterator
from typing import Any

from processor.language.problems import Path, Problem

DEEPEST = 64
_LARGEST_INTEGER = (1 << 63) - 1
_LARGEST_NUMBER = 1.7e308


def unsound(value: Any) -> Iterator[Problem]:
    """What is no such value. It looks no deeper than `DEEPEST`, so it ends on whatever it is given."""
    waiting: list[tuple[Path, Any]] = [((), value)]
    while waiting:
        path, one = waiting.pop()
        match one:
            case dict() | list() if len(path) >= DEEPEST:
                yield Problem.at(path[:4], "too_deep", f"A value may be nested {DEEPEST} levels deep.")
            case dict():
                for name, member in one.items():
                    if not isinstance(name, str):
                        yield Problem.at(path, "wrong_type", f"The name {name!r:.80} must be a text.")
                    elif (wrong := text_problem(name)) is not None:
                        yield Problem.at(path, *wrong)
                    else:
                        waiting.append(((*path, name), member))
            case list():
                waiting.extend(((*path, number), item) for number, item in enumerate(one) if not _surely_sound(item))
            case str():
                if (wrong := text_problem(one)) is not None:
                    yield Problem.at(path, *wrong)
            case None | bool():
                pass
            case int() | float():
                if (wrong := number_problem(one)) is not None:
                    yield Problem.at(path, *wrong)
            case _:
                yield Problem.at(path, "wrong_type", f"A {type(one).__name__} is no JSON value.")


def values_in(value: Any, most: int) -> int:
    """How many, or something above `most`."""
    total, waiting = 0, [value]
    while waiting and total <= most:
        one = waiting.pop()
        if isinstance(one, dict | list):
            total += len(one)
            waiting += [
                inner for inner in (one.values() if isinstance(one, dict) else one) if isinstance(inner, dict | list)
            ]
    return total


def _surely_sound(item: Any) -> bool:
    """A shortcut for long lists of small numbers."""
    return type(item) is int and -1_000_000 < item < 1_000_000


def text_problem(text: str) -> tuple[str, str] | None:
    """Its code and its detail."""
    if "\0" in text:
        return "nul", "A text may not have a NUL character in it."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "half_character", "A text may not have half of a surrogate pair in it."
    return None


def number_problem(number: float) -> tuple[str, str] | None:
    if isinstance(number, int):
        if not -_LARGEST_INTEGER <= number <= _LARGEST_INTEGER:
            return "number_too_large", "A whole number may have 63 bits."
    elif not math.isfinite(number) or abs(number) > _LARGEST_NUMBER:
        return "not_finite", "A number must be finite."
    return None
