"""The engine against a model of its rules, whatever happens. `make soak` does the same, for hours and with dice."""

from collections.abc import Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from fixtures.engine_documents import Dice
from fixtures.engine_world import World, live

T = TypeVar("T")


class _Drawn:
    """Hypothesis decides, so that it finds the shortest history of a failure."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def of(self, options: Sequence[T]) -> T:
        chosen: T = self.data.draw(st.sampled_from(options))
        return chosen

    def whether(self, percent: int) -> bool:
        return bool(self.data.draw(st.integers(0, 99)) >= 100 - percent)


class Histories(RuleBasedStateMachine):
    @initialize(data=st.data())
    def open(self, data: Any) -> None:
        self.choose = _Drawn(data)
        self.world = World(self.choose)

    @rule(data=st.data())
    def move(self, data: Any) -> None:
        self.choose.data = data
        move = self.choose.of(self.world.moves)
        move()

    @rule(data=st.data())
    def end(self, data: Any) -> None:
        self.choose.data = data
        self.world.drain()


def test_no_history_breaks_the_rules() -> None:
    examples = settings(
        max_examples=100,
        stateful_step_count=30,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Histories, settings=examples)


@pytest.mark.parametrize("hundred", range(10))
def test_no_diced_history_breaks_the_rules(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * (hundred + 1)):
        live(Dice(seed), moves=40)
