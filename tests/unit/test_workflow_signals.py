"""A signal that nobody can hear, and an answer that answers nothing, are refused."""

from collections.abc import Mapping
from typing import Any

import pytest

from events.errors import InvalidInput
from fixtures.engine import planned
from processor.workflows.signals import check_signal

PLAN = planned(
    {
        "steps": {
            "go": {"wait": {"signal": "go.on"}},
            "ask": {"uses": "approve", "with": {"question": "Now?"}},
            "each": {
                "wait": {"approval": "This?"},
                "map": {"items": [1, 2, 3]},
                "compensate": {"wait": {"approval": "Back?"}},
            },
            "every": {"wait": {"signal": "next"}, "map": {"items": [1, 2]}},
        },
        "on_exit": {"wait": {"signal": "bye"}},
    }
)
YES = {"approved": True, "comment": "Fine."}
NO = {"approved": False, "by": "somebody"}
ALL = "go.on, ask, each.<item>, next, compensate.each.<item>, bye"


def refused(name: str, data: Any, items: Mapping[str, int] | None = None) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as wrong:
        check_signal(PLAN, items or {}, name, data)
    (error,) = wrong.value.errors
    return error.field, error.detail


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *[("go.on", data) for data in (None, {}, 1, YES)],
        *[(name, data) for name in ("ask", "each.0", "each.7", "compensate.each.2") for data in (YES, NO)],
        ("next", None),
        ("bye", "x"),
        ("ask", {"approved": True, "comment": None}),
    ],
)
def test_what_a_step_can_wait_for_is_taken(name: str, data: Any) -> None:
    check_signal(PLAN, {}, name, data)


@pytest.mark.parametrize(
    "name", ["nobody", "each", "ask.0", "next.0", "each.", "each.x", "each.-1", "each.01", "each.0.0", "7", "on_exit"]
)
def test_a_name_that_no_step_waits_for_is_refused_and_those_that_there_are_are_told(name: str) -> None:
    field, detail = refused(name, YES)
    assert (field, detail) == ("path.name", f"No step of this job ever waits for the signal {name}. There are: {ALL}.")


def test_an_item_that_a_map_does_not_have_is_refused_once_its_length_is_known() -> None:
    for name in ("each.2", "compensate.each.2"):
        check_signal(PLAN, {"each": 3}, name, YES)
    assert "each.<item> (of 3, from 0)" in refused("each.3", YES, {"each": 3})[1]
    assert refused("compensate.each.3", YES, {"each": 3})[0] == "path.name"


def test_a_job_that_waits_for_nothing_says_so() -> None:
    with pytest.raises(InvalidInput, match=r"the signal x\. They wait for none\.$"):
        check_signal(planned({"steps": {"a": {"uses": "noop"}}}), {}, "x", None)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        *[(data, "body") for data in (None, True, "yes", [YES])],
        *[(data, "body.approved") for data in ({}, {"approve": True}, {"approved": "true"}, {"approved": 1})],
        ({"approved": None}, "body.approved"),
        ({"approved": True, "comment": 3}, "body.comment"),
    ],
)
def test_an_answer_that_is_no_yes_and_no_no_is_refused(data: Any, field: str) -> None:
    """It counted as a no, for good."""
    assert refused("ask", data)[0] == refused("each.1", data)[0] == field
