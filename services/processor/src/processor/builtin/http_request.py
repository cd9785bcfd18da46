"""What a call sends, as the definition says it, and nothing that would be read in another way than it was written."""

import re
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import msgspec
from multidict import CIMultiDict

from processor.step import StepError

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?")
# They belong to the connection, which is ours.
_OURS = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive"}
    | {"te", "trailer", "trailers", "transfer-encoding", "upgrade"}
)
_CHANGES_SOMETHING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def request_body(parameters: Mapping[str, Any]) -> tuple[BytesIO | None, str | None]:
    """The body and its type: a text as it is, anything else as JSON."""
    if "body" not in parameters:
        return None, None
    body = parameters["body"]
    try:
        if isinstance(body, str):
            return BytesIO(body.encode()), "text/plain; charset=utf-8"
        return BytesIO(msgspec.json.encode(body)), "application/json"
    except (UnicodeEncodeError, msgspec.MsgspecError, RecursionError):
        raise StepError("invalid_body", "The body has text that is no Unicode, or is nested too deeply.") from None


def request_headers(
    parameters: Mapping[str, Any], *, content_type: str | None, effect_id: str, traceparent: str | None
) -> CIMultiDict[str]:
    headers = CIMultiDict[str]()
    for name, value in parameters.get("headers", {}).items():
        if _NAME.fullmatch(name) is None or name in headers:
            raise StepError("invalid_header", "A header's name has a character that no name has, or is there twice.")
        if name.lower() in _OURS or name.lower().startswith("proxy-"):
            raise StepError("invalid_header", f"The header {name} belongs to the connection and cannot be set.")
        if _VALUE.fullmatch(value) is None:
            detail = f"The value of the header {name} must be ASCII, without line breaks or spaces around it."
            raise StepError("invalid_header", detail)
        headers[name] = value
    if content_type is not None:
        headers.setdefault("Content-Type", content_type)
    if parameters.get("method", "GET") in _CHANGES_SOMETHING:
        headers.setdefault("Idempotency-Key", effect_id)
    if traceparent is not None:
        headers.setdefault("traceparent", traceparent)
    headers.setdefault("User-Agent", "Millrace")
    return headers
