"""Which signals a job's steps can ever wait for, and what an approval takes."""

from collections.abc import Mapping
from typing import Any

from events.errors import FieldError, InvalidInput
from processor.workflows.plan import COMPENSATE, Kind, Plan

_MOST_TOLD = 20


def check_signal(plan: Plan, items: Mapping[str, int], name: str, data: Any) -> None:
    """`items` is how many there are of each map, as far as that is known."""
    kinds: set[Kind] = set()
    heard: list[str] = []
    for action in plan.actions():
        step = plan.steps.get(action.name.removeprefix(COMPENSATE))
        signal = action.signal(None)
        if signal is None:
            continue
        if action.kind is Kind.SIGNAL or step is None or step.items is None:
            heard.append(signal)
            if name == signal:
                kinds.add(action.kind)
            continue
        count = items.get(action.name.removeprefix(COMPENSATE))
        heard.append(f"{signal}.<item>" if count is None else f"{signal}.<item> (of {count}, from 0)")
        if _is_item(name.removeprefix(f"{signal}."), count) and name.startswith(f"{signal}."):
            kinds.add(action.kind)
    if not kinds:
        detail = f"No step of this job ever waits for the signal {name}. {_there_are(heard)}"
        raise InvalidInput(detail, errors=[FieldError("path.name", "unknown_signal", detail)])
    if Kind.APPROVAL in kinds:
        _check_answer(data)


def _is_item(text: str, count: int | None) -> bool:
    return text.isascii() and text.isdecimal() and str(int(text)) == text and (count is None or int(text) < count)


def _there_are(heard: list[str]) -> str:
    if not heard:
        return "They wait for none."
    names = list(dict.fromkeys(heard))
    return f"There are: {', '.join(names[:_MOST_TOLD])}{' …' if len(names) > _MOST_TOLD else ''}."


def _check_answer(data: Any) -> None:
    if not isinstance(data, dict):
        raise _wrong("body", "wrong_type", 'An approval is answered by {"approved": true} or {"approved": false}.')
    if "approved" not in data:
        raise _wrong("body.approved", "missing", "An approval must say whether it is approved.")
    if not isinstance(data["approved"], bool):
        raise _wrong("body.approved", "wrong_type", "This must be true or false.")
    if not isinstance(data.get("comment"), str | None):
        raise _wrong("body.comment", "wrong_type", "A comment is a text.")


def _wrong(field: str, code: str, detail: str) -> InvalidInput:
    return InvalidInput(detail, errors=[FieldError(field, code, detail)])
