"""Values of a recipe beside the values of a column."""

from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, TypeAlias

from msgspec import Meta

from processor.cleaning.recipe.rules.rule import WrongRule
from processor.cleaning.recipe.sheet import Column
from processor.cleaning.sql import TEXT, literal
from processor.language.problems import Path

Value: TypeAlias = Annotated[
    str | int | float | bool, Meta(description="A text, a number, true or false. A date is a text: 2021-04-03.")
]


def value_of(column: Column, value: Value, path: Path) -> str:
    """In SQL, of the column's type."""
    written = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        match column.type.partition("(")[0]:
            case "VARCHAR":
                return literal(written)
            case "BOOLEAN" if not isinstance(value, bool) and written not in ("true", "false"):
                raise ValueError
            case "BIGINT" if not -(2**63) <= int(written) < 2**63:
                raise ValueError
            case "DOUBLE" | "DECIMAL" if isinstance(value, bool) or not Decimal(written).is_finite():
                raise ValueError
            case "DATE":
                date.fromisoformat(written)
            case "TIMESTAMP":
                datetime.fromisoformat(written)
    except (ValueError, InvalidOperation):
        detail = f"{written[:80]!r} is no {column.type}, which the column is at this place of the recipe."
        raise WrongRule(path, "wrong_value", detail) from None
    # What is compared with a column is as exact as it is written.
    type_ = "DECIMAL(38,10)" if column.type.startswith("DECIMAL") else column.type
    return f"CAST({literal(written)} AS {type_})"


def is_number(column: Column) -> bool:
    return column.type != TEXT and column.type.partition("(")[0] in ("BIGINT", "DOUBLE", "DECIMAL")
