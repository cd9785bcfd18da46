"""What OpenAPI tells of the tus protocol: headers say what bodies say elsewhere."""

from typing import Any

from fastapi import Response

from events.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    IdempotencyKeyReused,
    NotFound,
    QuotaExceeded,
    RequestTimeout,
    TooLarge,
    UnsupportedMedia,
)
from events.web.openapi import links, problems
from ingest.files.checksum import ALGORITHMS, ChecksumMismatch
from ingest.files.lock import Locked
from ingest.tus.headers import BYTES, EXTENSIONS, VERSION, OtherVersion
from ingest.uploads import EmptyUpload

_ID = "01a1fbea-6e13-7d45-ac0a-768cee331159"
_NUMBER = "^[0-9]{1,18}$"
_FILENAME = "filename cGVvcGxlLmNzdg=="


def _header(
    name: str, description: str, example: str | None = None, *, required: bool = False, **schema: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string", **schema},
    } | ({} if example is None else {"example": example})


_VERSION = _header("Tus-Resumable", "The protocol's version.", VERSION, required=True, enum=[VERSION])
_CHECKSUM = _header(
    "Upload-Checksum",
    "Of the body, in Base64, as in `sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=`. It counts only when it is whole and right.",
    pattern=f"^({'|'.join(ALGORITHMS)}) [A-Za-z0-9+/]+={{0,2}}$",
)
_CREATION = [
    _VERSION,
    _header("Upload-Length", "How many bytes the file will have.", "64446686", pattern=_NUMBER),
    _header("Upload-Defer-Length", "1: that is said later, instead.", enum=["1"]),
    _header(
        "Upload-Metadata",
        "Keys, each with a value in Base64: filename, filetype, workflow, options, and any others.",
        _FILENAME,
        pattern=r"^[\x21-\x2b\x2d-\x7e]+( [A-Za-z0-9+/]*={0,2})?(,[\x21-\x2b\x2d-\x7e]+( [A-Za-z0-9+/]*={0,2})?)*$",
    ),
    _header(
        "Upload-Concat",
        "`partial` for a part, or `final;` and the paths of all parts, which are used up.",
        pattern=r"^(partial|final;[\x21-\x7e]+( [\x21-\x7e]+)*)$",
    ),
    _CHECKSUM,
]
_OFFSET = _header(
    "Upload-Offset", "Where the body belongs: as many bytes are stored.", "0", required=True, pattern=_NUMBER
)
_CONTINUATION = [
    _VERSION,
    _OFFSET,
    _header("Upload-Length", "How many bytes the file will have, if that was deferred.", "64446686", pattern=_NUMBER),
    _CHECKSUM,
]


def _bytes(description: str, *, required: bool) -> dict[str, Any]:
    content = {BYTES: {"schema": {"type": "string", "format": "binary"}}}
    return {"required": required, "description": description, "content": content}


def _said(**examples: str) -> dict[str, Any]:
    """Headers of an answer."""
    return {name.replace("_", "-"): {"schema": {"type": "string"}, "example": text} for name, text in examples.items()}


_OF_FILE = _said(
    Tus_Resumable=VERSION,
    Upload_Offset="8388608",
    Upload_Length="64446686",
    Upload_Defer_Length="1",
    Upload_Id=_ID,
    Upload_Metadata=_FILENAME,
    Upload_Concat="partial",
    Upload_Expires="Sun, 22 Nov 2026 02:23:27 GMT",
    Millrace_Job_Id="01a1fbea-6fbc-7335-a459-98abf90680e7",
)
_OF_SERVER = _said(
    Tus_Resumable=VERSION,
    Tus_Version=VERSION,
    Tus_Extension=",".join(EXTENSIONS),
    Tus_Max_Size="10737418240",
    Tus_Checksum_Algorithm=",".join(ALGORITHMS),
)
_SENT = problems(
    BadRequest, ChecksumMismatch, Conflict, Locked, QuotaExceeded, RequestTimeout, TooLarge, UnsupportedMedia
)

TELLS: dict[str, Any] = {
    "response_class": Response,
    "responses": {204: {"description": "What the server can do", "headers": _OF_SERVER}},
}
CREATES: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        201: {
            "description": "Made: `Location` says where",
            "headers": _said(Location=f"/api/v1/files/{_ID}") | _OF_FILE,
            "links": links("files", "one", "look", "append", "delete", file_id="$response.header.Upload-Id"),
        }
    }
    | problems(OtherVersion, EmptyUpload, Gone, IdempotencyKeyReused)
    | _SENT,
    "openapi_extra": {
        "parameters": _CREATION,
        "requestBody": _bytes("The file's first bytes, or nothing.", required=False),
    },
}
LOOKS: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"description": "As it is", "headers": _OF_FILE}}
    | problems(OtherVersion, NotFound, Gone, Locked, BadRequest),
    "openapi_extra": {"parameters": [_VERSION]},
}
APPENDS: dict[str, Any] = {
    "response_class": Response,
    "responses": {204: {"description": "Stored", "headers": _OF_FILE}}
    | problems(OtherVersion, NotFound, Gone, Forbidden, EmptyUpload)
    | _SENT,
    "openapi_extra": {"parameters": _CONTINUATION, "requestBody": _bytes("The next bytes.", required=True)},
}
DELETES: dict[str, Any] = {
    "response_class": Response,
    "responses": {204: {"description": "Gone, with its bytes"}}
    | problems(OtherVersion, NotFound, Gone, Locked, BadRequest),
    "openapi_extra": {"parameters": [_VERSION]},
}
