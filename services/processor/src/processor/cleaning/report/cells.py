"""Texts that somebody else has written, so that nothing in them is hidden, moves other text, or is without end."""

import unicodedata

from processor.cleaning.report.markup import Child, Markup, element

MOST_SHOWN = 160  # characters
_MOST_COMBINING = 3  # one after the other
_PICTURES, _DELETE, _DELETE_PICTURE = 0x2400, 0x7F, "\u2421"
_SPACE = "\u2423"
_HIDDEN = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp", "Zs")


def cell(text: str | None, most: int = MOST_SHOWN) -> Markup:
    if text is None:
        return element("span", "no value", class_="none")
    if text == "":
        return element("span", "empty", class_="none")
    return element("bdi", _children(text, most), class_="cell")


def plain(text: str, most: int = MOST_SHOWN) -> str:
    """For where no elements can be."""
    return "".join(part for part, _ in _parts(text, most))


def named(name: str, most: int = 60) -> Markup:
    """A column's name."""
    return element("bdi", _children(name, most), class_="name")


def _children(text: str, most: int) -> list[Child]:
    return [element("span", part, class_="mark") if is_mark else part for part, is_mark in _parts(text, most)]


def _parts(text: str, most: int) -> list[tuple[str, bool]]:
    """Pieces, and whether each stands for something that cannot be seen."""
    begin, end = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    parts: list[tuple[str, bool]] = []
    run, combining = "", 0
    for at, sign in enumerate(text[:most]):
        combining = combining + 1 if unicodedata.combining(sign) else 0
        if shown := _shown(sign, is_outside=at < begin or at >= end, combining=combining):
            parts += [(run, False), (shown, True)]
            run = ""
        else:
            run += sign
    parts.append((run, False))
    if len(text) > most:
        parts.append(("…", True))
    return [part for part in parts if part[0]]


def _shown(sign: str, *, is_outside: bool, combining: int) -> str | None:
    """What stands for the character, if it does not stand for itself."""
    if sign == " ":
        return _SPACE if is_outside else None
    code = ord(sign)
    if code < 0x20:
        return chr(_PICTURES + code)
    if code == _DELETE:
        return _DELETE_PICTURE
    if unicodedata.category(sign) in _HIDDEN or combining > _MOST_COMBINING:
        return f"[U+{code:04X}]"
    return None
