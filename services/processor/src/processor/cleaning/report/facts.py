"""A report from what a clean has left."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from processor.cleaning.before import Sample
from processor.cleaning.reading.deciding import Decisions
from processor.cleaning.reading.kind import Kind
from processor.cleaning.recipe.document import Recipe
from processor.cleaning.report import facts_log
from processor.cleaning.report.correlations import MOST_COLUMNS, correlate
from processor.cleaning.report.document import (
    VERSION,
    Choice,
    ColumnChanges,
    ColumnReport,
    Correlations,
    Dropped,
    File,
    Measured,
    Missing,
    Rejects,
    Report,
    Rows,
    RuleDone,
)
from processor.cleaning.report.facts_columns import (
    Basics,
    Closer,
    basics,
    common_edges,
    is_number,
    spread_before,
    unit_of,
)
from processor.cleaning.report.lineage import Lineage, Track, trace
from processor.cleaning.report.tables import Tables
from processor.cleaning.report.values import is_missing, numbers_of, told

MOST_DETAILED = 40  # columns
_DECIDED = ("encoding", "delimiter", "quote", "escape", "header", "table", "preamble_lines", "footer_lines")
_MOST_ALTERNATIVES = 5


@dataclass(frozen=True, slots=True)
class Clean:
    """One that has ended."""

    files: Path  # the folder with what it leaves
    result: Mapping[str, Any]  # of its last step
    recipe: Recipe
    decisions: Decisions
    sample: Sample  # of the file as it was
    filename: str | None = None


def facts_of(clean: Clean, tables: Tables) -> Report:
    result, decisions = clean.result, clean.decisions
    said, given = result["rows"], result.get("input", {})
    size = int(given.get("bytes") or decisions.bytes)
    lineage = trace(clean.recipe, decisions.names.value)
    changes = facts_log.changes(tables)
    rejects = facts_log.rejects(tables, size, decisions.encoding.value)
    findings = facts_log.findings(tables)
    table = tables.columns("cleaned")
    names = [str(column["name"]) for column in result["columns"]]
    look = _Look(clean, tables, lineage, changes, rejects, names, table)
    columns = look.columns()
    return Report(
        VERSION,
        File(clean.filename, size, tuple(given.get("compression") or ())),
        Rows(said["in"], said["out"], said["rejected"], said["duplicates"]),
        sum(each.cells for each in changes.all),
        _all_missing(columns),
        _choices(decisions),
        tuple(result.get("notes", ())),
        _rules(clean.recipe, changes, rejects, facts_log.duplicates_by_rule(tables), findings),
        columns,
        tuple(
            Dropped(track.source, look.kind_told(track.source), track.dropped_by)
            for track in lineage.tracks
            if track.dropped_by is not None and track.source is not None
        ),
        rejects,
        facts_log.duplicates(tables),
        findings,
        look.correlations(),
        Measured(
            clean.sample.records,
            clean.sample.misfits,
            clean.sample.is_all,
            look.closer.rows,
            look.closer.is_all,
            len(look.detailed),
        ),
    )


class _Look:
    """At the columns."""

    def __init__(
        self,
        clean: Clean,
        tables: Tables,
        lineage: Lineage,
        changes: facts_log.Changes,
        rejects: Rejects,
        names: Sequence[str],
        table: Sequence[tuple[str, str]],
    ) -> None:
        self._tables, self._sample = tables, clean.sample
        self._names, self._table = names, table
        self._kinds = {column.name: column.kind for column in clean.decisions.columns}
        self._tracks = [lineage.final.get(name) or Track(None) for name in names]
        self._changed, self._fewer, self._rejected = Counter[int](), Counter[int](), Counter[int]()
        for each in changes.all:
            of = id(lineage.at(each.rule, each.column))
            self._changed[of] += each.cells
            self._fewer[of] += each.fewer_missing
        for reason in rejects.by_reason:
            if reason.column is not None:
                self._rejected[id(lineage.at(reason.rule, reason.column))] += reason.rows
        self._basics = basics(tables, table)
        self.detailed = self._most_interesting()
        self.closer = Closer(tables, {at: table[at] for at in self.detailed}, int(clean.result["rows"]["out"]))

    def _most_interesting(self) -> list[int]:
        """Where most was done; of the same, the first ones. In the order of the table."""
        of = range(len(self._names))
        if len(of) <= MOST_DETAILED:
            return list(of)
        done = {at: self._changed[id(track)] + self._rejected[id(track)] for at, track in enumerate(self._tracks)}
        return sorted(sorted(of, key=lambda at: (-done[at], self._basics[at].missing == 0, at))[:MOST_DETAILED])

    def columns(self) -> tuple[ColumnReport, ...]:
        detailed = set(self.detailed)
        return tuple(
            self._detailed(at, column) if at in detailed else column
            for at, column in enumerate(map(self._plain, range(len(self._names))))
        )

    def _plain(self, at: int) -> ColumnReport:
        track, basic = self._tracks[at], self._basics[at]
        kind = self._kinds.get(track.source) if track.source is not None else None
        return ColumnReport(
            self._names[at],
            track.source,
            track.made_of,
            self.kind_told(track.source),
            kind.confidence if kind else None,
            self._table[at][1],
            Missing(self._missing_before(track, basic), basic.missing),
            self._changed[id(track)],
            self._rejected[id(track)],
            basic.least,
            basic.most,
        )

    def _missing_before(self, track: Track, basic: Basics) -> int | None:
        """Of a column that was made, nothing was there before."""
        return None if track.source is None else basic.missing + self._fewer[id(track)]

    def _detailed(self, at: int, column: ColumnReport) -> ColumnReport:
        unit, source = unit_of(self._table[at][1]), column.source
        cells = self._sample.columns.get(source) if source is not None else None
        kind = self._kinds[source].value if source in self._kinds else Kind("text")
        if unit == "number" and kind.kind == "text":
            kind = Kind("decimal")  # by the recipe alone
        counts = None if cells is None else Counter(cell for cell in cells if not is_missing(cell))
        after = before = edges = None
        if unit is not None:
            after = self.closer.numbers(at)
            before = None if counts is None else numbers_of(self._tables, counts, kind, unit)
            edges = common_edges(after, before, unit)
        sample = self._sample
        return msgspec.structs.replace(
            column,
            after=self.closer.spread(at, edges, after),
            before=None
            if counts is None
            else spread_before(counts, sample.records, sample.is_all, edges, before, unit),
        )

    def kind_told(self, source: str | None) -> str | None:
        return told(self._kinds[source].value) if source is not None and source in self._kinds else None

    def correlations(self) -> Correlations | None:
        numeric = [at for at in self.detailed if is_number(self._table[at][1])][: 2 * MOST_COLUMNS]
        if len(numeric) < 2:
            return None
        names = [self._names[at] for at in numeric]
        return correlate(names, self.closer.with_gaps(numeric), self.closer.is_all)


def _all_missing(columns: Sequence[ColumnReport]) -> Missing:
    """Of the columns that were there before, too."""
    known = [column.missing for column in columns if column.missing.before is not None]
    return Missing(sum(each.before or 0 for each in known), sum(each.after or 0 for each in known))


def _choices(decisions: Decisions) -> tuple[Choice, ...]:
    choices = []
    for what in _DECIDED:
        found = getattr(decisions, what)
        others = (msgspec.to_builtins(each.value) for each in found.alternatives[:_MOST_ALTERNATIVES])
        alternatives = tuple(dict.fromkeys(other for other in others if other != found.value))
        choices.append(Choice(what, found.value, found.confidence, found.reason, found.overridden, alternatives))
    return tuple(choices)


def _rules(
    recipe: Recipe,
    changes: facts_log.Changes,
    rejects: Rejects,
    duplicates: Mapping[int, int],
    findings: Sequence[Any],
) -> tuple[RuleDone, ...]:
    columns: dict[int, list[ColumnChanges]] = defaultdict(list)
    for each in changes.all:
        columns[each.rule].append(ColumnChanges(each.column, each.cells))
    rejected, found = Counter[int](), Counter[int]()
    for reason in rejects.by_reason:
        if reason.rule is not None:
            rejected[reason.rule] += reason.rows
    for finding in findings:
        found[finding.rule] += finding.cells
    done = []
    for at, rule in enumerate(recipe.rules):
        parameters = msgspec.to_builtins(rule)
        name, why = parameters.pop("rule"), parameters.pop("why", None)
        done.append(
            RuleDone(
                at,
                name,
                why,
                parameters,
                sum(each.cells for each in columns[at]),
                rejected[at],
                duplicates.get(at, 0),
                found[at],
                tuple(sorted(columns[at], key=lambda each: -each.cells)),
                tuple(changes.examples.get(at, ())),
                changes.examples_of[at],
            )
        )
    return tuple(done)
