"""HTML from parts: whatever is not markup already is escaped."""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

_VOID = {"meta", "br", "col", "rect", "path", "line"}


class Markup(str):
    """Text that is HTML. Only this module makes it of anything else."""

    __slots__ = ()


Child: TypeAlias = "str | int | Iterable[Child] | None"  # of these, only Markup is taken as it is


def element(tag: str, *children: Child, **attributes: str | float | None) -> Markup:
    """An attribute's name is without its underscore at the end, and has hyphens for the others; None leaves it out."""
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{said}>" if tag in ("meta", "br", "col") else f"<{tag}{said}/>")
    return Markup(f"<{tag}{said}>{joined(children)}</{tag}>")


def joined(children: Child) -> Markup:
    match children:
        case None:
            return Markup()
        case Markup():
            return children
        case str() | int():
            return Markup(escape(str(children)))
        case _:
            return Markup("".join(map(joined, children)))


def style(css: str) -> Markup:
    """Of our own: nothing that others have written may get in here."""
    if "</" in css:
        raise ValueError("A style sheet cannot end its own element.")
    return Markup(f"<style>\n{css}</style>")


def document(*children: Child) -> str:
    return f"<!doctype html>\n{joined(children)}\n"
