"""What a client may say of an upload, beside its bytes."""

import re
from typing import Any

import msgspec

from events.errors import BadRequest, FieldError, InvalidInput

_FILENAME_CHARACTERS = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OPTIONS_DEPTH = 32
_MALFORMED = re.compile(r"JSON is malformed: (.+) \(byte ([0-9]+)\)")  # as msgspec says it
_MEDIA_TYPE = re.compile(r"[!#$&^_.+a-z0-9-]{1,63}/[!#$&^_.+a-z0-9-]{1,63}")


def invalid(field: str, code: str, detail: str) -> InvalidInput:
    return InvalidInput(detail, errors=[FieldError(field, code, detail)])


def wrong_header(name: str, code: str, detail: str) -> BadRequest:
    return BadRequest(f"{name}: {detail}", errors=[FieldError(f"header.{name}", code, detail)])


def checked_filename(filename: str | None, field: str) -> str | None:
    if filename is None:
        return None
    if len(filename) > _FILENAME_CHARACTERS:
        raise invalid(field, "too_long", f"A filename has at most {_FILENAME_CHARACTERS} characters.")
    if _CONTROL.search(filename):
        raise invalid(field, "control_characters", "A filename has no control characters.")
    return filename or None


def checked_media_type(media_type: str | None, field: str) -> str | None:
    if media_type and _MEDIA_TYPE.fullmatch(media_type) is None:
        raise invalid(field, "media_type", "A media type looks like text/csv.")
    return media_type or None


def checked_options(text: str, field: str) -> dict[str, Any]:
    try:
        options: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError) as wrong:
        raise invalid(field, "json_object", f"The options must be a JSON object{_fault(text, wrong)}.") from None
    if not _is_plain(options):
        raise invalid(field, "json_object", f"Options hold no NUL, and are at most {_OPTIONS_DEPTH} deep.")
    return options


def _fault(text: str, wrong: Exception) -> str:
    """What is wrong with it and where, if it is no JSON at all."""
    encoded = text.encode(errors="replace")
    if (malformed := _MALFORMED.fullmatch(str(wrong))) is not None:
        what, at = malformed[1], int(malformed[2])
    elif str(wrong) == "Input data was truncated":
        what, at = "it ends too early", len(encoded)
    else:
        return ""
    before = encoded[:at].decode(errors="replace")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f": {what} (line {line}, column {column})"


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether everybody down the line can read it: Postgres refuses NUL, and stacks are finite."""
    match value:
        case str():
            return "\x00" not in value
        case dict() | list() if depth == _OPTIONS_DEPTH:
            return False
        case dict():
            return all(_is_plain(part, depth + 1) for pair in value.items() for part in pair)
        case list():
            return all(_is_plain(item, depth + 1) for item in value)
        case _:
            return True
