"""The part of YAML that says what JSON says."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from processor.language.tree import Tree, Unreadable, Wrong, place_in

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {"": None, "~": None} | {
    spelling: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for spelling in (word, word.capitalize(), word.upper())
}
_MOST_DIGITS = 400


def read_yaml(text: str) -> Any:
    tree = Tree()
    for event in _events(text):
        try:
            _take(event, tree)
        except Wrong as wrong:
            mark = event.start_mark
            assert mark is not None
            raise Unreadable(wrong.code, wrong.detail, mark.line + 1, mark.column + 1) from None
    if not tree.begun:
        raise Unreadable("empty", "The document says nothing.")
    return tree.value


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        said = f"This is not YAML: {wrong.problem or wrong.context}"
        where = (None, None) if mark is None else (mark.line + 1, mark.column + 1)
        raise Unreadable("syntax", said, *where) from None
    except yaml.reader.ReaderError as wrong:
        raise Unreadable("syntax", "This character is not allowed", *place_in(text, wrong.position)) from None
    except yaml.YAMLError:
        raise Unreadable("syntax", "This is not YAML") from None


def _take(event: yaml.Event, tree: Tree) -> None:
    match event:
        case yaml.ScalarEvent(anchor=None, tag=None):
            if tree.awaits_name:
                tree.name(event.value)  # as it is written: `on` and `1` are names like any other
            else:
                tree.add(_plain(event.value) if event.implicit[0] else event.value)
        case yaml.MappingStartEvent(anchor=None, tag=None) | yaml.SequenceStartEvent(anchor=None, tag=None):
            if tree.awaits_name:
                raise Wrong("syntax", "The name of a member must be a text")
            tree.begin({} if isinstance(event, yaml.MappingStartEvent) else [])
        case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
            tree.end()
        case yaml.NodeEvent(anchor=None):
            raise Wrong("tag", "Tags are not supported: write a text in quotes")
        case yaml.NodeEvent():
            raise Wrong("anchor", "Anchors and aliases are not supported: write it out")
        case yaml.DocumentStartEvent():
            if event.tags:
                raise Wrong("tag", "Tags are not supported: write a text in quotes")
            if tree.begun:
                raise Wrong("syntax", "There may be one document only")


def _plain(written: str) -> Any:
    if written in _WORDS:
        return _WORDS[written]
    if _NOT_FINITE.fullmatch(written):
        raise Wrong("not_finite", "A number must be finite")
    if not _NUMBER.fullmatch(written):
        return written
    if len(written) > _MOST_DIGITS:
        raise Wrong("number_too_large", f"A number may have {_MOST_DIGITS} digits")
    return int(written) if _INTEGER.fullmatch(written) else float(written)
