"""The headers of the tus protocol 1.0.0, as a request says them and as an answer does."""

import re
from email.utils import format_datetime

from fastapi import Request

from events.body.fields import wrong_header
from events.errors import FieldError, MillraceError, UnsupportedMedia
from ingest.files.checksum import ALGORITHMS, Checksum, parse_checksum
from ingest.files.completion import job_of
from ingest.files.file import PART, File, FileWish
from ingest.files.parts import parse_parts
from ingest.tus.metadata import parse_metadata

VERSION = "1.0.0"
EXTENSIONS = (
    "creation", "creation-with-upload", "creation-defer-length", "checksum", "expiration", "termination",
    "concatenation",
)  # fmt: skip
BYTES = "application/offset+octet-stream"

_NUMBER = re.compile(r"[0-9]{1,40}")


class OtherVersion(MillraceError):
    code, status, title = "tus_version", 412, "Another version of tus"

    def __init__(self) -> None:
        detail = f"Say Tus-Resumable: {VERSION}."
        errors = [FieldError("header.tus-resumable", "version", detail)]
        super().__init__(detail, errors=errors, headers={"Tus-Version": VERSION})


async def check_version(request: Request) -> None:
    """A dependency of all but OPTIONS."""
    if _said(request, "tus-resumable") != VERSION:
        raise OtherVersion


def said_of_server(most_bytes: int) -> dict[str, str]:
    return {
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Max-Size": str(most_bytes),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def said_of_file(file: File) -> dict[str, str]:
    said = {"Upload-Offset": str(file.stored), "Upload-Id": str(file.id), "Cache-Control": "no-store"}
    if file.length is None:
        said["Upload-Defer-Length"] = "1"
    else:
        said["Upload-Length"] = str(file.length)
    if file.metadata:
        said["Upload-Metadata"] = file.metadata
    if file.concat:
        said["Upload-Concat"] = file.concat
    if file.completed_at is not None:
        said["Millrace-Job-Id"] = str(job_of(file.id))
    elif not file.is_to_complete:
        said["Upload-Expires"] = format_datetime(file.expires_at, usegmt=True)
    return said


def wish_of(request: Request, idempotency_key: str | None) -> FileWish:
    """What a request wants made."""
    concat = _said(request, "upload-concat")
    length, deferred = length_of(request), _said(request, "upload-defer-length")
    if deferred not in (None, "1"):
        raise wrong_header("upload-defer-length", "value", "The only value is 1.")
    parts = () if concat in (None, PART) else parse_parts(concat)
    if parts and (length is not None or deferred):
        raise wrong_header("upload-length", "length", "The length of a file that is made of parts is theirs.")
    if not parts and (length is None) == (deferred is None):
        raise wrong_header("upload-length", "length", "Say either Upload-Length, or Upload-Defer-Length: 1.")
    metadata = _said(request, "upload-metadata")
    meant = parse_metadata(metadata or "")
    return FileWish(
        length=length,
        parts=parts,
        workflow=meant.workflow,
        options=meant.options,
        filename=meant.filename,
        content_type=meant.content_type,
        metadata=metadata,
        concat=concat,
        idempotency_key=idempotency_key,
    )


def offset_of(request: Request) -> int:
    offset = _number(request, "upload-offset")
    if offset is None:
        raise wrong_header("upload-offset", "missing", "Say how many bytes the file has before those of this body.")
    return offset


def length_of(request: Request) -> int | None:
    return _number(request, "upload-length")


def checksum_of(request: Request) -> Checksum | None:
    said = _said(request, "upload-checksum")
    return None if said is None else parse_checksum(said)


def check_bytes(request: Request) -> None:
    if _said(request, "content-type") != BYTES:
        detail = f"A body of bytes has Content-Type: {BYTES}."
        raise UnsupportedMedia(detail, errors=[FieldError("header.content-type", "unsupported", detail)])


def _number(request: Request, name: str) -> int | None:
    said = _said(request, name)
    if said is None:
        return None
    if not _NUMBER.fullmatch(said):
        raise wrong_header(name, "number", "This is a number of bytes, from 0 on.")
    return int(said)


def _said(request: Request, name: str) -> str | None:
    said = request.headers.getlist(name)
    if len(said) > 1:
        raise wrong_header(name, "repeated", "Say it once.")
    return said[0] if said else None
