"""`Upload-Metadata`: pairs of a key and a value in Base64. Some say what the file is, and what is done with it."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from events.body.fields import checked_filename, checked_media_type, checked_options, invalid
from events.errors import InvalidInput

_FIELD = "header.upload-metadata"
_MOST_CHARACTERS = 8_192
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,255}")  # printable, without space and comma
_WORKFLOW = re.compile(r"[a-z][a-z0-9-]{0,63}")
_DEFAULT_WORKFLOW = "csv-profile"
# The names by which clients say the same thing.
_FILENAME = ("filename", "name")
_CONTENT_TYPE = ("filetype", "type", "content_type")


@dataclass(frozen=True, slots=True)
class Metadata:
    workflow: str
    options: dict[str, Any]
    filename: str | None
    content_type: str | None


def parse_metadata(header: str) -> Metadata:
    values = _pairs(header) if header else {}
    filename_key, filename = _first(values, _FILENAME)
    type_key, content_type = _first(values, _CONTENT_TYPE)
    workflow = _text(values, "workflow") or _DEFAULT_WORKFLOW
    if not _WORKFLOW.fullmatch(workflow):
        raise _wrong("workflow", "pattern", "A workflow's name has small letters, digits and hyphens.")
    return Metadata(
        workflow=workflow,
        options=checked_options(_text(values, "options") or "{}", f"{_FIELD}.options"),
        filename=checked_filename(filename, f"{_FIELD}.{filename_key}"),
        content_type=checked_media_type(_essence(content_type), f"{_FIELD}.{type_key}"),
    )


def _pairs(header: str) -> dict[str, bytes]:
    if len(header) > _MOST_CHARACTERS:
        raise invalid(_FIELD, "too_long", f"Upload-Metadata has at most {_MOST_CHARACTERS} characters.")
    pairs: dict[str, bytes] = {}
    for place, pair in enumerate(header.split(",")):
        key, _, encoded = pair.strip(" ").partition(" ")
        if not _KEY.fullmatch(key):
            raise _wrong(str(place), "key", "A key has printable ASCII characters, and no space or comma.")
        if key in pairs:
            raise _wrong(key, "repeated", "Each key is said once.")
        try:
            pairs[key] = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise _wrong(key, "base64", "A value is in Base64, one space behind its key.") from None
    return pairs


def _first(values: Mapping[str, bytes], keys: tuple[str, ...]) -> tuple[str, str | None]:
    """The first of the keys that says something."""
    return next(((key, text) for key in keys if (text := _text(values, key))), (keys[0], None))


def _text(values: Mapping[str, bytes], key: str) -> str | None:
    try:
        return values[key].decode() if key in values else None
    except UnicodeDecodeError:
        raise _wrong(key, "utf8", "This value must be text in UTF-8.") from None


def _essence(media_type: str | None) -> str | None:
    """Without parameters such as a charset, as in a body's header."""
    return None if media_type is None else media_type.partition(";")[0].strip().lower()


def _wrong(place: str, code: str, detail: str) -> InvalidInput:
    return invalid(f"{_FIELD}.{place}"[:100], code, detail)
