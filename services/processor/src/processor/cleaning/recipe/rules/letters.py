"""How words of languages look in capitals."""

import unicodedata
from collections.abc import Iterable, Mapping
from typing import TypeVar

from processor.cleaning.sql import lowered

_ACCENTS = {chr(code) for code in range(0x300, 0x370)}
T = TypeVar("T")


def with_capitals(words: Mapping[str, T]) -> dict[str, T]:
    """What words mean, also as `lower` writes them in capitals: `KASIM` becomes `kasim`, which is no `kasım`, and Greek
    capitals have no accents. What would be two words so, is none."""
    known = {lowered(word): meaning for word, meaning in words.items()}
    found: dict[str, T] = {}
    unclear: set[str] = set()
    for word, meaning in words.items():
        for spelling in _in_capitals(word):
            if found.setdefault(spelling, meaning) != meaning:
                unclear.add(spelling)
    return {word: meaning for word, meaning in found.items() if word not in unclear} | known


def _in_capitals(word: str) -> Iterable[str]:
    capitals = word.upper()
    plain = "".join(sign for sign in unicodedata.normalize("NFD", capitals) if sign not in _ACCENTS)
    return lowered(capitals), lowered(unicodedata.normalize("NFC", plain))
