"""What somebody wants of a schedule, and what is wrong with it."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from events.errors import FieldError, InvalidInput
from events.schedules import CatchUp, Overlap, ScheduleTerms
from processor.language.inputs import check_inputs
from processor.language.problems import shortened
from processor.schedules.cron import Cron, Unreadable, zone, zone_hint
from processor.schedules.timing import Every, Timing
from processor.workflows.library import Edition

_UTC = "UTC"
T = TypeVar("T", bound=ScheduleTerms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    workflow: str
    version: int | None
    input: dict[str, Any]
    priority: int
    cron: str | None
    time_zone: str | None
    every_seconds: int | None
    overlap: Overlap
    catch_up: CatchUp
    catch_up_seconds: int | None
    jitter_seconds: int


FIELDS = tuple(field.name for field in fields(Wanted))
OF_TIMING = ("cron", "time_zone", "every_seconds")


def checked_timing(wanted: Wanted, anchor_at: datetime, *, smallest_seconds: int) -> Timing:
    """InvalidInput, which names the fields, if it would never fire, or too often."""
    problems: list[FieldError] = []

    def wrong(field: str, code: str, detail: str) -> None:
        problems.append(FieldError(f"body.{field}", code, detail))

    timing: Timing | None = None
    if (wanted.cron is None) == (wanted.every_seconds is None):
        wrong("cron", "one_of", "Give either cron or every_seconds.")
    if wanted.every_seconds is not None:
        if wanted.time_zone is not None:
            wrong("time_zone", "unexpected", "An interval has no time zone: only cron has one.")
        if wanted.every_seconds < smallest_seconds:
            wrong("every_seconds", "too_often", f"The shortest interval here is {smallest_seconds} seconds.")
        elif wanted.jitter_seconds >= wanted.every_seconds:
            wrong("jitter_seconds", "too_large", "The jitter must be less than the interval.")
        timing = Every(wanted.every_seconds, anchor_at)
    name = wanted.time_zone or _UTC
    rules = zone(name)
    if rules is None:
        wrong("time_zone", "unknown", f"There is no time zone {shortened(name)}. {zone_hint(name)}")
    if wanted.cron is not None and wanted.every_seconds is None:
        try:
            timing = Cron.parse(wanted.cron, rules or UTC)
        except Unreadable as unreadable:
            wrong("cron", "not_valid", str(unreadable))
        else:
            if timing.next_after(anchor_at) is None:
                wrong("cron", "never", "This is not once in the next 50 years.")
    if problems or timing is None:
        raise InvalidInput("; ".join(problem.detail for problem in problems), errors=problems)
    return timing


def check_input(wanted: Wanted, edition: Edition) -> None:
    _, found = check_inputs(edition.plan.definition, wanted.input, ("input",))
    if found:
        errors = [FieldError(f"body.{problem.place}", problem.code, problem.detail) for problem in found]
        raise InvalidInput("; ".join(error.detail for error in errors[:5]), errors=errors)


def terms_as(kind: type[T], wanted: Wanted, *, anchor_at: datetime, next_at: datetime | None, by: str | None) -> T:
    given = {name: getattr(wanted, name) for name in FIELDS}
    if wanted.cron is not None:
        given["time_zone"] = wanted.time_zone or _UTC
    return kind(**given, anchor_at=anchor_at, next_at=next_at, by=by)


def same(one: ScheduleTerms, other: ScheduleTerms, names: Iterable[str] = FIELDS) -> bool:
    """As JSON: for Python, true is 1."""
    return all(_as_json(getattr(one, name)) == _as_json(getattr(other, name)) for name in names)


def _as_json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")
