"""The checks of what is done: by a step, to undo one, or at the end."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from processor.handlers import Handler
from processor.language import durations
from processor.language.definition import QUEUE_PATTERN, REMOTE
from processor.language.expressions import ExpressionError, condition
from processor.language.inputs import Inputs, may_be_told, names_problems, value_problems
from processor.language.json_schemas import Schema, Validator, compiled, errors
from processor.language.parameters import Holes, expressions_in, misfit_of, misfits
from processor.language.problems import Path, Problem, did_you_mean, shortened
from processor.language.scopes import ANYTHING, Scope, reference_problems
from processor.language.values import values_in

Workflows: TypeAlias = Callable[[str, int | None], Inputs | None]

MOST_GIVEN = 10_000  # values in one `with`: what is larger belongs into inputs, or into a blob

_KINDS = ("uses", "workflow", "wait")
_WAITS = ("timer", "until", "signal", "approval")
_TIMER: Schema = {"type": ["number", "string"]}
_TEXT: Schema = {"type": "string"}


class Actions:
    """Of one document. What it compiles is used for all of its steps."""

    def __init__(self, workflow: Any, handlers: Mapping[str, Handler], workflows: Workflows) -> None:
        self._workflow = workflow
        self._handlers = handlers
        self._workflows = workflows
        self._compiled: dict[tuple[Any, ...], Validator] = {}

    def output(self, action: Mapping[str, Any]) -> Schema:
        """What is known of what it gives."""
        uses = action.get("uses")
        return self._handlers[uses].output if isinstance(uses, str) and uses in self._handlers else ANYTHING

    def problems(self, action: Mapping[str, Any], path: Path, seen: Scope, seen_when: Scope) -> Iterator[Problem]:
        """`seen` by what it is given, `seen_when` by its condition."""
        yield from self._kind_problems(action, path)
        if values_in(action.get("with"), MOST_GIVEN) > MOST_GIVEN:
            yield Problem.at((*path, "with"), "too_large", f"A step may be given at most {MOST_GIVEN} values.")
            return
        if isinstance(uses := action.get("uses"), str):
            yield from self._uses_problems(uses, action, path, seen)
        if isinstance(workflow := action.get("workflow"), str):
            yield from self._workflow_problems(workflow, action, path, seen)
        if isinstance(wait := action.get("wait"), dict):
            yield from _wait_problems(wait, (*path, "wait"), seen)
        if isinstance(when := action.get("when"), str):
            yield from condition_problems(when, (*path, "when"), seen_when)
        yield from duration_problems(action.get("timeout"), (*path, "timeout"), above_zero=True)
        if "timeout" in action and (of_its_own := _with_its_own_time(action)) is not None:
            detail = f"A {of_its_own} ends at its own time, and no timeout ends it sooner: leave `timeout` out."
            yield Problem.at((*path, "timeout"), "not_here", detail)
        if isinstance(retry := action.get("retry"), dict):
            yield from duration_problems(retry.get("backoff"), (*path, "retry", "backoff"))
            yield from duration_problems(retry.get("cap"), (*path, "retry", "cap"))

    def _kind_problems(self, action: Mapping[str, Any], path: Path) -> Iterator[Problem]:
        kinds = [kind for kind in _KINDS if kind in action]
        if len(kinds) != 1:
            detail = f"There must be exactly one of uses, workflow and wait, not {' and '.join(kinds) or 'none'}."
            yield Problem.at(path, "choose_one", detail)
        if "version" in action and "workflow" not in action:
            yield Problem.at((*path, "version"), "not_here", "A version belongs to a workflow.")
        if "with" in action and kinds == ["wait"]:
            yield Problem.at((*path, "with"), "not_here", "A wait is given nothing: leave `with` out.")

    def _uses_problems(self, uses: str, action: Mapping[str, Any], path: Path, seen: Scope) -> Iterator[Problem]:
        given = action.get("with", {})
        found: list[Problem] = []
        holes = expressions_in(given, (*path, "with"), seen, found)
        yield from found
        if uses.startswith(REMOTE):
            if not re.fullmatch(QUEUE_PATTERN[:-1], uses.removeprefix(REMOTE)):
                detail = "A queue's name is a small letter, then up to 63 small letters, digits, ., _ or -."
                yield Problem.at((*path, "uses"), "wrong_form", detail)
            return
        handler = self._handlers.get(uses)
        if handler is None:
            hint = did_you_mean(uses, self._handlers)
            yield Problem.at((*path, "uses"), "unknown_handler", f"There is no handler {shortened(uses)}.{hint}")
        elif isinstance(given, dict):
            validator = self._validator(("uses", uses), handler.parameters)
            yield from misfits(errors(validator, given), holes, handler.parameters, (*path, "with"), seen)

    def _workflow_problems(self, name: str, action: Mapping[str, Any], path: Path, seen: Scope) -> Iterator[Problem]:
        given, version = action.get("with", {}), action.get("version")
        found: list[Problem] = []
        holes = expressions_in(given, (*path, "with"), seen, found)
        yield from found
        if name == self._workflow:
            yield Problem.at((*path, "workflow"), "recursion", "A workflow cannot be a step of itself.")
            return
        if not isinstance(version, int | None) or isinstance(version, bool):
            return
        inputs = self._workflows(name, version)
        if inputs is None:
            which = shortened(name) if version is None else f"{shortened(name)} in version {version}"
            yield Problem.at((*path, "workflow"), "unknown_workflow", f"There is no workflow {which}.")
        elif isinstance(given, dict):
            yield from names_problems(inputs, given, (*path, "with"))
            for parameter in given.keys() & inputs.keys():
                within: Holes = {where[1:]: hole for where, hole in holes.items() if where[0] == parameter}
                schema, value, place = inputs[parameter], given[parameter], (*path, "with", parameter)
                validator = self._validator(("workflow", name, version, parameter), schema)
                if within and may_be_told(schema, value):
                    yield from misfits(errors(validator, value), within, schema, place, seen)
                elif not within:
                    yield from value_problems(validator, schema, value, place)

    def _validator(self, key: tuple[Any, ...], schema: Schema) -> Validator:
        if key not in self._compiled:
            self._compiled[key] = compiled(schema)
        return self._compiled[key]


def condition_problems(text: str, path: Path, seen: Scope) -> Iterator[Problem]:
    try:
        expression = condition(text)
    except ExpressionError as wrong:
        yield Problem.at(path, wrong.code, wrong.detail)
    else:
        yield from reference_problems(expression, seen, path)


def duration_problems(value: Any, path: Path, *, above_zero: bool = False) -> Iterator[Problem]:
    """Of one that is written as text; the others' are those of the shape."""
    seconds = durations.seconds(value) if isinstance(value, str) else None
    if seconds is not None and (seconds > durations.LONGEST or (above_zero and seconds == 0)):
        least = "above" if above_zero else "at least"
        yield Problem.at(path, "out_of_range", f"A duration must be {least} 0 and at most 366d.")


