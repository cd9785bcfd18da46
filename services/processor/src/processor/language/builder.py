"""Workflows written in Python. What it gives is the same document that others write as YAML.

flow = Workflow("nightly")
customer = flow.input("customer", type="string")
files = flow.step("files", uses="http.call", with_={"url": f"https://example.org/{customer}"}, retry=Retry(max=5))
flow.step("profile", uses="csv-profile", depends=[files], map=Map(items=files.output.body), with_={"blob": item})
flow.document()
"""

import copy
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from processor.language.definition import Action, Concurrency, Map, Retry, Wait

__all__ = ["Action", "Concurrency", "Map", "Retry", "Step", "Term", "Wait", "Workflow", "call", "index", "item", "job"]

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Term:
    """A part of an expression. Its members, comparisons and sums are terms again; `&`, `|` and `~` are and, or and
    not. As text it is marked, so that it can stand in an f-string."""

    __slots__ = ("_atom", "_written")

    def __init__(self, written: str, *, atom: bool = True) -> None:
        self._written = written
        self._atom = atom

    def __str__(self) -> str:
        return f"${{{{ {self._written} }}}}"

    def __repr__(self) -> str:
        return f"Term({self._written!r})"

    def __getattr__(self, name: str) -> "Term":
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: "str | int | Term") -> "Term":
        plain = isinstance(name, str) and _PLAIN_NAME.fullmatch(name)
        return Term(f"{_operand(self)}.{name}" if plain else f"{_operand(self)}[{_written(name)}]")

    def __iter__(self) -> Any:
        raise TypeError("What a job will give cannot be gone through here: use `map`.")

    def __bool__(self) -> bool:
        raise TypeError("What a job will give is not known here: combine terms by &, | and ~, and give them as `when`.")

    def __eq__(self, other: object) -> "Term":  # type: ignore[override]
        return _infix(self, "==", other)

    def __ne__(self, other: object) -> "Term":  # type: ignore[override]
        return _infix(self, "!=", other)

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: object) -> "Term":
        return _infix(self, "<", other)

    def __le__(self, other: object) -> "Term":
        return _infix(self, "<=", other)

    def __gt__(self, other: object) -> "Term":
        return _infix(self, ">", other)

    def __ge__(self, other: object) -> "Term":
        return _infix(self, ">=", other)

    def __add__(self, other: object) -> "Term":
        return _infix(self, "+", other)

    def __sub__(self, other: object) -> "Term":
        return _infix(self, "-", other)

    def __mul__(self, other: object) -> "Term":
        return _infix(self, "*", other)

    def __truediv__(self, other: object) -> "Term":
        return _infix(self, "/", other)

    def __and__(self, other: object) -> "Term":
        return _infix(self, "and", other)

    def __or__(self, other: object) -> "Term":
        return _infix(self, "or", other)

    def __invert__(self) -> "Term":
        return Term(f"not {_operand(self)}", atom=False)


def call(function: str, *arguments: object) -> Term:
    """One of the functions of expressions: `call("len", files.output.body)`."""
    return Term(f"{function}({', '.join(_written(argument) for argument in arguments)})")


item = Term("item")
index = Term("index")
job = Term("job")


class Step:
    """A step that others can come after, and read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._term = Term("steps")[name]

    @property
    def output(self) -> Term:
        return self._term.output

    @property
    def status(self) -> Term:
        return self._term.status

    @property
    def error(self) -> Term:
        return self._term.error


Condition: TypeAlias = Term | str | bool


class Workflow:
    def __init__(
        self,
        name: str,
        *,
        title: str | None = None,
        description: str | None = None,
        concurrency: Concurrency | None = None,
        timeout: float | str | None = None,
    ) -> None:
        whole = {
            "name": name,
            "title": title,
            "description": description,
            "concurrency": concurrency,
            "timeout": timeout,
        }
        self._document: dict[str, Any] = {name: _plain(one) for name, one in whole.items() if one is not None}
        self._inputs: dict[str, Any] = {}
        self._steps: dict[str, Any] = {}

    def input(self, name: str, **schema: Any) -> Term:
        """`schema` is the input's JSON Schema: `type="integer", default=10`."""
        self._inputs[name] = _plain(schema)
        return Term("inputs")[name]

    def step(
        self,
        name: str,
        *,
        uses: str | None = None,
        workflow: str | None = None,
        version: int | None = None,
        wait: Wait | None = None,
        with_: Mapping[str, Any] | None = None,
        depends: Iterable[Step | str] = (),
        when: Condition | None = None,
        map: Map | None = None,  # noqa: A002  # as the document calls it
        retry: Retry | None = None,
        timeout: float | str | None = None,
        compensate: Action | None = None,
        continue_on_failure: bool = False,
        weight: float | None = None,
    ) -> Step:
        if name in self._steps:
            raise ValueError(f"There is a step {name} already.")
        given = {
            "uses": uses,
            "workflow": workflow,
            "version": version,
            "wait": wait,
            "with": with_ or None,
            "depends": [one.name if isinstance(one, Step) else one for one in depends] or None,
            "when": when,
            "map": map,
            "retry": retry,
            "timeout": timeout,
            "compensate": compensate,
            "continue_on_failure": continue_on_failure or None,
            "weight": weight,
        }
        self._steps[name] = {name: _plain(one) for name, one in given.items() if one is not None}
        return Step(name)

    def output(self, value: Any) -> None:
        self._document["output"] = _plain(value)

    def on_exit(self, action: Action) -> None:
        self._document["on_exit"] = _plain(action)

    def document(self) -> dict[str, Any]:
        inputs = {"inputs": self._inputs} if self._inputs else {}
        return copy.deepcopy({**self._document, **inputs, "steps": self._steps})


def _infix(left: Term, operator: str, right: object) -> Term:
    return Term(f"{_operand(left)} {operator} {_operand(right)}", atom=False)


def _operand(value: object) -> str:
    match value:
        case Term(_written=written, _atom=atom):
            return str(written) if atom else f"({written})"
        case _:
            return _written(value)


def _written(value: object) -> str:
    match value:
        case Term(_written=written):
            return str(written)
        case list() | tuple():
            return f"[{', '.join(_written(one) for one in value)}]"
        case dict():
            return f"{{{', '.join(f'{_written(name)}: {_written(one)}' for name, one in value.items())}}}"
        case _:
            return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    match value:
        case Term():
            return str(value)
        case msgspec.Struct():
            given = [(field, getattr(value, field.name)) for field in msgspec.structs.fields(value)]
            return {field.encode_name: _plain(one) for field, one in given if not _said_anyway(field, one)}
        case Mapping():
            return {name: _plain(one) for name, one in value.items()}
        case str():
            return value
        case Sequence():
            return [_plain(one) for one in value]
        case _:
            return value


def _said_anyway(field: msgspec.structs.FieldInfo, value: Any) -> bool:
    return value is field.default or (isinstance(value, Mapping | tuple) and not value)
