"""Columns that say what another one is."""

from typing import Annotated, Literal

from msgspec import Meta

from processor.cleaning.recipe.rules.rule import Name, Names
from processor.cleaning.recipe.rules.whole import WholeRule, columns_of, present
from processor.cleaning.recipe.sheet import ROW
from processor.cleaning.recipe.stage import Stage
from processor.cleaning.sql import shown, written


class Dependency(WholeRule, frozen=True, tag="dependency"):
    """Rows with the same cells in `columns` have the same in `determines`: a postcode has one city. Where some have
    another, those that are fewer are mended if enough have the same."""

    columns: Names
    determines: Name
    repair: Annotated[Literal["majority", "none"], Meta(description="Whether cells are mended.")] = "none"
    confidence: Annotated[
        float,
        Meta(gt=0.5, le=1, description="The share of the rows that must have the same, for the others to be mended."),
    ] = 0.9
    otherwise: Annotated[
        Literal["report", "reject"], Meta(description="What becomes of rows where it is not clear: all of those.")
    ] = "report"

    def plan(self, stage: Stage) -> None:
        keys = columns_of(stage, self.columns)
        (column,) = columns_of(stage, [self.determines], "determines")
        names, value = ", ".join(key.slot for key in keys), column.slot
        counted, judged = stage.table(), stage.table()
        stage.steps.append(
            f"CREATE OR REPLACE TEMP TABLE {counted} AS SELECT {names}, {value} AS value, count(*) AS rows "  # noqa: S608
            f"FROM {stage.source} WHERE {present([*keys, column])} GROUP BY ALL"
        )
        # Of values that are as frequent, always the same one.
        stage.steps.append(
            f"CREATE OR REPLACE TEMP TABLE {judged} AS SELECT {names}, arg_max(value, (rows, value)) AS best, "  # noqa: S608
            f"max(rows) / sum(rows) AS confidence FROM {counted} GROUP BY {names} HAVING count(*) > 1"
        )
        is_clear = f"j.confidence >= {self.confidence!r}" if self.repair == "majority" else "false"
        rows = f"FROM {stage.source} s JOIN {judged} j USING ({names}) WHERE {present_value(value, column.type)}"
        if self.repair == "majority":
            stage.mend(
                f"SELECT s.{ROW}, j.best AS value {rows} AND {is_clear} AND s.{value} <> j.best", self.determines
            )
        unclear = f"{rows} AND NOT {is_clear}"
        if self.otherwise == "reject":
            said = f"{shown(f's.{value}', column.type)} || ' is not what other rows have with the same key.'"
            stage.reject(f"SELECT s.{ROW}, {said} AS detail {unclear}", self.determines, "dependency")
        else:
            found, best = written(f"s.{value}", column.type), written("j.best", column.type)
            stage.find(
                f"SELECT s.{ROW}, {found} AS found, {best} AS expected, j.confidence {unclear} AND s.{value} <> j.best",
                self.determines,
            )


def present_value(slot: str, type_: str) -> str:
    return f"s.{slot} IS NOT NULL" + (f" AND s.{slot} <> ''" if type_ == "VARCHAR" else "")
