"""Whether a table's first row names its columns."""

import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from processor.cleaning.reading.looks import is_typed

_NAME = re.compile(r"[^\W\d]\w*(?:[ _./-][\w()%#€$]+){0,6}[?:]?")
_WORDS = (
    "id name first_name last_name email mail phone date time year month day city country state address street zip"
    " type status code value amount price total quantity count description comment notes url title category key"
    " lat lon latitude longitude age gender sex user username created updated timestamp"
    " nr vorname nachname datum stadt ort land preis betrag menge nom prenom ville pays prix montant nombre"
    " fecha ciudad precio cantidad ad adı soyad tarih şehir ülke fiyat tutar adet miktar telefon adres"
)
_COMMON = frozenset(_WORDS.split())
_BEFORE = 0.7  # in logits: most tables have one
_MOST_COLUMNS, _MOST_ROWS = 300, 200


def looks_like_header(first: Sequence[str], data: Sequence[Sequence[str]]) -> tuple[float, str]:
    """How likely, and the strongest reason. `data` are the rows below it, as wide as most."""
    logits = _BEFORE
    reasons: list[tuple[float, str]] = []

    def weigh(weight: float, reason: str) -> None:
        nonlocal logits
        logits += weight
        if reason:
            reasons.append((weight, reason))

    names = [field.strip() for field in first]
    filled = [name for name in names if name]
    if not filled:
        return 0.02, "Its fields are empty."
    years = [int(name) for name in filled if re.fullmatch(r"(?:19|20)\d\d", name)]
    are_years = len(years) > 2 and all(after - before == 1 for before, after in pairwise(years))
    typed = sum(is_typed(name) for name in filled) - (len(years) if are_years else 0)
    if typed:
        weigh(-4.5 * min(1.0, 3 * typed / len(filled)), f"{typed} of its fields are values, as numbers and dates are.")
    else:
        weigh(0.8, "")
    if len({name.casefold() for name in filled}) < len(filled):
        weigh(-1.5, "It has the same field twice.")
    if len(filled) < 0.7 * len(names):
        weigh(-1.0, "Many of its fields are empty.")
    common = sum(name.casefold().replace(" ", "_") in _COMMON for name in filled)
    if common:
        weigh(min(3.0, 1.5 * common), f"{common} of its fields are usual names of columns.")
    if all(_NAME.fullmatch(name) and len(name) < 60 for name in filled):
        weigh(0.6, "")
    elif any(len(name) > 100 for name in filled):
        weigh(-1.0, "It has a long text.")
    data = [row for row in data if list(row) != list(first)]  # files that were joined have their headers within
    if data:
        _weigh_columns(names, data, weigh)
    sure = 1 / (1 + math.exp(-max(-6.0, min(6.0, logits))))
    told = max((each for each in reasons if (each[0] > 0) == (sure > 0.5)), key=lambda each: abs(each[0]), default=None)
    fallback = "Its fields look like names." if sure > 0.5 else "Its fields look like those below."
    return sure, told[1] if told else fallback


def _weigh_columns(names: Sequence[str], data: Sequence[Sequence[str]], weigh: Callable[[float, str], None]) -> None:
    unlike = alike = repeated = 0
    step = max(1, len(names) // _MOST_COLUMNS)
    for at in range(0, len(names), step):
        column = [row[at].strip() for row in data[:_MOST_ROWS] if row[at].strip()]
        if not column or not names[at]:
            continue
        typed = sum(map(is_typed, column)) / len(column)
        if typed > 0.8 and not is_typed(names[at]):
            unlike += 1
        elif names[at] in column:
            repeated += 1
        elif typed < 0.2 and len(column) > 3:
            like = _pattern(names[at])
            same = sum(_pattern(each) == like for each in column) / len(column)
            if same > 0.8 and any(sign.isdigit() for sign in names[at]):
                alike += 1
            elif same == 0 and len({_pattern(each) for each in column}) <= 2:
                unlike += 1
    if unlike:
        weigh(min(5.0, 2.5 * unlike), f"In {unlike} columns, the values below it are of another kind.")
    if repeated:
        weigh(-min(4.0, 2.0 * repeated), f"In {repeated} columns, its field is a value of rows below, too.")
    if alike:
        weigh(-min(3.0, 1.5 * alike), f"In {alike} columns, its field is written as the values below it are.")


def _pattern(text: str) -> str:
    """`AB-12` and `CD-34` have the same: letters, a sign, digits."""
    return re.sub(r"\d+", "9", re.sub(r"[^\W\d_]+", "a", text))
