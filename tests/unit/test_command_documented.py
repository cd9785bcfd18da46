"""The page of the operator's command names all that there is, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from deploy.cli import cli
from deploy.exits import Exit

_PAGE = (Path(__file__).parents[2] / "docs" / "operating" / "command.md").read_text()
_TABLE = _PAGE.partition("## Every command")[2]
_CODES = _PAGE[_PAGE.index("| exit code |") :].partition("\n\n")[0]


def _commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from _commands(command, (*words, name))
            else:
                yield " ".join((*words, name)), command


def _row(command: click.Command) -> str:
    """What the table has to say of its arguments and options."""
    arguments = [f" {_shown(one)}" for one in command.params if isinstance(one, click.Argument)]
    options = [
        f"`{'`, `'.join(sorted(one.opts + one.secondary_opts, key=len))}`"
        for one in command.params
        if isinstance(one, click.Option)
    ]
    return "".join(arguments) + "` | " + ", ".join(options)


def _shown(argument: click.Argument) -> str:
    name = f"<{(argument.name or '').removesuffix('_id').removesuffix('s')}>"
    name += "…" if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def test_every_command_with_every_flag_is_in_the_table_of_the_page() -> None:
    """`rebuild --yes` was in no page, as little as half of the others."""
    wanted = {f"| `{name}{_row(command)} |".replace("  |", " |") for name, command in _commands(cli)}
    there = {line for line in _TABLE.splitlines() if line.startswith("| `")}
    assert there == wanted


def test_every_flag_that_the_page_speaks_of_is_one() -> None:
    flags = {flag for _, command in _commands(cli) for one in command.params for flag in one.opts + one.secondary_opts}
    of_others = {"--clean"}
    assert set(re.findall(r"--[a-z][a-z-]+", _PAGE)) <= flags | of_others


def test_every_exit_code_is_in_the_page_and_in_the_help() -> None:
    codes = {str(code.value) for code in Exit}
    assert set(re.findall(r"^\| (\d+) \|", _CODES, re.MULTILINE)) == codes
    told = (cli.help or "").partition("Exit codes:")[2]
    assert set(re.findall(r"\b\d+\b", told)) == codes


def test_keys_are_offered_the_scopes_that_open_something() -> None:
    """It offered those of meetings and auctions, which nothing asks for here."""
    (create,) = [command for name, command in _commands(cli) if name == "keys create"]
    (scope,) = [one for one in create.params if one.name == "scopes"]
    assert isinstance(scope.type, click.Choice)
    assert list(scope.type.choices) == [
        "events:read", "jobs:read", "jobs:write", "keys:admin", "ops", "uploads:write", "workflows:read",
        "workflows:write", "all",
    ]  # fmt: skip
