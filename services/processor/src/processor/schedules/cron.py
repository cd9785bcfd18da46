"""Cron expressions, read on the clock of a time zone.

What happens when that clock is changed follows from one rule. An hour that is named is a time of the day: it comes once
on every day, and if the clock leaps over it, right after the leap. All hours (`*`) are every hour that passes: whenever
the clock shows the minute, so there is no pause when it goes back and none is made up for when it goes forward.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

LONGEST = 200  # characters of an expression

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_RANGES = {  # of the fields, by cronsim's names
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, or L",
    "month": "1 to 12, or JAN to DEC",
    "day-of-week": "0 to 7, or SUN to SAT",
}
_ALL_HOURS = set(range(24))
_MINUTE = timedelta(minutes=1)


class Unreadable(ValueError):
    """No cron expression. Its text is a sentence."""


@dataclass(frozen=True, slots=True)
class Cron:
    fields: str  # five of them
    every_hour: bool
    zone: tzinfo

    @classmethod
    def parse(cls, expression: str, zone: tzinfo) -> "Cron":
        fields = _NICKNAMES.get(expression.strip().lower(), expression).split()
        if len(fields) != 5:
            nicknames = ", ".join(_NICKNAMES)
            raise Unreadable(
                f"It has five fields: minute, hour, day, month, day of the week. Or it is one of {nicknames}."
            )
        try:
            every_hour = CronSim(" ".join(fields), datetime(2000, 1, 1)).hours == _ALL_HOURS  # noqa: DTZ001 - only read
        except CronSimError as wrong:
            field = str(wrong).removeprefix("Bad ")
            allowed = f": it may be {_RANGES[field]}" if field in _RANGES else ""
            raise Unreadable(f"The field is wrong that names the {field}{allowed}.") from None
        if every_hour:
            fields[1] = "*"
        return cls(" ".join(fields), every_hour, zone)

    def next_after(self, moment: datetime) -> datetime | None:
        """None if there is none within 50 years."""
        return next((at for at in self._candidates(moment) if at > moment), None)

    def _candidates(self, moment: datetime) -> Iterator[datetime]:
        local = moment.astimezone(self.zone)
        if self.every_hour:
            return (at.astimezone(UTC) for at in CronSim(self.fields, local))
        return (self._first_shown(shown) for shown in CronSim(self.fields, local.replace(tzinfo=None)))

    def _first_shown(self, time: datetime) -> datetime:
        """When the clock first shows it, or has gone past it."""
        while True:
            moment = time.replace(tzinfo=self.zone).astimezone(UTC)
            if moment.astimezone(self.zone).replace(tzinfo=None) == time:
                return moment
            time += _MINUTE


@cache
def zone_names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text().split())


@cache
def zone(name: str) -> ZoneInfo | None:
    """By the rules that are installed with us, so that all replicas have the same ones, whatever their systems know."""
    if name not in zone_names():
        return None
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=name)


def zone_hint(name: str) -> str:
    nearest = difflib.get_close_matches(name, zone_names(), 1)
    return f"Did you mean {nearest[0]}?" if nearest else "They are named like Europe/Berlin."
