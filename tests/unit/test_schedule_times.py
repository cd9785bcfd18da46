"""When schedules fire: in every zone, over every change of its clock, once each."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import assume, given
from hypothesis import strategies as st

from processor.schedules.cron import Cron, Unreadable, zone, zone_names
from processor.schedules.timing import Every, Timing, first_wanted, newest_before

MINUTE = timedelta(minutes=1)
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",  # leaps at midnight
    "America/Havana",  # goes back to midnight
    "Africa/Cairo",
    "Asia/Beirut",  # goes back at midnight
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Europe/Dublin",
    "Africa/Casablanca",
]


def named(name: str) -> ZoneInfo:
    found = zone(name)
    assert found is not None
    return found


def cron(expression: str, name: str = "UTC") -> Cron:
    return Cron.parse(expression, named(name))


def at(text: str, name: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=named(name)).astimezone(UTC)


def firings(timing: Timing, after: datetime, until: datetime) -> Iterator[datetime]:
    moment = timing.next_after(after)
    while moment is not None and moment <= until:
        yield moment
        moment = timing.next_after(moment)


def shown(moments: list[datetime], name: str) -> list[str]:
    return [moment.astimezone(named(name)).strftime("%d %H:%M %Z") for moment in moments]


@pytest.mark.parametrize(
    ("expression", "first", "second"),
    [
        ("*/15 9-17 * * MON-THU", "2027-01-04T09:00", "2027-01-04T09:15"),
        ("0 12 1 JAN,jul *", "2027-01-01T12:00", "2027-07-01T12:00"),
        ("30 4 L * *", "2027-01-31T04:30", "2027-02-28T04:30"),
        ("30 4 LW * *", "2027-01-29T04:30", "2027-02-26T04:30"),
        ("0 8 * * 5L", "2027-01-29T08:00", "2027-02-26T08:00"),
        ("0 8 * * MON#1", "2027-01-04T08:00", "2027-02-01T08:00"),
        ("0 0 29 2 *", "2028-02-29T00:00", "2032-02-29T00:00"),
        ("0 0 13 * 5", "2027-01-01T00:00", "2027-01-08T00:00"),  # as in every cron: the 13th, or a Friday
        ("5/20 0 * * *", "2027-01-01T00:05", "2027-01-01T00:25"),
        ("@hourly", "2027-01-01T00:00", "2027-01-01T01:00"),
        (" @Daily ", "2027-01-01T00:00", "2027-01-02T00:00"),
        ("@weekly", "2027-01-03T00:00", "2027-01-10T00:00"),
        ("@monthly", "2027-01-01T00:00", "2027-02-01T00:00"),
        ("@yearly", "2027-01-01T00:00", "2028-01-01T00:00"),
    ],
)
def test_an_expression_fires_when_it_says(expression: str, first: str, second: str) -> None:
    timing = cron(expression)
    found = timing.next_after(at("2026-12-31T23:59:59.999999"))
    assert found == at(first)
    assert timing.next_after(found) == at(second)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "* * * * MON#6",
        "*/0 * * * *",
        "5-1 * * * *",
        "a * * * *",
        "@reboot",
        "@often",
        "0 0 30 2 *",
        "1,,2 * * * *",
        "１ * * * *",
        "9" * 150 + " * * * *",
        "\0 * * * *",
    ],
)
def test_what_is_no_expression_is_said_to_be_none(expression: str) -> None:
    with pytest.raises(Unreadable, match=r"\.$"):
        cron(expression)


def test_a_wrong_field_is_named() -> None:
    with pytest.raises(Unreadable, match="the day-of-week: it may be 0 to 7, or SUN to SAT"):
        cron("* * * * 9")
    with pytest.raises(Unreadable, match=r"names the minute: it may be 0 to 59\."):
        cron("61 * * * *")


def test_an_expression_that_never_fires_has_no_next_time() -> None:
    assert cron("* * */20 * 1L").next_after(at("2027-01-01T00:00")) is None


def test_only_zones_of_our_own_rules_are_known() -> None:
    assert len(zone_names()) > 500
    assert [zone(name) for name in ("Mars/Olympus", "../zones", "/etc/passwd", "Europe", "", "\0", "localtime")] == [
        None
    ] * 7


def test_every_zone_has_its_rules() -> None:
    for name in zone_names():
        assert cron("0 12 * * *", name).next_after(at("2027-06-01T00:00")) is not None


# In Berlin the clock goes from 02:00 to 03:00 on 28 March 2027, and from 03:00 back to 02:00 on 31 October.
@pytest.mark.parametrize(
    ("expression", "name", "begin", "days", "expected"),
    [
        ("30 2 * * *", "Europe/Berlin", "2027-03-27", 3, ["27 02:30 CET", "28 03:00 CEST", "29 02:30 CEST"]),
        ("*/30 2 * * *", "Europe/Berlin", "2027-03-28", 1, ["28 03:00 CEST"]),
        ("0,30 2,3 * * *", "Europe/Berlin", "2027-03-28", 1, ["28 03:00 CEST", "28 03:30 CEST"]),
        ("30 2 * * *", "Europe/Berlin", "2027-10-30", 3, ["30 02:30 CEST", "31 02:30 CEST", "01 02:30 CET"]),
        ("*/30 2 * * *", "Europe/Berlin", "2027-10-31", 1, ["31 02:00 CEST", "31 02:30 CEST"]),
        ("0 */2 * * *", "Europe/Berlin", "2027-03-28", 0.2, ["28 00:00 CET", "28 03:00 CEST", "28 04:00 CEST"]),
        ("30 * * * *", "Europe/Berlin", "2027-03-28", 0.125, ["28 00:30 CET", "28 01:30 CET", "28 03:30 CEST"]),
        ("30 0-23 * * *", "Europe/Berlin", "2027-03-28", 0.125, ["28 00:30 CET", "28 01:30 CET", "28 03:30 CEST"]),
        ("30 * * * *", "Europe/Berlin", "2027-10-31", 0.17,
            ["31 00:30 CEST", "31 01:30 CEST", "31 02:30 CEST", "31 02:30 CET"]),
        ("30 2 * * *", "America/New_York", "2027-03-14", 1, ["14 03:00 EDT"]),
        ("30 1 * * *", "America/New_York", "2027-11-07", 1, ["07 01:30 EDT"]),
        ("30 0 * * *", "America/Havana", "2026-11-01", 1, ["01 00:30 CDT"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", 1, ["04 02:30 +11"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2027-04-04", 1, ["04 01:45 +11"]),
        ("0 0 * * *", "America/Santiago", "2026-09-05", 2.5, ["05 00:00 -04", "06 01:00 -03", "07 00:00 -03"]),
        ("0 12 29-31 12 *", "Pacific/Apia", "2011-12-29", 2, ["29 12:00 -10", "31 00:00 +14", "31 12:00 +14"]),
    ],
)  # fmt: skip
def test_a_time_that_there_is_not_fires_once_right_after_and_one_that_comes_twice_fires_once(
    expression: str, name: str, begin: str, days: float, expected: list[str]
) -> None:
    start = at(f"{begin}T00:00", name)
    found = firings(cron(expression, name), start - timedelta(microseconds=1), start + timedelta(days=days))
    assert shown(list(found), name) == expected


@pytest.mark.parametrize("fold", [0, 1])
def test_from_within_the_hour_that_comes_twice_the_next_time_is_never_in_the_past(fold: int) -> None:
    berlin = named("Europe/Berlin")
    moment = datetime(2027, 10, 31, 2, 10, tzinfo=berlin, fold=fold).astimezone(UTC)
    found = cron("30 2 * * *", "Europe/Berlin").next_after(moment)
    assert found == at("2027-11-01T02:30" if fold else "2027-10-31T02:30", "Europe/Berlin")


FIELD = {
    "minute": st.sampled_from(["*", "0", "30", "*/15", "5,35", "10-12", "59"]),
    "hour": st.sampled_from(["*", "0", "1", "2", "*/2", "1-3", "23", "0,12", "0-23"]),
    "day": st.sampled_from(["*", "1", "*/2", "L", "5-8"]),
    "month": st.sampled_from(["*", "3", "APR", "9-11"]),
    "weekday": st.sampled_from(["*", "0", "SUN", "MON-FRI", "6#1"]),
}
EXPRESSIONS = st.builds(" ".join, st.tuples(*FIELD.values()))
# Changes of a clock are what may go wrong, and there is one within a few days of the first of these months.
MOMENTS = st.builds(
    lambda month, minutes: datetime(2027, month, 1, tzinfo=UTC) + timedelta(minutes=minutes),
    st.sampled_from([3, 4, 9, 10, 11]),
    st.integers(-6 * 1440, 30 * 1440),
)


@given(EXPRESSIONS, st.sampled_from(ZONES), MOMENTS)
def test_firings_strictly_rise_and_are_whole_minutes(expression: str, name: str, moment: datetime) -> None:
    timing = cron(expression, name)
    last = moment
    for _ in range(20):
        following = timing.next_after(last)
        assert following is not None
        assert following > last
        assert (following.second, following.microsecond, following.tzinfo) == (0, 0, UTC)
        last = following


@given(EXPRESSIONS, st.sampled_from(ZONES), MOMENTS)
def test_firings_are_what_looking_at_the_clock_every_minute_finds(expression: str, name: str, moment: datetime) -> None:
    """Once for every time that it shows or has leapt over. If all hours are meant, whenever it shows it."""
    until = moment + timedelta(days=1, hours=1)
    assert list(firings(cron(expression, name), moment, until)) == list(_watched(expression, name, moment, until))


@given(EXPRESSIONS, st.sampled_from(ZONES), MOMENTS, st.integers(1, 100_000))
def test_it_does_not_matter_from_where_one_asks(expression: str, name: str, moment: datetime, seconds: int) -> None:
    timing = cron(expression, name)
    found = timing.next_after(moment)
    assert found is not None
    between = moment + timedelta(seconds=seconds)
    assume(between < found)
    assert timing.next_after(between) == found


@given(st.integers(1, 10**7), MOMENTS, MOMENTS)
def test_intervals_do_not_drift(seconds: int, anchor: datetime, moment: datetime) -> None:
    found = Every(seconds, anchor).next_after(moment)
    assert found is not None
    assert moment < found <= moment + timedelta(seconds=seconds)
    assert (found - anchor) % timedelta(seconds=seconds) == timedelta(0)


TIMINGS: st.SearchStrategy[Timing] = st.one_of(
    st.builds(cron, EXPRESSIONS, st.sampled_from(ZONES)),
    st.builds(Every, st.integers(30, 100_000), MOMENTS),
)


@given(TIMINGS, MOMENTS, st.integers(0, 4 * 1440), st.integers(1, 5), st.none() | st.integers(0, 5 * 1440))
def test_what_is_made_up_for_is_the_newest_of_what_was_missed(
    timing: Timing, before: datetime, minutes: int, most: int, age: int | None
) -> None:
    next_at = timing.next_after(before)
    assert next_at is not None
    now = next_at + minutes * MINUTE
    oldest = None if age is None else now - age * MINUTE
    missed = [next_at, *firings(timing, next_at, now)]
    wanted = [moment for moment in missed if oldest is None or moment >= oldest][-most:]
    assert first_wanted(timing, next_at, now, most=most, oldest=oldest) == next(iter(wanted), None)
    newest = max((moment for moment in missed if moment < now), default=None)
    assert newest_before(timing, now, next_at) == newest


def test_years_of_missed_minutes_are_not_counted_one_by_one() -> None:
    class Counting(Every):
        asked = 0

        def next_after(self, moment: datetime) -> datetime | None:
            Counting.asked += 1
            return super().next_after(moment)

    anchor = at("2020-01-01T00:00")
    now = at("2027-01-01T00:00")
    assert first_wanted(Counting(1, anchor), anchor, now, most=1) == now
    assert Counting.asked < 200


def _watched(expression: str, name: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """The slow way: minute for minute."""
    matches = _matcher(expression)
    every_hour = expression.split()[1] in ("*", "0-23")
    place = named(name)
    moment = after - timedelta(hours=3)  # what the clock has shown before, it must not fire for again
    latest = moment.astimezone(place).replace(tzinfo=None)  # that it has shown
    while moment <= until:
        local = moment.astimezone(place).replace(tzinfo=None)
        if every_hour:
            fires = matches(local)
        else:
            passed = []
            while latest < local:
                latest += MINUTE
                passed.append(latest)
            fires = any(matches(time) for time in passed)
        if fires and moment > after:
            yield moment
        moment += MINUTE


def _matcher(expression: str) -> Callable[[datetime], bool]:
    read = CronSim(expression, datetime(2027, 1, 1))  # noqa: DTZ001 - only read

    def matches(time: datetime) -> bool:
        return (
            time.minute in read.minutes
            and time.hour in read.hours
            and time.month in read.months
            and read.match_day(time)
        )

    return matches
