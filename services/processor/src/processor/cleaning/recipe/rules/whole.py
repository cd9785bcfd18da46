"""What the rules have in common that need all rows."""

from collections.abc import Iterable, Sequence

import duckdb

from processor.cleaning.recipe.rules.rule import Rule, WrongRule
from processor.cleaning.recipe.sheet import Column
from processor.cleaning.recipe.stage import Stage
from processor.cleaning.sql import missing
from processor.language.problems import did_you_mean


class WholeRule(Rule, frozen=True):
    @property
    def needs_all_rows(self) -> bool:
        return True

    def plan(self, stage: Stage) -> None:
        """Put what is to be done into the stage. Raises `WrongRule` if the table has not what it works on."""
        raise NotImplementedError


def columns_of(stage: Stage, names: Sequence[str], field: str = "columns") -> list[Column]:
    for at, name in enumerate(names):
        if name not in stage.columns:
            hint = did_you_mean(name, stage.columns)
            detail = f"There is no column {name[:80]} at this place of the recipe.{hint}"
            raise WrongRule((field, at), "unknown_column", detail)
    return [stage.columns[name] for name in names]


def present(columns: Iterable[Column]) -> str:
    return " AND ".join(f"NOT {missing(column.slot, column.type)}" for column in columns)


def same(left: str, right: str, columns: Iterable[Column]) -> str:
    return " AND ".join(f"{left}.{column.slot} IS NOT DISTINCT FROM {right}.{column.slot}" for column in columns)


def quantile(connection: duckdb.DuckDBPyConnection, query: str, share: float) -> float | None:
    """Of `x` of a query, exactly: by a sort, which goes to disk where the memory does not do."""
    count = int(connection.execute(f"SELECT count(*) FROM ({query})").fetchall()[0][0])  # noqa: S608 - see sql.py
    if not count:
        return None
    place = (count - 1) * share
    low = int(place)
    found = connection.execute(f"SELECT CAST(x AS DOUBLE) FROM ({query}) ORDER BY x LIMIT 2 OFFSET {low}").fetchall()  # noqa: S608
    first, last = float(found[0][0]), float(found[-1][0])
    return first + (last - first) * (place - low)
