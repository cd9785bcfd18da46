"""One form of dates: which texts have it, and how they are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from processor.cleaning.sql import WHITE_CLASS, literal, literals

# Forms that are no sequence of parts.
FORMS = ("iso", "epoch_s", "epoch_ms", "epoch_us", "excel")

_WORD = r"([\p{L}\p{M}]+)\.?"
_PARTS = {
    "d": "(0?[1-9]|[12][0-9]|3[01])",
    "m": "(0?[1-9]|1[0-2])",
    "Y": "([1-9][0-9]{3})",
    "y": "([0-9]{2})",
    "B": _WORD,
    "A": _WORD,
    "H": "([01]?[0-9]|2[0-3])",
    "I": "(0?[1-9]|1[0-2])",
    "M": "([0-5]?[0-9])",
    "S": "([0-5]?[0-9])",
    "f": "([0-9]{1,6})",
    "p": r"([AaPp])\.?[Mm]\.?",
    "z": "(Z|[-+][0-9]{2}:?[0-9]{2}|[-+][0-9]{2})",
}
_NAMES = {"b": "B", "a": "A"}
_TWO_DIGITS = "([0-9]{2})"
_WHITE = f"[{WHITE_CLASS}]"
_ISO_DAY = "([1-9][0-9]{3})-(0?[1-9]|1[0-2])-(0?[1-9]|[12][0-9]|3[01])"
_ISO_TIME = r"(?:[T ]([01]?[0-9]|2[0-3]):([0-5]?[0-9])(?::([0-5]?[0-9])(?:\.([0-9]{1,6}))?)?)?"
_EPOCHS = {
    "epoch_s": (r"-?[0-9]{1,11}(?:\.[0-9]{1,6})?", "CAST(CAST(trim(t) AS DECIMAL(18, 6)) * 1000000 AS BIGINT)"),
    "epoch_ms": ("-?[0-9]{1,14}", "CAST(trim(t) AS BIGINT) * 1000"),
    "epoch_us": ("-?[0-9]{1,17}", "CAST(trim(t) AS BIGINT)"),
}
# The days of spreadsheets, from when on they are right: they have a 29 February 1900.
_EXCEL = r"(?:6[1-9]|[7-9][0-9]|[1-9][0-9]{2,4}|[12][0-9]{5})(?:\.[0-9]{1,15})?"


class WrongForm(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Form:
    text: str
    parts: tuple[str, ...]  # the letters, in the order of the pattern's groups
    pattern: str

    @property
    def has_day(self) -> bool:
        return self.text in FORMS or (
            "d" in self.parts and ("m" in self.parts or "B" in self.parts) and ("Y" in self.parts or "y" in self.parts)
        )

    @property
    def has_time(self) -> bool:
        return self.text in _EPOCHS or any(part in self.parts for part in "HIMSfpz")

    @property
    def has_zone(self) -> bool:
        return "z" in self.parts

    @property
    def is_usual(self) -> bool:
        """Whether a day that is written so is written as it will be."""
        return self.text in ("iso", "%Y-%m-%d")

    def quick(self, text: str) -> str | None:
        """For a form that DuckDB reads quickly: what a day is by that, if it is one."""
        if self.text == "iso":
            return f"TRY_CAST({text} AS DATE)"
        if not re.fullmatch(r"%[dmY]([./-])%[dmY]\1%[dmY]", self.text):
            return None
        mark = self.text[2]
        # A text that does not fit takes DuckDB ten times as long.
        return (
            f"CASE WHEN {text} LIKE '%{mark}%{mark}%' THEN CAST(TRY_STRPTIME({text}, {literal(self.text)}) AS DATE) END"
        )

    def reading(
        self, names: Mapping[str, int], first_year: int, *, day_only: bool, zones: tuple[str, str] | None
    ) -> str:
        """What `t` is by this form: a timestamp, a date for some where only days are wanted, or NULL."""
        if self.text in _EPOCHS:
            pattern, micros = _EPOCHS[self.text]
            instant = f"make_timestamp({micros})"
            moved = instant if zones is None else f"timezone({literal(zones[1])}, timezone('UTC', {instant}))"
            return f"CASE WHEN {_fits(pattern)} THEN {moved} END"
        if self.text == "excel":
            days = "CAST(trim(t) AS DOUBLE)"
            if day_only:
                sure = f"{_fits(_EXCEL)} AND NOT contains(t, '.')"
                return f"CASE WHEN {sure} THEN DATE '1899-12-30' + CAST({days} AS INTEGER) END"
            seconds = f"CAST(round({days} * 86400) AS BIGINT)"
            moment = f"TIMESTAMP '1899-12-30' + to_seconds({seconds})"
            return f"CASE WHEN {_fits(_EXCEL)} THEN {_placed(moment, zones)} END"
        parts, pattern = self.parts, self.pattern
        if self.text == "iso":
            parts, pattern = ("Y", "m", "d"), _ISO_DAY
            if not day_only:
                zone = f" ?{_PARTS['z']}?" if zones is not None else ""
                parts, pattern = (*parts, "H", "M", "S", "f", *(["z"] if zone else [])), f"{_ISO_DAY}{_ISO_TIME}{zone}"
        whole = literal(f"^{_WHITE}*{pattern}{_WHITE}*$")
        read = {part: f"regexp_extract(t, {whole}, {at + 1})" for at, part in enumerate(parts)}
        moment = f"TRY_CAST({_day(read, names, first_year)} || ' ' || {_time(read)} AS TIMESTAMP)"
        return f"CASE WHEN {_fits(pattern)} THEN {_placed(moment, zones, read.get('z'))} END"


@cache
def parsed(text: str) -> Form:
    if text in FORMS:
        return Form(text, (), "")
    pieces = re.findall(r"%.?|\s+|[^%\s]+", text)
    parts: list[str] = []
    pattern = ""
    for at, piece in enumerate(pieces):
        letter = _NAMES.get(piece[1:], piece[1:]) if piece.startswith("%") else ""
        if piece == "%%":
            pattern += "%"
        elif piece.startswith("%"):
            if letter not in _PARTS:
                raise WrongForm(f"{piece} is no part of a date. There are: {', '.join(f'%{one}' for one in _PARTS)}.")
            if letter in parts or ("y" in parts and letter == "Y") or ("B" in parts and letter == "m"):
                raise WrongForm(f"{piece} says again what is said already.")
            touches = any(_is_number(pieces[other]) for other in (at - 1, at + 1) if 0 <= other < len(pieces))
            pattern += _TWO_DIGITS if touches and letter in "dmHIMS" else _PARTS[letter]
            parts.append(letter)
        else:
            pattern += f"{_WHITE}+" if piece.isspace() else re.escape(piece)
    if not parts:
        raise WrongForm(f"This is no form of dates: it has parts such as %d, or is one of {', '.join(FORMS)}.")
    if ("I" in parts) != ("p" in parts):
        raise WrongForm("%I and %p belong together.")
    if any(part in parts for part in "MSf") and not ("H" in parts or "I" in parts):
        raise WrongForm("A time begins with its hour.")
    return Form(text, tuple(parts), pattern)


def _is_number(piece: str) -> bool:
    return piece.startswith("%") and piece[1:] in "dmYyHIMSf"


def _fits(pattern: str) -> str:
    return f"regexp_full_match(t, {literal(f'{_WHITE}*(?:{pattern}){_WHITE}*')})"


def _day(read: Mapping[str, str], names: Mapping[str, int], first_year: int) -> str:
    year = read.get("Y") or (
        f"CAST({first_year} + (CAST({read['y']} AS INTEGER) + {100 - first_year % 100}) % 100 AS VARCHAR)"
    )
    month = read.get("m")
    if month is None:
        numbers = ", ".join(map(str, names.values()))
        month = f"CAST([{numbers}][list_position([{literals(names)}], lower({read['B']}))] AS VARCHAR)"
    return f"{year} || '-' || {month} || '-' || {read['d']}"


def _time(read: Mapping[str, str]) -> str:
    hour = f"lpad({read['H']}, 2, '0')" if "H" in read else "'00'"
    if "I" in read:
        afternoon = f"CASE WHEN lower({read['p']}) = 'p' THEN 12 ELSE 0 END"
        hour = f"lpad(CAST(CAST({read['I']} AS INTEGER) % 12 + {afternoon} AS VARCHAR), 2, '0')"
    minute, second = (f"lpad({read[part]}, 2, '0')" if part in read else "'00'" for part in "MS")
    fraction = f" || '.' || rpad({read['f']}, 6, '0')" if "f" in read else ""
    return f"{hour} || ':' || {minute} || ':' || {second}{fraction}"


def _placed(moment: str, zones: tuple[str, str] | None, offset: str | None = None) -> str:
    """A time in the zone of the result. One that its zone does not have, since the clocks were put forward, is none."""
    if zones is None:
        return moment
    here, there = map(literal, zones)
    local = f"CASE WHEN timezone({here}, timezone({here}, x)) = x THEN timezone({there}, timezone({here}, x)) END"
    if offset is not None:
        digits = f"replace({offset}, ':', '')"
        minutes = (
            f"CASE WHEN {offset} = 'Z' THEN 0 ELSE CAST({digits}[1:1] || '1' AS INTEGER) * "
            f"(CAST({digits}[2:3] AS INTEGER) * 60 + CAST('0' || {digits}[4:5] AS INTEGER)) END"
        )
        local = (
            f"CASE WHEN {offset} = '' THEN {local} "
            f"ELSE timezone({there}, timezone('UTC', x - to_minutes({minutes}))) END"
        )
    return f"list_transform([{moment}], lambda x: {local})[1]"
