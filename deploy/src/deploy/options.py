"""What several commands have in common: their options, and that they run on a loop."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import click
import uvloop

P = ParamSpec("P")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
tenant = click.option("--tenant", help="Only of this tenant. Otherwise of all.")
limit = click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")


def on_a_loop(command: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        uvloop.run(command(*args, **kwargs))

    return run
