"""Rows that are there more than once, exactly or nearly."""

from collections.abc import Iterator
from typing import Annotated, Literal

import duckdb
from msgspec import Meta

from processor.cleaning.recipe.rules.rule import AllOrNames, Name, WrongRule
from processor.cleaning.recipe.rules.whole import WholeRule, columns_of, same
from processor.cleaning.recipe.sheet import ROW, Column
from processor.cleaning.recipe.stage import Stage, Step
from processor.cleaning.sql import TEXT, missing, written
from processor.step import StepError

# How alike two texts are, from 0 to 1.
_MEASURES = {
    "jaro_winkler": "jaro_winkler_similarity({0}, {1})",
    "levenshtein": "1 - levenshtein({0}, {1}) / greatest(length({0}), length({1}), 1)",
    "damerau_levenshtein": "1 - damerau_levenshtein({0}, {1}) / greatest(length({0}), length({1}), 1)",
}
# Texts in one block are all compared with each other. A hundred million pairs take minutes, by what they are measured.
MOST_IN_BLOCK, MOST_PAIRS = 5_000, 100_000_000
_PAIRS_AT_ONCE = 10_000


class Deduplicate(WholeRule, frozen=True, tag="deduplicate"):
    """Of rows with the same cells in these columns, one survives. With a `measure`, texts are the same that are at
    least as alike as `threshold`, directly or over others; compared are rows with the same cells in `block`."""

    columns: Annotated[AllOrNames, Meta(description="The columns that are compared; none for all.")] = ()
    survivor: Annotated[
        Literal["first", "last", "most_complete", "max", "min"],
        Meta(
            description="Which row stays: the one with the fewest missing cells, or with the most or the least in `by`."
        ),
    ] = "first"
    by: Annotated[Name, Meta(description="For max and min.")] | None = None
    measure: Literal["exact", "jaro_winkler", "levenshtein", "damerau_levenshtein"] = "exact"
    threshold: Annotated[float, Meta(gt=0, le=1, description="How alike, from 0 to 1.")] = 0.9
    block: Annotated[
        tuple[Name, ...], Meta(max_length=100, description="Only rows with the same cells here can be nearly the same.")
    ] = ()

    def check(self) -> Iterator[WrongRule]:
        if (self.survivor in ("max", "min")) != (self.by is not None):
            yield WrongRule(("by",), "one_of", "by belongs to max and min, and they need it.")
        if self.measure == "exact" and self.block:
            yield WrongRule(("block",), "unused", "A block is for a measure.")

    def plan(self, stage: Stage) -> None:
        keys = columns_of(stage, self.columns) if self.columns else list(stage.columns.values())
        rank = self._rank(stage)
        if self.measure == "exact":
            kept = stage.table()
            # What is missing is missing, whether it is empty or null.
            cells = [f"nullif({key.slot}, '')" if key.type == TEXT else key.slot for key in keys]
            compared = ", ".join(f"{cell} AS {key.slot}" for cell, key in zip(cells, keys, strict=True))
            rows = f"(SELECT {ROW}, {compared} FROM {stage.source})"  # noqa: S608
            stage.steps.append(
                f"CREATE OR REPLACE TEMP TABLE {kept} AS SELECT {compared}, {rank} AS survivor "  # noqa: S608
                f"FROM {stage.source} GROUP BY {', '.join(cells)} HAVING count(*) > 1"
            )
            stage.remove(
                f"SELECT s.{ROW}, k.survivor FROM {rows} s JOIN {kept} k ON {same('s', 'k', keys)} "  # noqa: S608
                f"WHERE s.{ROW} <> k.survivor"
            )
            return
        texts, groups, kept = stage.table(), stage.table(), stage.table()
        block = columns_of(stage, self.block, "block")
        stage.steps.append(_texts(stage.source, keys, block, texts))
        stage.steps.append(_grouped(texts, _MEASURES[self.measure], self.threshold, groups))
        member = f"FROM {stage.source} JOIN {texts} USING ({ROW}) JOIN {groups} USING (text_id)"
        stage.steps.append(
            f"CREATE OR REPLACE TEMP TABLE {kept} AS SELECT group_id, {rank} AS survivor {member} "
            "GROUP BY group_id HAVING count(*) > 1"
        )
        stage.remove(
            f"SELECT {ROW}, survivor FROM {texts} JOIN {groups} USING (text_id) JOIN {kept} USING (group_id) "  # noqa: S608
            f"WHERE {ROW} <> survivor"
        )

    def _rank(self, stage: Stage) -> str:
        """An aggregate: the row that survives. Of those that are as good, the first."""
        match self.survivor:
            case "first":
                return f"min({ROW})"
            case "last":
                return f"max({ROW})"
            case "most_complete":
                cells = (f"({missing(column.slot, column.type)})::INTEGER" for column in stage.columns.values())
                return f"min({{'missing': {' + '.join(cells)}, 'row': {ROW}}}).row"
            case _:
                assert self.by is not None
                (column,) = columns_of(stage, [self.by], "by")
                none = missing(column.slot, column.type)
                if self.survivor == "min":
                    return f"min({{'none': ({none})::INTEGER, 'value': {column.slot}, 'row': {ROW}}}).row"
                return f"-max({{'some': (NOT {none})::INTEGER, 'value': {column.slot}, 'row': -{ROW}}}).row"


