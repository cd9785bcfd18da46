"""What a column holds, and how it is written: found by us, or given by the job's options."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Name = Literal["integer", "decimal", "boolean", "date", "timestamp", "text"]
Decimal = Literal[".", ","]
Thousands = Literal[",", ".", " ", "\xa0", "\u202f", "'", "’", "_"]


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    kind: Name
    decimal: Decimal = "."
    thousands: Thousands | None = None
    # As strptime has them, the most frequent first; of two that read the same value, the first is meant.
    formats: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...], Meta(max_length=20)] = ()
    language: Annotated[str, Meta(pattern="^[a-z]{2}$")] = "en"  # of the months' names
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ()  # what stands for no value, beside the empty field
