"""A table while rules are compiled: which columns it has by now, and what each is computed from.

Every value is a slot: a name of ours for one expression over other slots. A statement is made of layers, each of which
computes what needs only those below; it names the slots that it is asked for and what these need, so that a column
that nobody asks for, and one that no rule has touched, costs nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from processor.cleaning.sql import TEXT, identifier, literal, missing, written

ROW = "row_"


@dataclass(frozen=True, slots=True)
class Column:
    slot: str
    type: str = TEXT


@dataclass(frozen=True, slots=True)
class Change:
    """What one rule makes of the cells of one column."""

    rule: int  # its place in the recipe
    column: str
    changed: str  # slot: whether this cell is another than before
    before: str  # slots: the texts
    after: str


@dataclass(frozen=True, slots=True)
class Reject:
    """What one rule refuses of one column."""

    rule: int
    column: str | None
    reason: str
    condition: str  # slots
    detail: str


@dataclass(frozen=True, slots=True)
class _Formula:
    sql: str
    uses: tuple[str, ...]
    level: int
    lookup: str | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table of texts that is too long for an expression."""

    name: str
    values: Mapping[str, str]

    @property
    def statement(self) -> str:
        keys, values = (", ".join(map(literal, texts)) for texts in (self.values.keys(), self.values.values()))
        return (
            f"CREATE OR REPLACE TEMP TABLE {self.name} AS SELECT unnest([{keys}]) AS key, unnest([{values}]) AS value"
        )


@dataclass(frozen=True, slots=True)
class Source:
    """A table whose columns the first slots are named after, and what tells its rows apart in their order."""

    table: str
    row: str = "rowid"
    is_table: bool = True  # else a view, whose rows may come in another order each time


@dataclass(slots=True)
class Sheet:
    columns: dict[str, Column]
    prefix: str = "v"  # of its slots, and of its lookups
    rule: int = -1  # the place of the rule that is being compiled
    changes: list[Change] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)
    macros: dict[str, str] = field(default_factory=dict)  # names, by their definitions
    depth: int = 0  # layers that a statement for all slots would have
    _formulas: dict[str, _Formula] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict)

    @property
    def is_used(self) -> bool:
        """Whether a rule has been compiled since it was made."""
        return self.rule >= 0

    def let(self, sql: str, *uses: str) -> str:
        """A slot for an expression over these slots. The same expression is the same slot."""
        if sql in self._known:
            return self._known[sql]
        slot = self._known[sql] = self._add(sql, uses)
        return slot

    def call(self, body: str, slot: str) -> str:
        """An expression: `body` with `t` as this slot. DuckDB parses slowly, and the bodies of a rule are the same for
        all of its columns, of which there may be hundreds."""
        name = self.macros.setdefault(body, f"macro_{self.prefix}{len(self.macros)}")
        return f"{name}({slot})"

    def look_up(self, key: str, values: Mapping[str, str]) -> str:
        """A slot for what a text means by a table, or NULL."""
        lookup = Lookup(f"lookup_{self.prefix}{len(self.lookups)}", values)
        self.lookups.append(lookup)
        return self._add("", (key,), lookup.name)

    def set(self, name: str, slot: str, type_: str, changed: str | None) -> None:
        """From now on the column is this. `changed`: the slot that says of which cells it is to be logged."""
        old = self.columns[name]
        if changed is not None:
            before = self.let(written(old.slot, old.type), old.slot)
            after = self.let(written(slot, type_), slot)
            self.changes.append(Change(self.rule, name, changed, before, after))
        self.columns[name] = replace(old, slot=slot, type=type_)

    def reject(self, condition: str, column: str | None, reason: str, detail: str) -> None:
        """Refuse the rows for which this is true: slots."""
        self.rejects.append(Reject(self.rule, column, reason, condition, detail))

    def is_made(self, slot: str) -> bool:
        return slot in self._formulas

    def sources(self, slots: Iterable[str]) -> list[str]:
        """The columns of the source that these are computed from, in their order there."""
        found: set[str] = set()
        todo, seen = list(slots), set(slots)
        while todo:
            slot = todo.pop()
            uses = self._formulas[slot].uses if slot in self._formulas else ()
            if slot not in self._formulas:
                found.add(slot)
            todo += [used for used in uses if used not in seen]
            seen.update(uses)
        return sorted(found, key=lambda slot: (len(slot), slot))

    def missing(self, name: str) -> str:
        column = self.columns[name]
        return missing(column.slot, column.type)

    def texts(self) -> list[str]:
        return [name for name, column in self.columns.items() if column.type == TEXT]

    def select(self, wanted: Mapping[str, str], source: Source, where: str = "") -> str:
        """A query for these slots, by the names that they are to have, and for `row_`."""
        layers: list[tuple[list[str], list[str]]] = []  # what each passes on, and what it makes
        live = list(dict.fromkeys(wanted.values()))
        for level in range(max(map(self._level, live), default=0), 0, -1):
            made = [slot for slot in live if self._level(slot) == level]
            passed = [slot for slot in live if self._level(slot) < level]
            layers.append((passed, made))
            live = list(dict.fromkeys((*passed, *(used for slot in made for used in self._formulas[slot].uses))))
        query = f"SELECT {', '.join((f'{source.row} AS {ROW}', *live))} FROM {source.table} {where}"  # noqa: S608 - sql.py
        for passed, made in reversed(layers):
            query = self._layer(passed, made, query)
        named = (f"{slot} AS {identifier(name)}" for name, slot in wanted.items())
        return f"SELECT {', '.join((ROW, *named))} FROM ({query})"  # noqa: S608

    def _layer(self, passed: Iterable[str], made: Iterable[str], below: str) -> str:
        formulas = {slot: self._formulas[slot] for slot in made}
        columns = (ROW, *passed, *(f"{formula.sql} AS {slot}" for slot, formula in formulas.items()))
        joins = (
            f" LEFT JOIN {formula.lookup} AS {slot}_ ON {slot}_.key = below.{formula.uses[0]}"
            for slot, formula in formulas.items()
            if formula.lookup is not None
        )
        return f"SELECT {', '.join(columns)} FROM ({below}) AS below{''.join(joins)}"  # noqa: S608

    def _level(self, slot: str) -> int:
        formula = self._formulas.get(slot)
        return formula.level if formula is not None else 0

    def _add(self, sql: str, uses: tuple[str, ...], lookup: str | None = None) -> str:
        slot = f"{self.prefix}{len(self._formulas)}"
        level = 1 + max(map(self._level, uses), default=0)
        self.depth = max(self.depth, level)
        self._formulas[slot] = _Formula(sql if lookup is None else f"{slot}_.value", uses, level, lookup)
        return slot
