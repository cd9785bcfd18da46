"""Columns with a few values that come again and again, of which some are written in several ways."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from processor.cleaning.recipe.rules.rule import Rule
from processor.cleaning.recipe.rules.text import Case, Map
from processor.cleaning.suggesting.proposal import Choice, Found, Proposal, Question, nothing

MOST_VALUES = 1_000  # different ones of a column of categories
_FEWEST_EACH = 5  # rows that a value has on average
_LONGEST = 100  # characters
_USUAL, _RARE = 50, 2  # rows, at least and at most, of a value and of a slip of the pen
_FEWEST_LETTERS = 6
_MOST_USUAL = 200  # values
_NEARLY_UPPER = 0.9
_MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Category:
    text: str
    rows: int


def are_categories(values: Sequence[Category]) -> bool:
    rows = sum(one.rows for one in values)
    few = 1 < len(values) <= MOST_VALUES and rows >= _FEWEST_EACH * len(values)
    return few and all(len(one.text) <= _LONGEST for one in values)


def propose_spellings(name: str, values: Sequence[Category]) -> Found:
    """`values` are all of the column, as they are after what else cleans texts."""
    if not are_categories(values):
        return nothing()
    spelt, unclear = _same_words(values)
    found = nothing()
    upper = [one for one in values if one.text.upper() == one.text and one.text.lower() != one.text]
    if spelt and all(into.upper() == text.upper() == into for text, into in spelt.items()) and _mostly(upper, values):
        why = f"Nearly all values are in capital letters, and others are the same but for that: {_told(spelt)}."
        found.proposals.append(Proposal(Case(columns=(name,), to="upper"), why))
    elif spelt:
        why = f"Values that differ only in case, accents or marks are written as most are: {_told(spelt)}."
        found.proposals.append(Proposal(_map(name, spelt), why))
    left = [one for one in values if one.text not in spelt]
    sure, unsure = _slips(left)
    if sure:
        why = f"Rare values are a slip of the pen away from one that is frequent: {_told(sure)}."
        found.proposals.append(Proposal(_map(name, sure), why))
    unclear = {**unclear, **unsure}
    if unclear:
        asks = f"Are these values of {name} the same? {_told(unclear)}."
        choice = Choice("They are, and are written as the more frequent one.", _map(name, unclear))
        found.questions.append(Question((name,), asks, (choice,)))
    return found


def _mostly(upper: Sequence[Category], values: Sequence[Category]) -> bool:
    """And the case rule would change nothing else."""
    rows = sum(one.rows for one in values)
    there = {one.text for one in values}
    return sum(one.rows for one in upper) >= _NEARLY_UPPER * rows and all(one.text.upper() in there for one in values)


def _same_words(values: Sequence[Category]) -> tuple[dict[str, str], dict[str, str]]:
    """What each is to become: those that are surely the same, and those of which no spelling is the usual one."""
    groups: defaultdict[str, list[Category]] = defaultdict(list)
    for one in values:
        if key := _bare(one.text):
            groups[key].append(one)
    sure: dict[str, str] = {}
    unclear: dict[str, str] = {}
    for group in groups.values():
        best, *others = sorted(group, key=lambda one: (-one.rows, one.text))
        for other in others:
            # As frequent as the usual one, it may mean something of its own.
            (sure if 2 * other.rows <= best.rows else unclear)[other.text] = best.text
    return sure, unclear


def _bare(text: str) -> str:
    """Its letters and digits, without case and accents. A minus, a plus and what is no letter are something."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    marked = "".join(sign for sign in parts if unicodedata.category(sign) != "Mn")
    return re.sub(r"(?<=[^\W\d])[\s\-_.,/'’]+(?=[^\W\d]|$)", " ", marked).strip()


def _slips(values: Sequence[Category]) -> tuple[dict[str, str], dict[str, str]]:
    """Of the rare values, those that are one stroke away from exactly one usual one."""
    usual = sorted((one for one in values if one.rows >= _USUAL), key=lambda one: -one.rows)[:_MOST_USUAL]
    sure: dict[str, str] = {}
    unsure: dict[str, str] = {}
    for one in values:
        if one.rows > _RARE or len(one.text) < _FEWEST_LETTERS or any(sign.isdigit() for sign in one.text):
            continue
        near = {other.text: is_slip for other in usual if (is_slip := _slip(one.text, other.text)) is not None}
        if len(near) == 1:
            ((meant, is_sure),) = near.items()
            (sure if is_sure else unsure)[one.text] = meant
    return sure, unsure


def _slip(text: str, meant: str) -> bool | None:
    """None: it is more than one. True: two letters are swapped, or one is doubled or left out within the word; another
    letter may make another word, as the last one makes another name."""
    if abs(len(text) - len(meant)) > 1 or text == meant:
        return None
    first = next((at for at, (a, b) in enumerate(zip(text, meant, strict=False)) if a != b), min(len(text), len(meant)))
    rest, other = text[first:], meant[first:]
    if len(text) == len(meant):
        if rest[1:] == other[1:]:
            return False
        swapped = rest[1:2] + rest[:1] + rest[2:] == other
        return True if swapped and first > 0 else (False if swapped else None)
    shorter, longer = sorted((rest, other), key=len)
    if longer[1:] != shorter:
        return None
    is_within = 0 < first < min(len(text), len(meant)) - 1
    is_double = longer[:1] == (text if len(text) > len(meant) else meant)[first - 1 : first]
    return is_within and (is_double or len(text) < len(meant))


def _map(name: str, values: Mapping[str, str]) -> Rule:
    return Map(columns=(name,), values=dict(values))


def _told(values: Mapping[str, str]) -> str:
    shown = ", ".join(f"{text!r} as {into!r}" for text, into in list(values.items())[:_MOST_TOLD])
    return shown + (f" and {len(values) - _MOST_TOLD:,} more" if len(values) > _MOST_TOLD else "")
