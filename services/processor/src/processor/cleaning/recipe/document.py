"""What a recipe is: rules in order, and how the result is written. Immutable: a change is another recipe.

A document is `{"version": 1, "rules": [{"rule": "trim", …}, …], "output": {…}}`. The structs of the rules say what each
may hold: its JSON Schema and the checks of its shape come from them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from processor.cleaning.recipe.rules.table import AnyRule

VERSION = 1
MOST_RULES = 5_000


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How the cleaned table is written."""

    format: Annotated[Literal["csv", "parquet", "jsonl"], Meta(description="The kind of file.")] = "csv"
    delimiter: Annotated[str, Meta(min_length=1, max_length=1, description="Of CSV.")] = ","
    quote: Annotated[Literal["needed", "all"], Meta(description="Which cells of CSV are quoted.")] = "needed"
    header: Annotated[bool, Meta(description="CSV begins with the names of the columns.")] = True
    null: Annotated[str, Meta(max_length=100, description="What stands for null in CSV.")] = ""
    line_end: Annotated[Literal["\n", "\r\n"], Meta(description="Of CSV.")] = "\n"
    mark: Annotated[bool, Meta(description="CSV begins with a byte order mark, as some spreadsheets want it.")] = False


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    version: Annotated[int, Meta(ge=VERSION, le=VERSION, description="Of the language of recipes.")]
    title: Annotated[str, Meta(max_length=200, description="For people.")] | None = None
    rules: Annotated[tuple[AnyRule, ...], Meta(max_length=MOST_RULES, description="What is done, in this order.")] = ()
    output: Output = Output()
