"""What several commands have in common: their options, and that they run on a loop."""

import functools
import math
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import click
import uvloop

P = ParamSpec("P")


class Number(click.FloatRange):
    """Of a range. `nan` is in all of them: it is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


POSITION = click.IntRange(0, 2**63 - 1)  # what PostgreSQL takes for one

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
tenant = click.option("--tenant", help="Only of this tenant. Otherwise of all.")
limit = click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")


def on_a_loop(command: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        uvloop.run(command(*args, **kwargs))

    return run
