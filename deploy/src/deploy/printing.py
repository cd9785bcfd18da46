"""What `millrace` prints: tables and bars for people, JSON for programs, and remarks beside both, on stderr."""

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import click
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_COLOURS = {
    "ok": "green", "COMPLETED": "green", "warn": "yellow", "FAILED": "red", "wrong": "red", "down": "red",
    "PROCESSING": "cyan",
}  # fmt: skip


class Advance(Protocol):
    def __call__(self, done: int, total: int) -> None: ...


def note(sentence: str) -> None:
    click.echo(sentence, err=True)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, header: bool = True) -> None:
    """Each row on one line, with its cells whole, on a terminal too: an id that is cut is of no use."""
    lines = [[column.upper().replace("_", " ") for column in columns]] if header else []
    lines += [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    styled = _is_styled()
    printed = [
        "  ".join(
            (_styled(cell, bold=header and number == 0) if styled else cell) + " " * (width - cell_len(cell))
            for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for number, line in enumerate(lines)
    ]
    click.echo("\n".join(printed))


def print_facts(facts: Mapping[str, Any]) -> None:
    """One thing, a fact a line."""
    width = max(map(len, facts), default=0)
    styled = _is_styled()
    for name, value in facts.items():
        label, cell = f"{name:{width}}", _cell(value)
        click.echo(f"{_styled(label, bold=True)}  {_styled(cell)}" if styled else f"{label}  {cell}".rstrip())


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
    """What it says, in one line, and of connections in words. Some say nothing."""
    said = str(error).strip().partition("\n")[0]
    behind = (error, error.__cause__)
    if any(isinstance(one, ConnectionRefusedError) for one in behind) or "Connect call failed" in said:
        return "nobody listens there (connection refused)"
    if any(isinstance(one, socket.gaierror) for one in behind):
        return "the name of its host cannot be resolved"
    if isinstance(error, TimeoutError) and not said:
        return "no answer in time"
    return said or type(error).__name__


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


def _is_styled() -> bool:
    """By the conventions of no-color.org, and of terminals that are none."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _styled(text: str, *, bold: bool = False) -> str:
    colour = _COLOURS.get(text)
    return click.style(text, fg=colour, bold=bold or None) if bold or colour else text


def _cell(value: Any) -> str:
    text = "" if value is None else _plain(value) if isinstance(value, datetime) else str(value)
    return _printable(text)


def _printable(text: str) -> str:
    """What others have written may not move our reader's cursor."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)
