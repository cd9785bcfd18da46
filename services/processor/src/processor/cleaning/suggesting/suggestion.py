"""A recipe that is proposed for a file: conservative, and with what it would do to all rows, by having done it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from processor.cleaning.reading.decisions import counted
from processor.cleaning.reading.kinds import Column
from processor.cleaning.reading.options import Options
from processor.cleaning.recipe.compiling import compile_recipe
from processor.cleaning.recipe.rules.text import InnerSpace, NullTokens, Trim
from processor.cleaning.recipe.sql import TEXT
from processor.cleaning.room import Room
from processor.cleaning.suggesting import relations
from processor.cleaning.suggesting.categories import MOST_VALUES, Category, propose_spellings
from processor.cleaning.suggesting.contents import propose_contents
from processor.cleaning.suggesting.measuring import Measured, measure
from processor.cleaning.suggesting.proposal import Choice, Found, Proposal, Question, grouped, nothing, recipe_with
from processor.cleaning.suggesting.rows import Rows, gather
from processor.cleaning.suggesting.telling import told
from processor.cleaning.suggesting.typed import propose_type
from processor.cleaning.suggesting.values import Sample
from processor.cleaning.survey import Survey, opened, survey
from processor.step import Report

_SURVEYED, _GATHERED, _LOOKED, _MEASURED, _RELATED = 0.05, 0.25, 0.4, 0.6, 0.7  # shares of the whole


@dataclass(frozen=True, slots=True)
class Wish:
    most_rejects: float = 0.01  # the share of the rows that the rules may reject, all together
    sample: int = 20_000  # rows that are looked at to have ideas


class _Work:
    """All that the looks at one file share."""

    def __init__(self, rows: Rows, wish: Wish, room: Room, report: Report) -> None:
        self.rows = rows
        self.wish = wish
        self.room = room
        self.report = report
        self.folder = Path(room.scratch, "suggested")
        self.notes: list[str] = []

    def measured(self, proposals: Sequence[Proposal], begin: float, end: float) -> Measured:
        recipe = recipe_with(one.rule for one in proposals)
        plan = compile_recipe(recipe, self.rows.names)

        def tell(share: float) -> None:
            self.report(begin + (end - begin) * share, f"Trying {counted(len(proposals), 'rule')} on all rows")

        return measure(self.rows, plan, self.folder, self.room, tell)


def suggest(path: Path, reading: Options, wish: Wish, room: Room, report: Report) -> dict[str, Any]:
    """Raises `StepError` if the file is no table."""
    size = max(1, path.stat().st_size)

    def looking(begin: float, end: float) -> Callable[[int], None]:
        def look(read: int) -> None:
            said = f"Reading: {read / 1e6:.1f} of {size / 1e6:.1f} MB"
            report(begin + (end - begin) * min(1.0, read / size), said)

        return look

    found = survey(path, reading, looking(0.0, _SURVEYED))
    folder = Path(room.scratch, "suggested")
    folder.mkdir()
    reading_all = looking(_SURVEYED, _GATHERED)
    with opened(path) as fd:
        rows = gather(fd, found, folder, room, lambda chunk: reading_all(chunk.end))
    work = _Work(rows, wish, room, report)
    of_rows = _of_rows(work, found)
    proposals, measured = _settled(work, of_rows.proposals, _LOOKED, _MEASURED)
    proposals = list(_effective(work, proposals, measured))
    spelt = _spellings(work, proposals, measured)
    if spelt.proposals:
        proposals, measured = _settled(work, [*proposals, *spelt.proposals], _MEASURED, _RELATED)
    of_all = _of_all(work, proposals, measured)
    proposals, measured = _settled(work, [*proposals, *of_all.proposals], _RELATED, 1.0)
    questions = [*of_rows.questions, *spelt.questions, *of_all.questions]
    return told(found, rows, proposals, measured, questions, work.notes)


def _of_rows(work: _Work, found: Survey) -> Found:
    """Rules that look at one row by itself."""
    columns, looked = found.decisions.columns, nothing()
    names = tuple(column.name for column in columns)
    texts = tuple(column.name for column in columns if column.kind.value.kind == "text")
    if not work.rows.count:
        return looked
    trim = Proposal(Trim(columns=names), "White space before and after a value says nothing.")
    looked.proposals.append(trim)
    if texts:
        why = "Several blanks within a text, and other white space than blanks, say no more than one blank."
        looked.proposals.append(Proposal(InnerSpace(columns=texts), why))
    nulls, typed = list[Proposal](), nothing()
    with work.room.connect() as connection:
        sample = Sample(connection, work.rows, work.wish.sample)
        for at, column in enumerate(columns):
            work.report(_GATHERED + (_LOOKED - _GATHERED) * at / len(columns), f"Looking at {column.name:.60}")
            words = _words(sample, column)
            if words:
                why = f"They stand for no value: {', '.join(words[:10])}."
                nulls.append(Proposal(NullTokens(columns=(column.name,), tokens=words), why))
            if column.kind.value.kind == "text":
                typed.take(propose_contents(column.name, sample, words))
            else:
                typed.take(propose_type(column, sample.all_values(column.name, words)))
    looked.proposals += grouped(nulls)
    looked.take(Found(grouped(typed.proposals), typed.questions))
    return looked


def _words(sample: Sample, column: Column) -> tuple[str, ...]:
    """For nothing. In a column of text, most of the usual ones may be values."""
    kind = column.kind.value
    words = {word.lower() for word in kind.nulls}
    if kind.kind != "text":
        words |= {*sample.words_for_nothing(column.name)}
    return tuple(sorted(words - {word.lower() for word in (*kind.true, *kind.false)} - {""}))


def _settled(work: _Work, proposals: Sequence[Proposal], begin: float, end: float) -> tuple[list[Proposal], Measured]:
    """Without what rejects too much. What is measured is exactly what is left."""
    left = list(proposals)
    while True:
        measured = work.measured(left, begin, end)
        too_much = _too_much(work, left, measured)
        if not too_much:
            return left, measured
        left = [reduced for at, one in enumerate(left) if (reduced := _without(one, too_much.get(at, ()))) is not None]


def _too_much(work: _Work, proposals: Sequence[Proposal], measured: Measured) -> dict[int, list[str]]:
    """By rule, the columns for which it rejects more rows than are left for it."""
    room = int(work.wish.most_rejects * work.rows.count)
    over: dict[int, list[str]] = {}
    for (at, column), count in sorted(measured.rejects.items(), key=lambda one: (one[1], one[0][0])):
        if count <= room:
            room -= count
            continue
        over.setdefault(at, []).append(column or "")
        name = proposals[at].rule.__struct_config__.tag
        work.notes.append(
            f"{column or 'The table'} is left as it is: the rule {name} would reject {counted(count, 'row')} for it, "
            f"and all rules together may reject {work.wish.most_rejects:.1%} of the rows."
        )
    return over


def _without(proposal: Proposal, columns: Sequence[str]) -> Proposal | None:
    if not columns:
        return proposal
    left = [name for name in proposal.columns if name not in columns]
    return proposal.only(left) if left and isinstance(getattr(proposal.rule, "columns", None), tuple) else None


def _effective(work: _Work, proposals: Sequence[Proposal], measured: Measured) -> Iterator[Proposal]:
    """Rules for text only where they change something; types in any case."""
    lines = _with_lines(work, proposals, measured)
    for at, one in enumerate(proposals):
        if not isinstance(one.rule, Trim | InnerSpace | NullTokens):
            yield one
            continue
        columns = [name for name in one.columns if measured.cells[at, name]]
        if isinstance(one.rule, InnerSpace):
            columns = [name for name in columns if name not in lines]
        if columns:
            yield one.only(columns)


def _with_lines(work: _Work, proposals: Sequence[Proposal], measured: Measured) -> list[str]:
    """Columns whose texts have several lines, which white space parts."""
    inner = {
        name
        for at, one in enumerate(proposals)
        if isinstance(one.rule, InnerSpace)
        for name in one.columns
        if measured.cells[at, name]
    }
    found: list[str] = []
    with work.room.connect() as connection:
        for name in sorted(inner):
            slot = work.rows.slot(name)
            lines = f"SELECT count(*) FROM {work.rows.relation} WHERE regexp_matches(trim({slot}), '[\\r\\n]')"  # noqa: S608 - see sql.py
            if connection.execute(lines).fetchall()[0][0]:
                found.append(name)
                work.notes.append(f"{name} has texts of several lines: the white space within them is left as it is.")
    return found


def _spellings(work: _Work, proposals: Sequence[Proposal], measured: Measured) -> Found:
    found = nothing()
    others = (one for one in proposals if not isinstance(one.rule, Trim | InnerSpace | NullTokens))
    taken = {name for one in others for name in one.columns}
    if not measured.files:
        return found
    with work.room.connect() as connection:
        rows, columns = _columns_of(work, connection, proposals, measured)
        for one in columns:
            is_open = one.column.type == TEXT and one.column.name not in taken and rows
            if is_open and one.distinct <= 1.2 * MOST_VALUES:  # the estimate is not exact
                values = relations.categories_of(connection, measured.relation, one.column, MOST_VALUES)
                found.take(propose_spellings(one.column.name, [Category(text, n) for text, n in values.items()]))
    return found


def _columns_of(
    work: _Work, connection: duckdb.DuckDBPyConnection, proposals: Sequence[Proposal], measured: Measured
) -> tuple[int, list[relations.Filled]]:
    recipe = recipe_with(one.rule for one in proposals)
    columns = compile_recipe(recipe, work.rows.names).first.columns
    return relations.look_at_columns(connection, measured.relation, columns)


def _of_all(work: _Work, proposals: Sequence[Proposal], measured: Measured) -> Found:
    """Rules that need all rows, and what all rows say of each."""
    found = nothing()
    if not measured.files:
        return found
    with work.room.connect() as connection:
        rows, columns = _columns_of(work, connection, proposals, measured)
        if empty := relations.empty_columns(rows, columns):
            work.notes.append(f"No row has anything in {', '.join(empty[:10])}{' …' if len(empty) > 10 else ''}.")
        found.proposals += relations.propose_required(rows, columns)
        different = relations.different_rows(connection, measured.relation, columns)
        keys = relations.find_keys(connection, measured.relation, rows, columns, different)
        if different < rows and keys:
            found.proposals.append(relations.propose_duplicates())
        elif different < rows:
            rule = relations.propose_duplicates().rule
            again = counted(rows - different, "row")
            asks = f"{again} say the same as others, and no column numbers the rows. Are they there by mistake?"
            found.questions.append(Question((), asks, (Choice("The first of them stays.", rule),)))
        found.proposals += relations.propose_unique(keys)
        found.proposals += grouped(relations.propose_outliers(rows, columns, keys))
        found.proposals += relations.propose_dependencies(connection, measured.relation, rows, columns)
    return found
