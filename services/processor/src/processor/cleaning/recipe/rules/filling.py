"""What missing cells become."""

from collections.abc import Iterator
from typing import Annotated, Literal

import duckdb
import msgspec
from msgspec import Meta

from processor.cleaning.recipe.rules.rule import Name, Names, WrongRule, known, unknown
from processor.cleaning.recipe.rules.values import Value, is_number, value_of
from processor.cleaning.recipe.rules.whole import WholeRule, columns_of, quantile
from processor.cleaning.recipe.sheet import ROW, Column, Sheet
from processor.cleaning.recipe.stage import Stage, Step
from processor.cleaning.sql import missing, written


class Fill(WholeRule, frozen=True, tag="fill"):
    """Missing cells become a value, that of another column, or what the column's others say."""

    columns: Names
    value: Value | None = None
    from_: Annotated[Name, Meta(description="The column that has it.")] | None = msgspec.field(
        name="from", default=None
    )
    method: (
        Annotated[
            Literal["forward", "backward", "mean", "median", "mode"],
            Meta(description="The last value before it, the next one after it, or what is usual in the column."),
        ]
        | None
    ) = None

    @property
    def needs_all_rows(self) -> bool:
        return self.method is not None

    def check(self) -> Iterator[WrongRule]:
        if sum(one is not None for one in (self.value, self.from_, self.method)) != 1:
            yield WrongRule(("value",), "one_of", "Exactly one of value, from and method must be given.")

    def apply(self, sheet: Sheet) -> None:
        if self.from_ is not None and self.from_ not in sheet.columns:
            raise unknown(sheet, self.from_, ("from",))
        for at, name in enumerate(known(sheet, self.columns)):
            column = sheet.columns[name]
            if self.from_ is None:
                assert self.value is not None
                value, uses = value_of(column, self.value, ("value",), to_have=True), [column.slot]
                there = "true"
            else:
                other = sheet.columns[self.from_]
                if other.type != column.type:
                    detail = f"{self.from_[:80]} is {other.type}, and {name[:80]} is {column.type}."
                    raise WrongRule(("columns", at), "wrong_type", detail)
                value, uses, there = other.slot, [column.slot, other.slot], f"NOT {missing(other.slot, other.type)}"
            filled = sheet.let(f"{missing(column.slot, column.type)} AND {there}", *uses)
            after = sheet.let(f"CASE WHEN {filled} THEN {value} ELSE {column.slot} END", filled, *uses)
            sheet.set(name, after, column.type, filled)

    def plan(self, stage: Stage) -> None:
        for at, (name, column) in enumerate(zip(self.columns, columns_of(stage, self.columns), strict=True)):
            empty = missing(column.slot, column.type)
            if self.method in ("mean", "median") and not is_number(column):
                raise WrongRule(
                    ("columns", at), "not_number", f"{name[:80]} is {column.type}, which has no {self.method}."
                )
            if self.method in ("forward", "backward"):
                value = f"CASE WHEN {empty} THEN NULL ELSE {column.slot} END"
                way = "" if self.method == "forward" else " DESC"
                filled = (
                    f"SELECT {ROW}, {empty} AS empty, last_value({value} IGNORE NULLS) OVER (ORDER BY {ROW}{way} "  # noqa: S608
                    f"ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS value FROM {stage.source}"
                )
                stage.mend(f"SELECT {ROW}, value FROM ({filled}) WHERE empty AND value IS NOT NULL", name)  # noqa: S608
                continue
            usual = stage.table()
            stage.steps.append(_usual(self.method or "mode", column, stage.source, usual))
            stage.mend(
                f"SELECT {ROW}, u.value FROM {stage.source}, {usual} u WHERE {empty} AND u.value IS NOT NULL",  # noqa: S608
                name,
            )


def _usual(method: str, column: Column, source: str, table: str) -> Step:
    there = f"FROM {source} WHERE NOT {missing(column.slot, column.type)}"
    match method:
        case "mean":
            query = f"SELECT CAST(avg({column.slot}) AS {column.type}) AS value {there}"
        case "median":

            def find(connection: duckdb.DuckDBPyConnection) -> None:
                middle = quantile(connection, f"SELECT {column.slot} AS x {there}", 0.5)
                connection.execute(
                    f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT CAST(CAST(? AS DOUBLE) AS {column.type}) AS value",
                    [middle],
                )

            return find
        case _:  # of those that are as frequent, the least
            query = (
                f"SELECT {column.slot} AS value {there} GROUP BY 1 "
                f"ORDER BY count(*) DESC, {written(column.slot, column.type)} LIMIT 1"
            )
    return f"CREATE OR REPLACE TEMP TABLE {table} AS {query}"