def _texts(source: str, keys: list[Column], block: list[Column], table: str) -> str:
    """Of each row, what is compared: the same text in the same block has one number. Nothing is like nothing."""
    cells = ", ".join(f"nullif({written(key.slot, key.type)}, '')" for key in keys)
    blocks = ", ".join(column.slot for column in block) or "0"
    return (
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {ROW}, text, block, "  # noqa: S608
        "dense_rank() OVER (ORDER BY block, text) AS text_id FROM "
        f"(SELECT {ROW}, concat_ws(chr(31), {cells}) AS text, row({blocks}) AS block FROM {source}) WHERE text <> ''"
    )


def _grouped(texts: str, measure: str, threshold: float, groups: str) -> Step:
    def group(connection: duckdb.DuckDBPyConnection) -> None:
        distinct = f"(SELECT DISTINCT block, text, text_id FROM {texts})"  # noqa: S608 - see sql.py, here and below
        largest, pairs_in_all = connection.execute(
            "SELECT coalesce(max(n), 0), coalesce(sum(n * (n - 1) // 2), 0) "  # noqa: S608
            f"FROM (SELECT count(*) AS n FROM {distinct} GROUP BY block)"
        ).fetchall()[0]
        if largest > MOST_IN_BLOCK:
            detail = f"{largest:,} texts would be compared with each other, {MOST_IN_BLOCK:,} may be"
            raise StepError("block_too_large", f"{detail}: a finer block is needed.")
        if pairs_in_all > MOST_PAIRS:
            detail = f"In all blocks, {pairs_in_all:,} pairs of texts would be compared, {MOST_PAIRS:,} may be"
            raise StepError("block_too_large", f"{detail}: finer blocks are needed.")
        alike = measure.format("a.text", "b.text")
        found = connection.execute(
            f"SELECT a.text_id, b.text_id FROM {distinct} a JOIN {distinct} b "  # noqa: S608
            f"ON a.block = b.block AND a.text_id < b.text_id WHERE {alike} >= {threshold!r}"
        )
        roots: dict[int, int] = {}

        def root(text: int) -> int:
            while (up := roots.get(text, text)) != text:
                roots[text] = text = roots.get(up, up)
            return text

        while pairs := found.fetchmany(_PAIRS_AT_ONCE):  # of texts that are all alike, there are millions
            for one, other in pairs:
                low, high = sorted((root(one), root(other)))
                roots[high] = low
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {groups} AS SELECT text_id, text_id AS group_id FROM {distinct}"  # noqa: S608
        )
        moved = [(text, root(text)) for text in roots]
        if moved:
            import numpy as np  # here: a processor, which only checks recipes, would start a tenth later for it

            pairs_moved = np.array(moved, np.int64)
            connection.register("moved", {"a": pairs_moved[:, 0], "b": pairs_moved[:, 1]})
            connection.execute(f"UPDATE {groups} SET group_id = m.b FROM moved m WHERE text_id = m.a")  # noqa: S608
            connection.unregister("moved")

    return group
