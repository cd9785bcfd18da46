"""What is wrong with a document, and where in it."""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_PLAIN = re.compile(r"[A-Za-z0-9_$-]+")
_MOST_NAMES = 1_000  # to choose from
_MOST_COMPARED = 20  # a hint is not worth more time, and there may be as many as problems
_MOST_TOLD = 12
_LONGEST_NAME = 80  # characters of a name that somebody else chose, in what we say of it


@dataclass(frozen=True, slots=True)
class Problem:
    """`place` is written as in an expression: `steps.fetch.with["a key"][0]`. The document itself is ""."""

    place: str
    code: str
    detail: str

    @classmethod
    def at(cls, path: Path, code: str, detail: str) -> "Problem":
        return cls(place(path), code, detail)


def place(path: Path) -> str:
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        elif _PLAIN.fullmatch(part):
            written += f".{part}" if written else part
        else:
            written += f"[{json.dumps(shortened(part), ensure_ascii=False)}]"
    return written


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The rest of a sentence that has said what is unknown: the nearest name, or those that there are."""
    names = sorted(islice(known, _MOST_NAMES))
    same_begin = [other for other in names if other[:1] == name[:1]] if len(names) > _MOST_COMPARED else names
    nearest = difflib.get_close_matches(name[:_LONGEST_NAME], same_begin[:_MOST_COMPARED], 1, 0.6)
    if nearest:
        return f" Did you mean {shortened(nearest[0])}?"
    if not names:
        return " There are none."
    there_are = ", ".join(shortened(other) for other in names[:_MOST_TOLD])
    return f" There are: {there_are}{' …' if len(names) > _MOST_TOLD else ''}."


def shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
