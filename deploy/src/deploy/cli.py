"""The operator's command, `millrace`: which commands there are, and how it ends."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version

import click
import structlog

from deploy.exits import Exit, print_failure, sentences

# Each command is imported when it is called: completion, and whoever wants one, does not wait for the others.
COMMANDS: Mapping[str, str] = {
    "up": "deploy.commands.up:up",
    "stack": "deploy.commands.stack:stack",
    "migrate": "deploy.commands.migrate:migrate",
    "provision": "deploy.commands.migrate:provision",
    "doctor": "deploy.commands.doctor:doctor",
    "log": "deploy.commands.log:log",
    "jobs": "deploy.commands.jobs:jobs",
    "dead-letters": "deploy.commands.dead_letters:dead_letters",
    "keys": "deploy.commands.keys:keys",
    "new-key": "deploy.commands.keys:new_key",
    "rebuild": "deploy.commands.rebuild:rebuild",
    "replay": "deploy.commands.replay:replay",
    "backup": "deploy.commands.backup:backup",
    "restore": "deploy.commands.restore:restore",
    "completion": "deploy.commands.completion:completion",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # as `| head` has it; click would call that 1
            _say_nothing_more()
            ctx.exit(Exit.READER_GONE)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("millrace-deploy"), prog_name="millrace")
def cli() -> None:
    """Runs Millrace, and keeps it in order.

    \b
    What a command is about is told by the environment:
      MILLRACE_DATABASE_URL   a deployment anywhere, as the owner of its schemas (millrace_owner)
      MILLRACE_DATA_DIR       else what `make run` or `make stack` keeps there (.millrace)

    \b
    Exit codes: 0 done, and nothing is wrong · 1 something is wrong, or could not be done · 2 wrong arguments or
    settings · 3 the database, the broker or the gateway does not answer · 4 there is no such thing, it is in the
    wrong state, or you may not · 70 a bug of ours · 130 interrupted · 141 its reader went away
    """


def main() -> None:
    # Remarks of the parts that a command is wired from go where ours go. `up` and `stack` have logs of their own.
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    # What it says of each connection that fails, it raises as well, and we tell that.
    logging.getLogger("aiormq").addHandler(logging.NullHandler())
    run(sys.argv[1:])


def run(arguments: Sequence[str]) -> None:
    code: object = None
    as_json = "--json" in arguments
    try:
        with sentences(trace=os.environ.get("MILLRACE_LOG_LEVEL") == "DEBUG", as_json=as_json):
            code = cli.main(arguments, prog_name="millrace", standalone_mode=False)
    except click.ClickException as wrong:
        wrong.show()
        if as_json:
            print_failure("usage", wrong.format_message(), wrong.exit_code)
        sys.exit(wrong.exit_code)
    except click.Abort as ended:
        interrupted = isinstance(ended.__cause__, KeyboardInterrupt)
        click.echo("Interrupted." if interrupted else "Nothing was done.", err=True)
        sys.exit(Exit.INTERRUPTED if interrupted else Exit.WRONG)
    sys.exit(code if isinstance(code, int) else Exit.FINE)


def _say_nothing_more() -> None:
    """What is still to be written would be complained of at the very end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
