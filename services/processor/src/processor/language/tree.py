"""Builds a value from the tokens of a document, whatever they are written in, and keeps its limits as it grows."""

from typing import Any, TypeAlias

from processor.language.problems import Problem, shortened
from processor.language.values import DEEPEST, number_problem, text_problem

MOST_VALUES = 150_000

Place: TypeAlias = tuple[int, int]  # line and column, from 1


class Unreadable(Exception):
    """There is no document in what was sent."""

    def __init__(self, code: str, detail: str, line: int | None = None, column: int | None = None) -> None:
        where = "" if line is None else f" (line {line}, column {column})"
        super().__init__(f"{detail.rstrip('.')}{where}.")
        self.line = line
        self.column = column
        self.problem = Problem("", code, str(self))


class Wrong(Exception):
    """What is wrong with the token that was just given; its reader knows where it is."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Tree:
    def __init__(self) -> None:
        self._root: list[Any] = []  # the value, once it is begun
        self._open: list[Any] = [self._root]
        self._names: list[str | None] = [None]  # of the members that are begun, by depth
        self._values = 0

    @property
    def depth(self) -> int:
        return len(self._open) - 1

    @property
    def value(self) -> Any:
        return self._root[0]

    @property
    def begun(self) -> bool:
        return bool(self._root)

    @property
    def awaits_name(self) -> bool:
        return isinstance(self._open[-1], dict) and self._names[-1] is None

    def name(self, name: str) -> None:
        _refuse(text_problem(name))
        if name in self._open[-1]:
            raise Wrong("duplicate_key", f"{shortened(name)!r} is in the same object already")
        self._names[-1] = name

    def add(self, value: Any) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            raise Wrong("too_large", f"A document may have {MOST_VALUES} values")
        if isinstance(value, str):
            _refuse(text_problem(value))
        elif isinstance(value, int | float):
            _refuse(number_problem(value))
        owner = self._open[-1]
        if isinstance(owner, dict):
            owner[self._names[-1]] = value
            self._names[-1] = None
        else:
            owner.append(value)

    def begin(self, container: dict[str, Any] | list[Any]) -> None:
        if self.depth == DEEPEST:
            raise Wrong("too_deep", f"A document may be nested {DEEPEST} levels deep")
        self.add(container)
        self._open.append(container)
        self._names.append(None)

    def end(self) -> None:
        self._open.pop()
        self._names.pop()

    @property
    def innermost(self) -> Any:
        return self._open[-1]


def _refuse(problem: tuple[str, str] | None) -> None:
    if problem is not None:
        raise Wrong(*problem)


def place_in(text: str, offset: int) -> Place:
    line = text.count("\n", 0, offset) + 1
    return line, offset - (text.rfind("\n", 0, offset) + 1) + 1
