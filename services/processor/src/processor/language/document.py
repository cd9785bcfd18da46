"""A document as it is sent: JSON or YAML to one plain JSON value, or what is wrong and where.

YAML here is what people write by hand: no tags, no anchors, one document, and a scalar is what JSON would take it for
(`on`, `yes` and dates are texts). Both are read into the same builder, which keeps the limits.
"""

from typing import Any, Literal

from processor.language.document_json import read_json
from processor.language.document_yaml import read_yaml
from processor.language.tree import Unreadable, place_in

__all__ = ["LARGEST", "Unreadable", "read"]

LARGEST = 1 << 20  # bytes

_KINDS: dict[str, Literal["json", "yaml"]] = {
    "json": "json",
    "application/json": "json",
    "text/json": "json",
    "yaml": "yaml",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
    "text/x-yaml": "yaml",
}


def read(body: bytes, content_type: str) -> Any:
    """`content_type` is `json`, `yaml`, or a media type of either."""
    kind = _KINDS.get(content_type.partition(";")[0].strip().lower())
    if kind is None:
        raise Unreadable("content_type", "A document is sent as application/json or as application/yaml.")
    if len(body) > LARGEST:
        raise Unreadable("too_large", f"A document may have {LARGEST} bytes.")
    text = _decoded(body)
    return read_json(text) if kind == "json" else read_yaml(text)


def _decoded(body: bytes) -> str:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line, column = place_in(body.decode("utf-8", "replace"), len(body[: wrong.start].decode("utf-8", "replace")))
        raise Unreadable("not_utf8", "This is not UTF-8.", line, column) from None
    if (nul := text.find("\0")) >= 0:
        raise Unreadable("nul", "A document may not have a NUL character in it.", *place_in(text, nul))
    return text
