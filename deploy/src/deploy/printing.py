"""What `millrace` prints: tables and bars for people, JSON for programs, and remarks beside both, on stderr."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_AS_WIDE_AS_IT_IS = 10_000  # where no terminal cuts lines, neither do we
_COLOURS = {
    "ok": "green", "COMPLETED": "green",
    "warn": "yellow", "FAILED": "red", "wrong": "bold red", "down": "bold red",
    "PROCESSING": "cyan", "skipped": "dim", "CANCELLED": "dim",
}  # fmt: skip


class Advance(Protocol):
    def __call__(self, done: int, total: int) -> None: ...


def note(sentence: str) -> None:
    click.echo(sentence, err=True)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Cells as they are, each row on one line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper().replace("_", " "), no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*[_cell(row[column]) for column in columns])
    console = _console()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as printed:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


def print_facts(facts: Mapping[str, Any]) -> None:
    """One thing, a fact a line."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        _console().print(Text(f"{name:{width}}  ", style="bold").append(_cell(value)), soft_wrap=True)


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, nothing: str) -> None:
    """A list, or a remark that there is nothing in it."""
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows, columns)
    else:
        note(nothing)


@contextmanager
def progress(what: str) -> Iterator[Advance]:
    """A bar on a terminal, and nothing elsewhere."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def reason(error: BaseException) -> str:
    """What it says, in one line. Some say nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def age(since: datetime | None) -> str:
    if since is None:
        return ""
    seconds = max((datetime.now(UTC) - since).total_seconds(), 0)
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _console() -> Console:
    width = None if sys.stdout.isatty() else _AS_WIDE_AS_IT_IS
    return Console(width=width, highlight=False, markup=False, emoji=False)


def _cell(value: Any) -> Text:
    text = "" if value is None else _plain(value) if isinstance(value, datetime) else str(value)
    return Text(_printable(text), style=_COLOURS.get(text, ""))


def _printable(text: str) -> str:
    """What others have written may not move our reader's cursor."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)
