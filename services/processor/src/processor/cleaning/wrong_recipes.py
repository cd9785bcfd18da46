"""What is said of a recipe that cannot be."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from processor.cleaning.recipe.document import Recipe
from processor.cleaning.recipe.validation import validate
from processor.language.problems import Problem
from processor.step import StepError

_MOST_TOLD = 5


def recipe_from(document: Any) -> Recipe:
    """Raises `StepError` that names the fields that are wrong."""
    verdict = validate(document)
    if verdict.recipe is None:
        raise wrong_recipe(verdict.problems)
    return verdict.recipe


def wrong_recipe(problems: Sequence[Problem]) -> StepError:
    shown = [replace(problem, place=f"recipe.{problem.place}".rstrip(".")) for problem in problems[:_MOST_TOLD]]
    told = [f"{problem.place}: {problem.detail}" for problem in shown]
    more = len(problems) - len(told)
    return StepError("wrong_recipe", " ".join([*told, f"There are {more} more."] if more else told), shown)
