"""What a clean, and each step around it, is asked to do."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from processor.cleaning.reading.options import Options, options_from, structured
from processor.cleaning.recipe.compiling import Plan, WrongRecipe, compile_recipe
from processor.cleaning.recipe.document import Recipe
from processor.cleaning.wrong_recipes import recipe_from, wrong_recipe
from processor.step import StepError

_MOST_TABLES = 20
_NOTHING_TO_DO: Mapping[str, Any] = {"version": 1}


class CleanOptions(msgspec.Struct, frozen=True, kw_only=True):
    reading: Options
    recipe: Recipe
    tables: dict[str, str]  # blobs of other files, by the names that the recipe's rules call them


class ProfileOptions(msgspec.Struct, frozen=True, kw_only=True):
    entry: str | None = None  # which file of a zip is meant


class SuggestOptions(ProfileOptions, frozen=True, kw_only=True):
    reading: dict[str, Any] = msgspec.field(default_factory=dict)
    most_rejects: float = 0.01  # the share of the rows that the rules may reject, all together
    sample: int = 20_000  # rows that are looked at to have ideas


class _Document(ProfileOptions, frozen=True, kw_only=True):
    reading: dict[str, Any] = msgspec.field(default_factory=dict)
    recipe: Any = None
    tables: Annotated[dict[str, str], Meta(max_length=_MOST_TABLES)] = msgspec.field(default_factory=dict)


class PreviewOptions(_Document, frozen=True, kw_only=True):
    rows: int = 100
    spread: bool = False


def clean_options(document: Mapping[str, Any]) -> CleanOptions:
    """Raises `StepError` that names the field that is wrong."""
    given = structured(document, _Document)
    recipe = recipe_from(_NOTHING_TO_DO if given.recipe is None else given.recipe)
    return CleanOptions(reading=reading_from(given.reading), recipe=recipe, tables=given.tables)


def reading_from(document: Mapping[str, Any]) -> Options:
    """Raises `StepError` that names the field that is wrong, within `reading`."""
    try:
        return options_from(document)
    except StepError as wrong:
        within = [replace(problem, place=f"reading.{problem.place}") for problem in wrong.problems]
        raise StepError(wrong.code, wrong.detail, within) from None


def plan_for(recipe: Recipe, columns: Sequence[str], tables: Mapping[str, Sequence[str]]) -> Plan:
    """Raises `StepError` that names the rule that does not fit the table."""
    try:
        return compile_recipe(recipe, columns, tables)
    except WrongRecipe as wrong:
        raise wrong_recipe(wrong.problems) from None
