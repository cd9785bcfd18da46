"""A recipe and a table's columns become SQL: for the rules that look at one row by itself a pass over each chunk, and
for each rule that needs all rows a stage after that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from processor.cleaning.recipe.document import Recipe
from processor.cleaning.recipe.passes import OutColumn, Pass
from processor.cleaning.recipe.rules.rule import WrongRule
from processor.cleaning.recipe.rules.whole import WholeRule
from processor.cleaning.recipe.sheet import Column, Sheet
from processor.cleaning.recipe.stage import Stage
from processor.language.problems import Problem

# DuckDB plans some 300 in two seconds and 250 MB, beyond any limit of its own; it fails at a thousand.
_MOST_LAYERS = 300


class WrongRecipe(Exception):
    """The recipe does not fit the table."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(" ".join(f"{problem.place}: {problem.detail}" for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Plan:
    recipe: Recipe
    first: Pass  # over each chunk by itself
    stages: tuple[Stage | Pass, ...]  # over all rows then, in this order

    @property
    def columns(self) -> Sequence[OutColumn]:
        """What comes out at the end."""
        return [one for one in (self.first, *self.stages) if isinstance(one, Pass)][-1].columns


def compile_recipe(recipe: Recipe, columns: Sequence[str], tables: Mapping[str, Sequence[str]] | None = None) -> Plan:
    """`columns` are the names of the table's columns. In `raw` they are `c0`, `c1`, …, since names that differ in case
    only are one for DuckDB; `tables` are the columns of other uploads, which are there as the relations `table_0`, … in
    this order. Raises `WrongRecipe` with all that does not fit."""
    rules = [str(rule.__struct_config__.tag) for rule in recipe.rules]
    others = {name: (f"table_{at}", list(names)) for at, (name, names) in enumerate((tables or {}).items())}
    problems: list[Problem] = []
    done: list[Stage | Pass] = []
    sheet = Sheet({name: Column(f"c{at}") for at, name in enumerate(columns)})
    for at, rule in enumerate(recipe.rules):
        try:
            if isinstance(rule, WholeRule) and rule.needs_all_rows:
                if sheet.is_used or not done:
                    before = Pass(sheet, rules)
                    done.append(before)
                    sheet = before.next_sheet(f"v{len(done)}_")
                stage = Stage(f"stage_{len(done)}", dict(sheet.columns), at, rules[at], others)
                rule.plan(stage)
                done.append(stage)
            else:
                sheet.rule = at
                rule.apply(sheet)
                if sheet.depth > _MOST_LAYERS:
                    raise WrongRule((), "too_deep", "Too many rules before this one work on what others have made.")
        except WrongRule as wrong:
            problems.append(Problem.at(("rules", at, *wrong.path), wrong.code, wrong.detail))
            if wrong.code == "too_deep":
                break
    if problems:
        raise WrongRecipe(problems)
    if sheet.is_used or not done:
        done.append(Pass(sheet, rules))
    first, *stages = done
    assert isinstance(first, Pass)
    return Plan(recipe, first, tuple(stages))
