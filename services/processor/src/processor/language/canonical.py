"""A document in the one way in which a `Definition` says it, and the bytes that stand for it."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec

from processor.language import durations
from processor.language.definition import Concurrency, Definition, Map, Retry, Step
from processor.language.expressions import condition, split


def definition_of(document: Mapping[str, Any]) -> Definition:
    """Of a document without problems."""
    normal = dict(document)
    normal["steps"] = {name: _step(step) for name, step in document["steps"].items()}
    for name, change in _WHOLE.items():
        if name in document:
            normal[name] = change(document[name])
    return msgspec.convert(_without_defaults(normal, Definition), Definition)


def canonical(definition: Definition) -> bytes:
    """Two documents that mean the same give the same bytes."""
    return msgspec.json.encode(definition, order="sorted")


def from_canonical(body: bytes) -> Definition:
    return msgspec.json.decode(body, type=Definition)


def _action(action: Mapping[str, Any]) -> dict[str, Any]:
    normal = dict(action)
    for name, change in _OF_ACTIONS.items():
        if name in action:
            normal[name] = change(action[name])
    return _without_defaults(normal, Step)


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    normal = _action(step)
    if "depends" in step:
        normal["depends"] = sorted(step["depends"])
    if "map" in step:
        normal["map"] = _without_defaults({**step["map"], "items": templates(step["map"]["items"])}, Map)
    if "compensate" in step:
        normal["compensate"] = _action(step["compensate"])
    return normal


def _wait(wait: Mapping[str, Any]) -> dict[str, Any]:
    normal: dict[str, Any] = templates(dict(wait))
    if "timer" in wait:
        seconds = durations.seconds(wait["timer"])
        normal["timer"] = normal["timer"] if seconds is None else seconds
    return normal


def _retry(retry: Mapping[str, Any]) -> dict[str, Any]:
    normal = dict(retry)
    for name in ("backoff", "cap"):
        if name in retry:
            normal[name] = durations.seconds(retry[name])
    if "on" in retry:
        normal["on"] = sorted(retry["on"])
    return _without_defaults(normal, Retry)


def _when(when: str | bool) -> str | None:
    """What is always true need not be said."""
    text = condition(when).text if isinstance(when, str) else "true" if when else "false"
    return None if text == "true" else text


def _concurrency(concurrency: Mapping[str, Any]) -> dict[str, Any] | None:
    if not concurrency:
        return None
    key = {"key": condition(concurrency["key"]).text} if "key" in concurrency else {}
    return _without_defaults({**concurrency, **key}, Concurrency)


def _without_defaults(given: Mapping[str, Any], struct: type[msgspec.Struct]) -> dict[str, Any]:
    """msgspec leaves out what is the very default, not what equals it."""
    defaults = _defaults(struct)
    return {name: value for name, value in given.items() if name not in defaults or value != defaults[name]}


@cache
def _defaults(struct: type[msgspec.Struct]) -> Mapping[str, Any]:
    return {field.encode_name: field.default for field in msgspec.structs.fields(struct)}


def templates(value: Any) -> Any:
    """With each expression's marks at the same distance."""
    match value:
        case str() if "${{" in value:
            return "".join(f"${{{{ {part.strip()} }}}}" if marked else part for part, marked in split(value))
        case dict():
            return {name: templates(member) for name, member in value.items()}
        case list():
            return [templates(item) for item in value]
        case _:
            return value


_OF_ACTIONS: Mapping[str, Callable[[Any], Any]] = {
    "with": templates,
    "wait": _wait,
    "when": _when,
    "retry": _retry,
    "timeout": durations.seconds,
}
_WHOLE: Mapping[str, Callable[[Any], Any]] = {
    "output": templates,
    "on_exit": _action,
    "concurrency": _concurrency,
    "timeout": durations.seconds,
}
