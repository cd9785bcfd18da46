"""How a step, an item of a map, a compensation or the exit begins: it works, waits, is skipped, or fails at once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from events.ids import derived_id
from events.jobs import Change, StepStatus
from processor.language import durations
from processor.language.expressions import ExpressionError, as_text
from processor.workflows.facts import Fact, expression_failed, with_item
from processor.workflows.limits import Limits
from processor.workflows.plan import Kind, PlannedAction
from processor.workflows.scope import items_of, parameters_of, value_of
from processor.workflows.state import JobState, Key


def begin_step(state: JobState, name: str, now: datetime, limits: Limits) -> Iterator[Fact]:
    step = state.plan.steps[name]
    key = (name, None)
    try:
        if step.action.when is not None and not value_of(state, step.action.when):
            yield {"step": name, "became": StepStatus.SKIPPED}
            return
        if step.items is None:
            yield begun(state, key, step.action, now, limits)
            return
        count = len(items_of(state, name))
    except ExpressionError as wrong:
        yield {"step": name, "became": StepStatus.FAILED, "error": expression_failed(wrong)}
        return
    if count > limits.largest_map:
        detail = f"The map has {count} items; {limits.largest_map} are allowed."
        yield {"step": name, "became": StepStatus.FAILED, "error": {"code": "map_too_large", "detail": detail}}
        return
    yield {"step": name, "became": StepStatus.RUNNING, "items": count}


def begin_action(state: JobState, key: Key, action: PlannedAction, now: datetime, limits: Limits) -> Iterator[Fact]:
    skipped: Change = {"step": key[0], "became": StepStatus.SKIPPED}
    try:
        if action.when is not None and not value_of(state, action.when, key):
            yield with_item(skipped, key)
            return
    except ExpressionError as wrong:
        yield with_item({"step": key[0], "became": StepStatus.FAILED, "error": expression_failed(wrong)}, key)
        return
    yield begun(state, key, action, now, limits)


def begun(state: JobState, key: Key, action: PlannedAction, now: datetime, limits: Limits, attempt: int = 1) -> Change:
    """An action's attempt begins: it works, or waits for a time or a message."""
    change: Change = {"step": key[0], "became": StepStatus.RUNNING}
    if key[1] is not None:
        change["item"] = key[1]
    if attempt > 1:
        change["attempt"] = attempt
    if action.kind.works:
        return change
    change["became"] = StepStatus.WAITING
    seconds = longest_wait(state, key, action, limits)
    due = None if seconds is None else now + timedelta(seconds=seconds)
    try:
        if action.kind is Kind.TIMER:
            due = _in_seconds(now, parameters_of(state, key, action))
        elif action.kind is Kind.UNTIL:
            due = _at(parameters_of(state, key, action))
        elif action.kind is Kind.APPROVAL:
            change["output"] = {"question": as_text(parameters_of(state, key, action))}
    except ExpressionError as wrong:
        change["became"] = StepStatus.FAILED
        change["error"] = expression_failed(wrong)
        return change
    if action.kind in (Kind.WORKFLOW, Kind.REMOTE):
        change["child"] = str(derived_id(state.id, f"{key[0]}:{key[1]}:{attempt}"))
    if due is not None:
        change["due_at"] = due.isoformat()
    return change


def longest_wait(state: JobState, key: Key, action: PlannedAction, limits: Limits) -> float | None:
    """No cancel ends what undoes a step, so that it needs a time of its own."""
    return action.timeout or (None if key[0] in state.plan.steps else limits.step_seconds)


def _in_seconds(now: datetime, said: Any) -> datetime:
    seconds = durations.seconds(said)
    if seconds is None or not 0 <= seconds <= durations.LONGEST:
        raise ExpressionError("type", f"{said!r:.60} is no number of seconds, nor a time like 1h30m, up to a year.")
    return now + timedelta(seconds=seconds)


def _at(said: Any) -> datetime:
    try:
        at = datetime.fromisoformat(said)
    except (TypeError, ValueError):
        raise ExpressionError("type", f"{said!r:.60} is no time like 2026-01-31T12:00:00Z.") from None
    if at.tzinfo is None:
        raise ExpressionError("type", f"{said!r:.60} does not say its time zone.")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ExpressionError("type", f"{said!r:.60} is beyond the calendar.") from None
