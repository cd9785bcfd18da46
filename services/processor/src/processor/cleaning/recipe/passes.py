"""One pass of rules over a table: which statements it takes.

1. `work` makes the table `worked`: of each row the cells as they become, which rule refuses it first, and of each cell
   that a rule may change whether it did. A flag costs a byte, where a logged change costs two texts.
2. `count` says how many cells each rule has changed.
3. `rejects` and `changes` are queries, computed again from the source for the few rows and cells that they are about:
   what nobody has changed costs nothing more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from processor.cleaning.recipe.sheet import ROW, Change, Column, Reject, Sheet, Source
from processor.cleaning.sql import literal

REFUSED, CHANGED = "refused_", "changed_"
_RULES_OF_A_COLUMN = 4
WHICH = "which_"  # the place of the first refusal among `Sheet.rejects`, or NULL


@dataclass(frozen=True, slots=True)
class OutColumn:
    name: str
    slot: str  # its name in `cleaned`
    type: str


class Pass:
    def __init__(self, sheet: Sheet, rules: Sequence[str], first: int = 0) -> None:
        self.sheet = sheet
        self.rules = rules  # their names, by their places
        self.columns = [
            OutColumn(name, f"c{at}", column.type) for at, (name, column) in enumerate(sheet.columns.items(), first)
        ]
        refusals = " ".join(f"WHEN {one.condition} THEN {at}" for at, one in enumerate(sheet.rejects))
        self._which = None
        conditions = [one.condition for one in sheet.rejects]
        if refusals:
            self._which = sheet.let(f"CAST(CASE {refusals} END AS INTEGER)", *conditions)
        self._refused = _any(sheet, conditions)
        self._changed = _any(sheet, [change.changed for change in sheet.changes])

    def next_sheet(self, prefix: str) -> Sheet:
        """Of what comes out, for the rules after it."""
        return Sheet({out.name: Column(out.slot, out.type) for out in self.columns}, prefix)

    def groups(self, most: int) -> list["Pass"]:
        """Passes with about as many columns each, that together do what this one does."""
        sheet, outs = self.sheet, list(self.sheet.columns.items())
        widest = max(len(outs), len(sheet.changes), len(sheet.rejects))
        if widest <= most * _RULES_OF_A_COLUMN and len(outs) <= most:
            return [self]
        count = -(-max(len(outs), widest // _RULES_OF_A_COLUMN) // most)
        changes: list[list[Change]] = [[] for _ in range(count)]
        rejects: list[list[Reject]] = [[] for _ in range(count)]
        names = {name: at for at, name in enumerate(sheet.columns)}
        for change in sheet.changes:
            changes[self._group(change.column, names, count)].append(change)
        for reject in sheet.rejects:
            rejects[self._group(reject.column, names, count)].append(reject)
        bounds = [len(outs) * at // count for at in range(count + 1)]
        return [
            Pass(
                replace(
                    sheet, columns=dict(outs[bounds[at] : bounds[at + 1]]), changes=changes[at], rejects=rejects[at]
                ),
                self.rules,
                bounds[at],
            )
            for at in range(count)
        ]

    def _group(self, column: str | None, names: Mapping[str, int], count: int) -> int:
        return names.get(column or "", 0) * count // max(1, len(names))

    @property
    def sources(self) -> list[str]:
        """The columns that it reads."""
        sheet = self.sheet
        logged = (slot for change in sheet.changes for slot in (change.changed, change.before, change.after))
        refused = (slot for reject in sheet.rejects for slot in (reject.condition, reject.detail))
        return sheet.sources((*(column.slot for column in sheet.columns.values()), *logged, *refused))

    @property
    def prepare(self) -> list[str]:
        """Once for each connection."""
        macros = (f"CREATE OR REPLACE TEMP MACRO {name}(t) AS ({body})" for body, name in self.sheet.macros.items())
        return [*macros, *(lookup.statement for lookup in self.sheet.lookups)]

    def work(self, source: Source) -> str:
        cells = {out.slot: self.sheet.columns[out.name].slot for out in self.columns if not self._stays(out, source)}
        which = {WHICH: self._which} if self._which is not None else {}
        flags = {_flag(at): change.changed for at, change in enumerate(self.sheet.changes)}
        query = self.sheet.select({**which, **cells, **flags}, source)
        # With several threads, a join does not keep the order of the rows; all else does.
        return f"{query} ORDER BY {ROW}" if self.sheet.lookups else query

    def stream(self, source: Source, beside: Iterable[str] = ()) -> str:
        """The rows that come out and, as `changed_`, whether something in them is another than before: without a table
        in between, and without a word on what was refused and changed. `beside`: columns of the source."""
        cells = {out.slot: self.sheet.columns[out.name].slot for out in self.columns}
        marks = {REFUSED: self._refused, CHANGED: self._changed, **{name: name for name in beside}}
        query = self.sheet.select({**cells, **marks}, source)
        order = f" ORDER BY {ROW}" if self.sheet.lookups else ""
        return f"SELECT * EXCLUDE ({REFUSED}) FROM ({query}) WHERE NOT {REFUSED}{order}"  # noqa: S608

    def marks(self, source: Source) -> str:
        """The rows that are refused, and those that are changed, but nothing of them."""
        query = self.sheet.select({REFUSED: self._refused, CHANGED: self._changed}, source)
        return f"SELECT {ROW}, {REFUSED} FROM ({query}) WHERE {REFUSED} OR {CHANGED}"  # noqa: S608

    def cells(self, source: Source, beside: Iterable[str], where: str) -> str:
        """Of the rows for which `where` is true, a column of the source; also the columns `beside`."""
        cells = {out.slot: self.sheet.columns[out.name].slot for out in self.columns}
        query = self.sheet.select({**cells, **{name: name for name in (*beside, where)}}, source)
        order = f" ORDER BY {ROW}" if self.sheet.lookups else ""
        return f"SELECT * FROM ({query}) WHERE {where}{order}"  # noqa: S608

    @property
    def out(self) -> str:
        """The condition of the rows of `worked` that are not refused."""
        return "true" if self._which is None else f"{WHICH} IS NULL"

    def cleaned(self, source: Source, worked: str) -> str:
        cells = [
            f"s.{self.sheet.columns[out.name].slot} AS {out.slot}" if self._stays(out, source) else f"w.{out.slot}"
            for out in self.columns
        ]
        beside = f" POSITIONAL JOIN {source.table} s" if any(cell.startswith("s.") for cell in cells) else ""
        columns = ", ".join((f"w.{ROW}", *cells))
        return f"SELECT {columns} FROM {worked} w{beside} WHERE {self.out}"  # noqa: S608 - see sql.py, here and below

    def _stays(self, out: OutColumn, source: Source) -> bool:
        """Whether it is read where it is, since no rule has made anything of it. `worked` has the rows of its source,
        in the same order."""
        return source.is_table and not self.sheet.is_made(self.sheet.columns[out.name].slot)

    def count(self, worked: str) -> str:
        """One row: how many rows come out, then how many cells of them each of the changes has changed."""
        counts = (f"count_if({_flag(at)})" for at in range(len(self.sheet.changes)))
        return f"SELECT {', '.join(('count(*)', *counts))} FROM {worked} WHERE {self.out}"  # noqa: S608

    def refused(self, worked: str) -> str:
        """How many rows were refused by which of the conditions."""
        if self._which is None:
            return "SELECT 0, 0 WHERE false"
        return f"SELECT {WHICH}, count(*) FROM {worked} WHERE {WHICH} IS NOT NULL GROUP BY 1 ORDER BY 1"  # noqa: S608

    def rejects(self, source: Source, worked: str, which: Iterable[int]) -> list[str]:
        """Of the conditions that have refused rows. `row_`, column, reason, detail, rule and its name."""
        parts = []
        for at in which:
            one = self.sheet.rejects[at]
            rows = f"(SELECT {ROW} FROM {worked} WHERE {WHICH} = {at})"  # noqa: S608
            details = self.sheet.select({"detail": one.detail}, source, f"WHERE {source.row} IN {rows}")
            column = "NULL" if one.column is None else literal(one.column)
            parts.append(
                f"SELECT {ROW}, CAST({column} AS VARCHAR) AS column_, {literal(one.reason)} AS reason, detail, "  # noqa: S608
                f"{one.rule} AS rule, {literal(self.rules[one.rule])} AS rule_name FROM ({details})"
            )
        return parts

    def changes(self, source: Source, worked: str, counts: Sequence[int]) -> list[str]:
        """`counts`: how many cells each has changed, as `count` says. `row_`, column, before, after, rule, its name."""
        return [
            self._changes_of(change, _flag(at), source, worked)
            for at, (change, count) in enumerate(zip(self.sheet.changes, counts, strict=False))
            if count
        ]

    def _changes_of(self, change: Change, flag: str, source: Source, worked: str) -> str:
        rows = f"(SELECT {ROW} FROM {worked} WHERE {flag} AND {self.out})"  # noqa: S608
        texts = self.sheet.select(
            {"before": change.before, "after": change.after}, source, f"WHERE {source.row} IN {rows}"
        )
        return (
            f"SELECT {ROW}, {literal(change.column)} AS column_, before, after, "  # noqa: S608
            f"{change.rule} AS rule, {literal(self.rules[change.rule])} AS rule_name FROM ({texts})"
        )


def _any(sheet: Sheet, conditions: Sequence[str]) -> str:
    # As the condition of a CASE, DuckDB stops at what is known.
    return sheet.let(
        f"CASE WHEN {' OR '.join(conditions)} THEN true ELSE false END" if conditions else "false", *conditions
    )


def _flag(at: int) -> str:
    return f"changed_{at}"
