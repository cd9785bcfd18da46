"""What has to be there once, or in another table."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from processor.cleaning.recipe.rules.rule import Name, Names, RejectOrNull, WrongRule
from processor.cleaning.recipe.rules.whole import WholeRule, columns_of, present
from processor.cleaning.recipe.sheet import ROW
from processor.cleaning.recipe.stage import Stage
from processor.cleaning.sql import shown, written
from processor.language.problems import did_you_mean


class Unique(WholeRule, frozen=True, tag="unique"):
    """No two rows have the same cells in these columns. Where one is missing, a row is not looked at."""

    columns: Names
    keep: Annotated[Literal["first", "none"], Meta(description="Which of such rows is not rejected.")] = "first"

    def plan(self, stage: Stage) -> None:
        columns = columns_of(stage, self.columns)
        keys = ", ".join(column.slot for column in columns)
        first = stage.table()
        stage.steps.append(
            f"CREATE OR REPLACE TEMP TABLE {first} AS SELECT {keys}, min({ROW}) AS first FROM {stage.source} "  # noqa: S608
            f"WHERE {present(columns)} GROUP BY {keys} HAVING count(*) > 1"
        )
        cells = " || ', ' || ".join(shown(f"f.{column.slot}", column.type) for column in columns)
        others = "" if self.keep == "none" else f" WHERE s.{ROW} <> f.first"
        stage.reject(
            f"SELECT s.{ROW}, {cells} || ' is in row ' || f.first || ' already.' AS detail "  # noqa: S608
            f"FROM {stage.source} s JOIN {first} f USING ({keys}){others}",
            self.columns[0] if len(self.columns) == 1 else None,
            "not_unique",
        )


class ForeignKey(WholeRule, frozen=True, tag="foreign_key"):
    """What these columns have is in another table, too. Where one is missing, a row is not looked at."""

    columns: Names
    table: Annotated[
        str, Meta(min_length=1, max_length=200, description="The other table: what it is called for this job.")
    ]
    references: Annotated[
        tuple[Name, ...], Meta(max_length=100, description="Its columns; none for the same names.")
    ] = ()
    on_error: RejectOrNull = "reject"

    def check(self) -> Iterator[WrongRule]:
        if self.references and len(self.references) != len(self.columns):
            yield WrongRule(("references",), "wrong_length", "There are as many references as columns.")

    def plan(self, stage: Stage) -> None:
        columns = columns_of(stage, self.columns)
        if self.table not in stage.tables:
            hint = did_you_mean(self.table, stage.tables)
            raise WrongRule(("table",), "unknown_table", f"There is no table {self.table[:80]}.{hint}")
        relation, names = stage.tables[self.table]
        for at, name in enumerate(wanted := self.references or self.columns):
            if name not in names:
                detail = f"{self.table[:80]} has no column {name[:80]}.{did_you_mean(name, names)}"
                raise WrongRule(("references", at), "unknown_column", detail)
        cells = [written(f"s.{column.slot}", column.type) for column in columns]
        pairs = " AND ".join(f"r.c{names.index(name)} = {cell}" for name, cell in zip(wanted, cells, strict=True))
        there = " AND ".join(
            f"s.{column.slot} IS NOT NULL AND {cell} <> ''" for column, cell in zip(columns, cells, strict=True)
        )
        query = f"FROM {stage.source} s ANTI JOIN {relation} r ON {pairs} WHERE {there}"
        if self.on_error == "reject":
            said = " || ', ' || ".join(shown(f"s.{column.slot}", column.type) for column in columns)
            single = self.columns[0] if len(self.columns) == 1 else None
            stage.reject(
                f"SELECT s.{ROW}, {said} || ' is not in the other table.' AS detail {query}", single, "no_reference"
            )
            return
        gone = stage.table()
        stage.steps.append(f"CREATE OR REPLACE TEMP TABLE {gone} AS SELECT s.{ROW} {query}")
        for name, column in zip(self.columns, columns, strict=True):
            stage.mend(f"SELECT {ROW}, CAST(NULL AS {column.type}) AS value FROM {gone}", name)  # noqa: S608
