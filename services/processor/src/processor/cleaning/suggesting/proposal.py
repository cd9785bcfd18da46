"""What is proposed: rules, each with its reason, and questions where only a person can tell."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec

from processor.cleaning.recipe.document import VERSION, Recipe
from processor.cleaning.recipe.rules.rule import Rule
from processor.cleaning.recipe.rules.table import AnyRule


@dataclass(frozen=True, slots=True)
class Proposal:
    rule: Rule
    why: str  # a sentence or two, the same for all columns

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(getattr(self.rule, "columns", ()))

    def only(self, columns: Sequence[str]) -> "Proposal":
        return Proposal(msgspec.structs.replace(self.rule, columns=tuple(columns)), self.why)


class Choice(msgspec.Struct, frozen=True):
    says: str
    rule: Rule  # to be put into the recipe


class Question(msgspec.Struct, frozen=True):
    columns: tuple[str, ...]
    asks: str
    choices: tuple[Choice, ...] = ()


@dataclass(slots=True)
class Found:
    """Of one look at a file."""

    proposals: list[Proposal]
    questions: list[Question]

    def take(self, other: "Found") -> None:
        self.proposals += other.proposals
        self.questions += other.questions


def nothing() -> Found:
    return Found([], [])


def grouped(proposals: Iterable[Proposal]) -> list[Proposal]:
    """Those that say the same of different columns become one rule, where the first of them stands."""
    groups: dict[tuple[bytes, str], list[Proposal]] = {}
    for one in proposals:
        bare = one.only(()).rule if isinstance(getattr(one.rule, "columns", None), tuple) else one.rule
        groups.setdefault((msgspec.json.encode(bare), one.why), []).append(one)
    return [
        same[0].only([name for one in same for name in one.columns]) if len(same) > 1 else same[0]
        for same in groups.values()
    ]


def recipe_with(rules: Iterable[Rule]) -> Recipe:
    return Recipe(version=VERSION, rules=cast("tuple[AnyRule, ...]", tuple(rules)))
