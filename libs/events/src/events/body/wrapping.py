"""What may be around the bytes of a file: a coding, and what a multipart body has beside its one part."""

from fastapi import Request
from multipart import MultipartSegment, ParserError, PushMultipartParser

from events.body.arriving import CLOSE
from events.body.fields import invalid
from events.errors import FieldError, InvalidInput, UnsupportedMedia

_LONGEST_BOUNDARY = 200  # characters; RFC 2046 has 70
# What a part may say of how its bytes were written for mail. In another way they would be stored as another file.
_PLAIN = frozenset({"7bit", "8bit", "binary"})


class FormParser(PushMultipartParser):  # type: ignore[misc]  # it is not marked as typed
    """Takes no header that goes on in another line. Only mail has them, and each further line would be put behind all
    that came before it, and parsed again."""

    def _on_segment_headerline(self, line: bytes) -> None:
        if line.startswith((b" ", b"\t")):
            raise ParserError("a part's header goes on in another line")
        super()._on_segment_headerline(line)


def refuse_codings(request: Request) -> None:
    """What is stored is what was sent. A compressed file is uploaded as that file: who works on it opens it."""
    codings = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
    if not {coding.strip() for coding in codings} <= {"", "identity"}:
        detail = "An upload has no Content-Encoding. Send a gzip, zstd or zip file as it is, without this header."
        errors = [FieldError("header.content-encoding", "unsupported", detail)]
        raise UnsupportedMedia(detail, errors=errors, headers={"Accept-Encoding": "identity", **CLOSE})


def checked_boundary(boundary: str | None) -> str:
    if boundary and len(boundary) <= _LONGEST_BOUNDARY and boundary.isascii():
        return boundary
    raise invalid("header.content-type", "boundary", "A multipart body needs its boundary here.")


def check_around(around: int, most: int) -> None:
    """Nobody keeps us busy with bytes that are thrown away."""
    if around > most:
        raise broken(f"it has more than {most} bytes around its file")


def check_transfer_encoding(part: MultipartSegment) -> None:
    encoding = dict(part.headerlist).get("Content-Transfer-Encoding", "binary")
    if encoding.strip().lower() not in _PLAIN:
        detail = "Send the part's bytes as they are: a form is not mail (RFC 7578, section 4.7)."
        raise invalid(f"body.{part.name}.content-transfer-encoding", "unsupported", detail)


def broken(how: str) -> InvalidInput:
    detail = f"The multipart body is broken: {how}."
    return InvalidInput(detail, errors=[FieldError("body", "multipart", detail)], headers=CLOSE)
