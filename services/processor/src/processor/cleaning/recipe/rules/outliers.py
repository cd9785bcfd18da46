"""Numbers that are far from a column's others."""

from typing import Annotated, Literal

import duckdb
from msgspec import Meta

from processor.cleaning.recipe.rules.rule import Names, WrongRule
from processor.cleaning.recipe.rules.values import is_number
from processor.cleaning.recipe.rules.whole import WholeRule, columns_of, quantile
from processor.cleaning.recipe.sheet import ROW, Column
from processor.cleaning.recipe.stage import Stage, Step
from processor.cleaning.sql import shown

_FACTORS = {"iqr": 1.5, "z": 3.0, "mad": 3.5}
_NORMAL = 1.4826  # the standard deviation of normal numbers, by the median of their distances from the median


class Outliers(WholeRule, frozen=True, tag="outliers"):
    """Numbers outside of what the column's others let expect: so many times the distance of the quartiles beyond them,
    the standard deviation from the mean, or the median distance (times 1.4826) from the median."""

    columns: Names
    method: Literal["iqr", "z", "mad"] = "iqr"
    factor: (
        Annotated[float, Meta(gt=0, le=1_000, description="How many times; 1.5 for iqr, 3 for z, 3.5 for mad.")] | None
    ) = None
    action: Annotated[
        Literal["reject", "null", "clip", "report"],
        Meta(description="The row is rejected, the cell is made null or the nearest that is none, or it is only told."),
    ] = "reject"

    def plan(self, stage: Stage) -> None:
        for at, (name, column) in enumerate(zip(self.columns, columns_of(stage, self.columns), strict=True)):
            if not is_number(column):
                raise WrongRule(("columns", at), "not_number", f"{name[:80]} is {column.type}, which has no outliers.")
            ends = stage.table()
            stage.steps.append(self._measure(column, stage.source, ends))
            outside = f"FROM {stage.source}, {ends} e WHERE {column.slot} < e.least OR {column.slot} > e.most"
            match self.action:
                case "reject":
                    said = shown(column.slot, column.type)
                    detail = f"{said} || ' is not between ' || e.least || ' and ' || e.most || '.'"
                    stage.reject(f"SELECT {ROW}, {detail} AS detail {outside}", name, "outlier")
                case "null":
                    stage.mend(f"SELECT {ROW}, CAST(NULL AS {column.type}) AS value {outside}", name)
                case "clip":
                    inner = ("ceil(e.least)", "floor(e.most)") if column.type == "BIGINT" else ("e.least", "e.most")
                    nearest = f"CASE WHEN {column.slot} < e.least THEN {inner[0]} ELSE {inner[1]} END"
                    stage.mend(f"SELECT {ROW}, CAST({nearest} AS {column.type}) AS value {outside}", name)
                case _:
                    nearest = f"CASE WHEN {column.slot} < e.least THEN e.least ELSE e.most END"
                    stage.find(
                        f"SELECT {ROW}, CAST({column.slot} AS VARCHAR) AS found, "
                        f"CAST({nearest} AS VARCHAR) AS expected, CAST(NULL AS DOUBLE) AS confidence {outside}",
                        name,
                    )

    def _measure(self, column: Column, source: str, table: str) -> Step:
        values = f"SELECT CAST({column.slot} AS DOUBLE) AS x FROM {source} WHERE {column.slot} IS NOT NULL"  # noqa: S608
        factor = self.factor if self.factor is not None else _FACTORS[self.method]

        def measure(connection: duckdb.DuckDBPyConnection) -> None:
            least = most = None
            if self.method == "iqr":
                low, high = quantile(connection, values, 0.25), quantile(connection, values, 0.75)
                if low is not None and high is not None:
                    least, most = low - factor * (high - low), high + factor * (high - low)
            else:
                if self.method == "z":
                    query = f"SELECT avg(x), stddev_samp(x) FROM ({values})"  # noqa: S608
                    middle, distance = connection.execute(query).fetchall()[0]
                else:
                    middle = quantile(connection, values, 0.5)
                    away = f"SELECT abs(x - {middle!r}::DOUBLE) AS x FROM ({values})"  # noqa: S608
                    distance = quantile(connection, away, 0.5) if middle is not None else None
                    distance = None if distance is None else distance * _NORMAL
                # Where most values are the same, nothing can be said of the others.
                if distance:
                    least, most = middle - factor * distance, middle + factor * distance
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT CAST(? AS DOUBLE) AS least, CAST(? AS DOUBLE) AS most",
                [least, most],
            )

        return measure