def _with_its_own_time(action: Mapping[str, Any]) -> str | None:
    if action.get("uses") == "sleep":
        return "sleep"
    wait = action.get("wait")
    kinds = [kind for kind in _WAITS if kind in wait] if isinstance(wait, dict) else []
    return {"timer": "wait for a timer", "until": "wait until a time"}.get(kinds[0]) if len(kinds) == 1 else None


def _wait_problems(wait: Mapping[str, Any], path: Path, seen: Scope) -> Iterator[Problem]:
    kinds = [kind for kind in _WAITS if kind in wait]
    if len(kinds) != 1:
        detail = f"There must be exactly one of timer, until, signal and approval, not {' and '.join(kinds) or 'none'}."
        yield Problem.at(path, "choose_one", detail)
    for kind, wanted in (("timer", _TIMER), ("until", _TEXT), ("approval", _TEXT)):
        found: list[Problem] = []
        holes = expressions_in(wait.get(kind), (*path, kind), seen, found)
        yield from found
        for template in holes.values():
            misfit = None if template is None else misfit_of(template, wanted, seen)
            if misfit is not None:
                yield Problem.at((*path, kind), "wrong_type", misfit)
        if not holes:
            yield from _literal_problems(kind, wait.get(kind), (*path, kind))


def _literal_problems(kind: str, value: Any, path: Path) -> Iterator[Problem]:
    if kind == "timer" and isinstance(value, str) and durations.seconds(value) is None:
        detail = "A duration is a number of seconds, or a text such as 30s, 5m, 1h30m or 1d."
        yield Problem.at(path, "wrong_form", detail)
    elif kind == "timer" and isinstance(value, str | int | float):
        seconds = durations.seconds(value)
        if seconds is not None and not 0 <= seconds <= durations.LONGEST:
            yield Problem.at(path, "out_of_range", "A duration must be at least 0 and at most 366d.")
    elif kind == "until" and isinstance(value, str) and not _is_time(value):
        yield Problem.at(path, "wrong_form", "A time is written like 2027-03-01T08:00:00Z, with its offset from UTC.")


def _is_time(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", text, re.ASCII):
        return False
    try:
        datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).upper())
    except ValueError:
        return False
    return True
