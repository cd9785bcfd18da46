"""A recipe that is proposed for a file: conservative, and with what it would do to all rows, by having done it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from processor.cleaning.reading.decisions import counted
from processor.cleaning.reading.kinds import Column
from processor.cleaning.reading.options import Options
from processor.cleaning.recipe.passes import OutColumn
from processor.cleaning.recipe.rules.text import InnerSpace, NullTokens, Trim
from processor.cleaning.room import Room
from processor.cleaning.running import interruptible
from processor.cleaning.sql import TEXT
from processor.cleaning.suggesting import relations
from processor.cleaning.suggesting.categories import MOST_VALUES, Category, propose_spellings
from processor.cleaning.suggesting.contents import propose_contents
from processor.cleaning.suggesting.proposal import Choice, Found, Proposal, Question, grouped, nothing
from processor.cleaning.suggesting.rows import Rows, gather
from processor.cleaning.suggesting.telling import told
from processor.cleaning.suggesting.trial import Trial
from processor.cleaning.suggesting.typed import propose_type
from processor.cleaning.suggesting.values import Sample, white_space
from processor.cleaning.survey import Survey, opened, survey
from processor.step import Report

_SURVEYED, _GATHERED, _LOOKED, _TRIED, _RELATED = 0.05, 0.25, 0.45, 0.75, 0.85  # shares of the whole

_MOST_COLUMNS = 1_000  # that are looked at
_LONGEST_NAME = 1_000  # that a recipe may have


@dataclass(frozen=True, slots=True)
class Wish:
    most_rejects: float  # the share of the rows that the rules may reject, all together
    sample: int  # rows that are looked at to have ideas


class _Work:
    """All that the looks at one file share."""

    def __init__(self, rows: Rows, wish: Wish, room: Room, report: Report) -> None:
        self.rows = rows
        self.wish = wish
        self.room = room
        self.folder = Path(room.scratch, "suggested")
        self.notes: list[str] = []
        self._report = report
        self._said: tuple[float, str] = (_GATHERED, "Looking at the columns")

    def tell(self, share: float, message: str) -> None:
        self._said = max(share, self._said[0]), message  # what is tried again is no step back
        self.look()

    def look(self) -> None:
        self._report(*self._said)

    @contextmanager
    def connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self.room.connect() as connection, interruptible(connection, self.look):
            yield connection

    def tried(self, trial: Trial, proposals: Sequence[Proposal], begin: float, end: float) -> None:
        said = f"Trying {counted(len(proposals), 'rule')} on all rows"
        self.tell(begin, said)
        rules = [one.rule for one in proposals]
        trial.try_rules(rules, lambda share: self.tell(begin + (end - begin) * share, said))


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
    proposals, trial = _settled(work, of_rows.proposals)
    spelt = _spellings(work, proposals, trial)
    if spelt.proposals:
        work.tried(trial, spelt.proposals, _TRIED, _RELATED)
    of_all = _of_all(work, trial)
    work.tried(trial, of_all.proposals, _RELATED, 1.0)
    proposals = [*proposals, *spelt.proposals, *of_all.proposals]
    questions = [*of_rows.questions, *spelt.questions, *of_all.questions]
    return told(found, rows, proposals, trial.counts, questions, work.notes)


def _of_rows(work: _Work, found: Survey) -> Found:
    """Rules that look at one row by itself."""
    looked = nothing()
    columns = [column for column in found.decisions.columns[:_MOST_COLUMNS] if _can_be_named(column.name)]
    if len(columns) < len(work.rows.names):
        work.notes.append(f"Of {len(work.rows.names):,} columns, {len(columns):,} were looked at.")
    names = tuple(column.name for column in columns)
    texts = tuple(column.name for column in columns if column.kind.value.kind == "text")
    if not work.rows.count:
        return looked
    nulls, typed = list[Proposal](), nothing()
    with work.connected() as connection:
        sample = Sample(connection, work.rows, work.wish.sample)
        looked.proposals += _of_white_space(work, connection, names, texts)
        for at, column in enumerate(columns):
            work.tell(_GATHERED + (_LOOKED - _GATHERED) * at / len(columns), f"Looking at {column.name:.60}")
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


def _can_be_named(column: str) -> bool:
    """In a recipe."""
    return len(column) <= _LONGEST_NAME and "\0" not in column


def _words(sample: Sample, column: Column) -> tuple[str, ...]:
    """For nothing. In a column of text, most of the usual ones may be values."""
    kind = column.kind.value
    words = {word.lower() for word in kind.nulls}
    if kind.kind != "text":
        words |= {*sample.words_for_nothing(column.name)}
    words -= {word.lower() for word in (*kind.true, *kind.false)}
    return tuple(sorted(word for word in words if word and _can_be_named(word)))


def _of_white_space(
    work: _Work, connection: duckdb.DuckDBPyConnection, names: Sequence[str], texts: Sequence[str]
) -> Iterator[Proposal]:
    around, within, lines = white_space(connection, work.rows, _MOST_COLUMNS)
    if columns := [name for name in names if name in around]:
        yield Proposal(Trim(columns=tuple(columns)), "White space before and after a value says nothing.")
    if columns := [name for name in texts if name in within and name not in lines]:
        why = "Several blanks within a text, and other white space than blanks, say no more than one blank."
        yield Proposal(InnerSpace(columns=tuple(columns)), why)
    if columns := [name for name in texts if name in lines]:
        some = f"{', '.join(columns[:10])}{' …' if len(columns) > 10 else ''}"
        work.notes.append(f"There are texts of several lines, and the white space within stays as it is: {some}.")


def _settled(work: _Work, proposals: Sequence[Proposal]) -> tuple[list[Proposal], Trial]:
    """Without what rejects too much."""
    left = list(proposals)
    while True:
        trial = Trial(work.rows, work.folder, work.room, work.look)
        work.tried(trial, left, _LOOKED, _TRIED)
        too_much = _too_much(work, left, trial)
        if not too_much:
            return left, trial
        left = [reduced for at, one in enumerate(left) if (reduced := _without(one, too_much.get(at, ()))) is not None]


def _too_much(work: _Work, proposals: Sequence[Proposal], trial: Trial) -> dict[int, list[str]]:
    """By rule, the columns for which it rejects more rows than are left for it."""
    room = int(work.wish.most_rejects * work.rows.count)
    over: dict[int, list[str]] = {}
    for (at, column), count in sorted(trial.counts.rejects.items(), key=lambda one: (one[1], one[0][0])):
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


def _spellings(work: _Work, proposals: Sequence[Proposal], trial: Trial) -> Found:
    found = nothing()
    others = (one for one in proposals if not isinstance(one.rule, Trim | InnerSpace | NullTokens))
    taken = {name for one in others for name in one.columns}
    if not trial.counts.rows:
        return found
    with work.connected() as connection:
        _, columns = relations.look_at_columns(connection, trial.relation, _looked_at(trial))
        for one in columns:
            is_open = one.column.type == TEXT and one.column.name not in taken
            if is_open and one.distinct <= 1.2 * MOST_VALUES:  # the estimate is not exact
                values = relations.categories_of(connection, trial.relation, one.column, MOST_VALUES)
                found.take(propose_spellings(one.column.name, [Category(text, n) for text, n in values.items()]))
    return found


def _looked_at(trial: Trial) -> list[OutColumn]:
    return [column for column in trial.columns[:_MOST_COLUMNS] if _can_be_named(column.name)]


def _of_all(work: _Work, trial: Trial) -> Found:
    """Rules that need all rows, and what all rows say of each."""
    found = nothing()
    if not trial.counts.rows:
        return found
    relation = trial.relation
    with work.connected() as connection:
        rows, columns = relations.look_at_columns(connection, relation, _looked_at(trial))
        if empty := relations.empty_columns(rows, columns):
            work.notes.append(f"No row has anything in {', '.join(empty[:10])}{' …' if len(empty) > 10 else ''}.")
        found.proposals += relations.propose_required(rows, columns)
        different = relations.different_rows(connection, relation, trial.columns)
        keys = relations.find_keys(connection, relation, rows, columns, different)
        if different < rows and keys:
            found.proposals.append(relations.propose_duplicates())
        elif different < rows:
            rule = relations.propose_duplicates().rule
            again = counted(rows - different, "row")
            asks = f"{again} say the same as others, and no column numbers the rows. Are they there by mistake?"
            found.questions.append(Question((), asks, (Choice("The first of them stays.", rule),)))
        found.proposals += relations.propose_unique(keys)
        found.proposals += grouped(relations.propose_outliers(columns, keys))
        found.proposals += relations.propose_dependencies(connection, relation, rows, columns)
    return found
