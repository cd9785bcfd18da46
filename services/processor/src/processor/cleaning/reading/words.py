"""Words that stand for yes and no, and for nothing."""

from collections import Counter
from collections.abc import Iterable

# Nobody means anything else by these.
_NULLS = frozenset(
    {"null", "(null)", "<null>", "[null]", "\\n", "n/a", "#n/a", "<na>", "nan", "#null!", "#ref!", "#value!", "#div/0!"}
)
# These may be values; they are none in a column of numbers or dates.
_PERHAPS_NULLS = frozenset(
    {"na", "none", "nil", "-", "--", "---", "—", "–", ".", "..", "?", "x", "n.a.", "k.a.", "unknown", "missing", "void"}
    | {"yok", "unbekannt", "inconnu", "#", "*", "/"}
)

_YES_AND_NO = (
    *(("true", "false"), ("t", "f"), ("yes", "no"), ("y", "n"), ("on", "off"), ("evet", "hayır"), ("e", "h")),
    *(
        ("doğru", "yanlış"),
        ("ja", "nein"),
        ("j", "n"),
        ("wahr", "falsch"),
        ("oui", "non"),
        ("o", "n"),
        ("vrai", "faux"),
    ),
    *(("sí", "no"), ("si", "no"), ("s", "n"), ("verdadero", "falso"), ("sim", "não"), ("verdadeiro", "falso")),
    *(("sì", "no"), ("vero", "falso"), ("ja", "nee"), ("ja", "nej"), ("ja", "nei"), ("tak", "nie"), ("да", "нет")),
    *(("д", "н"), ("истина", "ложь"), ("ναι", "όχι"), ("ano", "ne"), ("igen", "nem")),
)
_WORDS = frozenset(word for pair in _YES_AND_NO for word in pair)
_MOST_SPELLINGS = 50  # of two words, in all their cases, and of some mistakes
_SURE_ALONE = frozenset({"true", "false", "yes", "no", "evet", "hayır", "nein", "oui", "нет"})


def nulls_in(values: Iterable[str], *, is_typed: bool) -> tuple[str, ...]:
    """As they are written, the most frequent first. `is_typed`: the other values are no text."""
    found = Counter(value for value in values if is_null(value) or (is_typed and value.lower() in _PERHAPS_NULLS))
    return tuple(value for value, _ in found.most_common(10))


def is_null(value: str) -> bool:
    return value.lower() in _NULLS


def may_be_null(value: str) -> bool:
    return value.lower() in _PERHAPS_NULLS


def yes_and_no(values: Counter[str]) -> tuple[tuple[str, ...], tuple[str, ...], float] | None:
    """Those that mean yes, those that mean no, and their share, if there are some."""
    known = {value: spelt for value in values if (spelt := _spelt(value)) is not None}
    if not known or len(values) > _MOST_SPELLINGS:
        return None
    whole = sum(values.values())
    best: tuple[tuple[str, ...], tuple[str, ...], float] | None = None
    for yes, no in _YES_AND_NO:
        trues = tuple(value for value, spelt in known.items() if spelt == yes)
        falses = tuple(value for value, spelt in known.items() if spelt == no)
        fitting = sum(values[value] for value in (*trues, *falses)) / whole
        is_sure = bool(trues and falses) or any(known[value] in _SURE_ALONE for value in (*trues, *falses))
        if is_sure and (best is None or fitting > best[2]):
            best = trues, falses, fitting
    return best


def _spelt(value: str) -> str | None:
    """As the table has it. In Turkish, a capital I is no i."""
    return next((word for word in (value.lower(), value.replace("I", "ı").lower()) if word in _WORDS), None)
