"""A recipe and a table's columns become SQL: for the rules that look at one row by itself a pass over each chunk, and
for each rule that needs all rows a stage after that."""

from collections.abc import Sequence
from dataclasses import dataclass

from processor.cleaning.recipe.document import Recipe
from processor.cleaning.recipe.passes import Pass
from processor.cleaning.recipe.rules.rule import WrongRule
from processor.cleaning.recipe.sheet import Column, Sheet
from processor.language.problems import Problem


class WrongRecipe(Exception):
    """The recipe does not fit the table."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(" ".join(f"{problem.place}: {problem.detail}" for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Plan:
    recipe: Recipe
    first: Pass  # over each chunk by itself


def compile_recipe(recipe: Recipe, columns: Sequence[str]) -> Plan:
    """`columns` are the names of the table's columns. In `raw` they are `c0`, `c1`, …, since names that differ in case
    only are one for DuckDB. Raises `WrongRecipe` with all that does not fit."""
    problems: list[Problem] = []
    sheet = Sheet({name: Column(f"c{at}") for at, name in enumerate(columns)})
    for at, rule in enumerate(recipe.rules):
        sheet.rule = at
        try:
            rule.apply(sheet)
        except WrongRule as wrong:
            problems.append(Problem.at(("rules", at, *wrong.path), wrong.code, wrong.detail))
    if problems:
        raise WrongRecipe(problems)
    return Plan(recipe, Pass(sheet, [str(rule.__struct_config__.tag) for rule in recipe.rules]))
