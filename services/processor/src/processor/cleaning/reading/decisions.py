"""What is decided of a file: always with how sure that is, why, and what else it could be."""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

_MOST_ALTERNATIVES = 5


class Alternative(msgspec.Struct, Generic[T], frozen=True):
    value: T
    confidence: float


class Decision(msgspec.Struct, Generic[T], frozen=True):
    value: T
    confidence: float  # 0 to 1
    reason: str  # a sentence
    alternatives: tuple[Alternative[T], ...] = ()  # the likelier first
    overridden: bool = False  # the job's options said so


def decided(value: T, confidence: float, reason: str, others: Iterable[tuple[T, float]] = ()) -> Decision[T]:
    likelier = sorted(others, key=lambda other: -other[1])[:_MOST_ALTERNATIVES]
    alternatives = tuple(Alternative(other, share(likely)) for other, likely in likelier if share(likely) > 0)
    return Decision(value, share(confidence), reason, alternatives)


def overridden(value: T, found: Decision[T] | None = None) -> Decision[T]:
    """`found` is what would have been decided, if anybody looked."""
    if found is None or found.value == value:
        return Decision(value, 1.0, "The job's options say so.", overridden=True)
    reason = f"The job's options say so. By itself it would have been {_told(found.value)}: {found.reason}"
    return Decision(value, 1.0, reason, (Alternative(found.value, found.confidence),), overridden=True)


def share(confidence: float) -> float:
    return round(min(1.0, max(0.0, confidence)), 3)


def _told(value: Any) -> str:
    return f"{msgspec.json.encode(msgspec.to_builtins(value)).decode():.200}"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
