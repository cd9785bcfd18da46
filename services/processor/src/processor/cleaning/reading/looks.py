"""How much a field looks like one: like a number, a date, a word, and not like several fields in one."""

import re
from functools import lru_cache

_MONEY = "$€£¥₺"
_NUMBER = (
    rf"[+-]?[{_MONEY}]?\s?(?:\d+|\d{{1,3}}(?:[,. '’\xa0\u202f]\d{{2,3}})+)(?:[.,]\d+)?(?:[eE][+-]?\d+)?"
    rf"\s?(?:[%{_MONEY}]|[A-Z]{{3}})?"
)
_TIME = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s?[AaPp]\.?[Mm]\.?)?(?:Z|\s?UTC|\s?[+-]\d\d:?\d\d)?"
_DAY = (
    r"(?:\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{8}"
    r"|\d{1,2}[- .]+[^\W\d]{3,9}\.?,?[- ]\d{2,4}|[^\W\d]{3,9}\.? \d{1,2},? \d{4})"
)
_TYPED = re.compile(
    rf"\s*(?:{_NUMBER}|[+-]?[.,]\d+|{_TIME}|{_DAY}(?:[ T]{_TIME})?"
    r"|\\N|[#<(]?(?:null|n/?a|nan|none)[>)]?|-+|\?|true|false|yes|no"
    r"|[\w.+%-]+@[\w.-]+\.\w+|(?:https?|ftp)://[^\s,;|\"]+|\+?[\d()][\d ()/.-]{5,18}\d"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{1,3}(?:\.\d{1,3}){3})\s*",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_][\w.\-/+#&'’]*")
_TEXT = re.compile(r"[\w(#'’][\w .\-/+#&'’()!?%°@$*=]*")
_USUAL_DELIMITERS = frozenset(",;\t|")

_FEWEST_WORDS = 2
_EMPTY = 0.6  # else a delimiter of two signs would be two delimiters, with nothing between


@lru_cache(maxsize=1 << 14)
def look(field: str) -> float:
    """0 to 1: typed values are the surest fields, and what holds delimiters or stray quotes is hardly one."""
    if not field or field.isspace():
        return _EMPTY
    if len(field) < 200 and _TYPED.fullmatch(field):
        return 1.0
    stripped = field.strip(" ")
    trimmed = 0.9 if len(stripped) < len(field) else 1.0
    if stripped[0] in "\"'" or stripped[-1] == '"':
        return 0.1
    if not _USUAL_DELIMITERS.isdisjoint(field):
        return 0.25
    words = stripped.split(" ")
    if len(words) > _FEWEST_WORDS and sum(map(is_typed, words)) >= len(words) / 2:
        return 0.3
    if _WORD.fullmatch(stripped):
        return 0.85 * trimmed
    return (0.75 if len(field) < 500 and _TEXT.fullmatch(stripped) else 0.5) * trimmed


@lru_cache(maxsize=1 << 14)
def is_typed(field: str) -> bool:
    """Says something that a column's name would not: a number, a day, an address."""
    return bool(field.strip()) and len(field) < 200 and _TYPED.fullmatch(field) is not None
