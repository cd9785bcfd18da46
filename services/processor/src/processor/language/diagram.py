"""A workflow's graph as a Mermaid flowchart: of a definition, or of any document, as far as it can be drawn."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from processor.language.definition import REMOTE, Definition

_LONGEST_LABEL = 60  # characters
_MEANINGFUL = re.compile(r"[^\w /.-]|[.-](?= )|^[.-]")


def mermaid(workflow: Definition | Any) -> str:
    document = msgspec.to_builtins(workflow) if isinstance(workflow, Definition) else workflow
    return "\n".join(["flowchart TD", *(f"  {line}" for line in _lines(_object(document)))]) + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    steps = {str(name): _object(step) for name, step in _object(document.get("steps")).items()}
    ids = {name: f"s{number}" for number, name in enumerate(steps)}
    yield f'subgraph workflow["{_label(document.get("title") or document.get("name") or "workflow")}"]'
    for name, step in steps.items():
        yield f"  {ids[name]}{_shaped(step, [_label(name), *_what(step)])}"
    missing: dict[str, str] = {}
    last = dict.fromkeys(ids.values())
    for name, step in steps.items():
        for before in _names(step.get("depends")):
            source = ids.get(before) or missing.setdefault(before, f"m{len(missing)}")
            last.pop(source, None)
            yield f"  {source} --> {ids[name]}"
    for name, id_ in missing.items():
        yield f'  {id_}["{_label(name)}<br/>is missing"]:::missing'
    for name, step in steps.items():
        if "compensate" in step:
            undo = _object(step["compensate"])
            yield f"  {ids[name]} -. undone by .-> {ids[name]}u{_shaped(undo, _what(undo))}"
    yield "end"
    if "on_exit" in document:
        at_end = _object(document["on_exit"])
        yield f"on_exit{_shaped(at_end, ['on exit', *_what(at_end)])}"
        for id_ in last or ["workflow"]:
            yield f"{id_} -.-> on_exit"
    if missing:
        yield "classDef missing stroke-dasharray: 5 5"


def _what(action: Mapping[str, Any]) -> list[str]:
    """The lines of its label, below its name."""
    match action:
        case {"uses": uses}:
            lines = [_label(uses)]
        case {"workflow": workflow}:
            lines = [_label(f"workflow {workflow}")]
        case {"wait": wait}:
            lines = [_label("waits for " + " and ".join(f"{kind} {one}" for kind, one in _object(wait).items()))]
        case _:
            lines = ["nothing"]
    if "map" in action:
        lines.append(_label(f"for each of {_object(action['map']).get('items')}"))
    if "when" in action:
        lines.append(_label(f"if {action['when']}"))
    return lines


def _shaped(action: Mapping[str, Any], lines: list[str]) -> str:
    opened, closed = _shape(action)
    return f'{opened}"{"<br/>".join(lines)}"{closed}'


def _shape(action: Mapping[str, Any]) -> tuple[str, str]:
    match action:
        case {"map": _}:
            return "[[", "]]"
        case {"wait": _}:
            return "{{", "}}"
        case {"workflow": _}:
            return "([", "])"
        case {"uses": str() as uses} if uses.startswith(REMOTE):
            return "[/", "/]"
        case _:
            return "[", "]"


def _label(text: Any) -> str:
    """All that could mean something to Mermaid, to Markdown or to HTML is written as a number."""
    written = " ".join(str(text).split())
    shown = written if len(written) <= _LONGEST_LABEL else written[: _LONGEST_LABEL - 1] + "…"
    return _MEANINGFUL.sub(lambda found: f"#{ord(found[0])};" if found[0].isprintable() else "", shown)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list | tuple) else []
