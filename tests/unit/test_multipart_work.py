"""How much a hostile multipart body makes ingest do, counted, beside an honest one of the same size."""

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest
from fastapi import Request
from pydantic import SecretStr

from events.body.body import Body
from events.errors import MillraceError
from ingest.settings import IngestSettings

SIZE = 2 << 20
CHUNK = 64 << 10  # what a socket gives at once
BOUNDARY = "-" * 69 + "x"  # 70 characters, of which the first are everywhere
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"\r\n\r\n'.encode()
END = f"\r\n--{BOUNDARY}--\r\n".encode()
ALMOST = f"\r\n--{BOUNDARY[:-1]}".encode()

SETTINGS = IngestSettings(
    database_url=SecretStr("postgresql://nobody@127.0.0.1/none"), principal_secret=SecretStr("s" * 32)
)


def filled(pattern: bytes, size: int = SIZE) -> bytes:
    return (pattern * (size // len(pattern) + 1))[:size]


def cut(body: bytes, size: int = CHUNK) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def request_of(chunks: Sequence[bytes], content_type: str) -> Request:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    headers = [(b"content-type", content_type.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


class Work:
    """What was done for a body: calls, and pieces that were handed on."""

    def __init__(self) -> None:
        self.calls = 0
        self.pieces = 0
        self.data = b""
        self.refused: str | None = None

    async def of(self, chunks: Sequence[bytes], content_type: str) -> "Work":
        body = aiter(Body(request_of(chunks, content_type), SETTINGS, SETTINGS.max_upload_bytes, "It is too large."))
        pieces: list[bytes] = []
        sys.setprofile(self._count)
        try:
            pieces = [piece async for piece in body]
        except MillraceError as refused:
            self.refused = refused.detail
        finally:
            sys.setprofile(None)
        self.data, self.pieces = b"".join(pieces), len(pieces)
        return self

    def _count(self, _frame: FrameType, event: str, _argument: object) -> None:
        self.calls += event in ("call", "c_call")


async def multipart(chunks: Sequence[bytes]) -> Work:
    return await Work().of(chunks, f"multipart/form-data; boundary={BOUNDARY}")


HOSTILE_FILES = {
    "delimiters without their last character": filled(ALMOST),
    "delimiters with another last character": filled(ALMOST + b"y"),
    "delimiters without their line's end": filled(f"--{BOUNDARY}".encode()),
    "the characters of the boundary": filled(b"-"),
    "the beginning of a delimiter": filled(b"\r\n--"),
    "line ends": filled(b"\r"),
    "another multipart body": filled(
        b'--inner\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--inner--\r\n'
    ),
}


@pytest.mark.parametrize("file", HOSTILE_FILES.values(), ids=HOSTILE_FILES.keys())
async def test_a_hostile_file_is_stored_with_no_more_work_than_an_honest_one(file: bytes) -> None:
    honest = await multipart(cut(HEAD + filled(b"1,2,3\n") + END))
    hostile = await multipart(cut(HEAD + file + END))
    assert hostile.data == file
    assert hostile.pieces <= honest.pieces + 2
    assert hostile.calls <= honest.calls * 1.2


async def test_a_body_whose_chunks_all_end_within_a_delimiter_costs_what_others_do() -> None:
    """What may be a delimiter is kept until the next chunk, and is not copied again and again."""
    chunks = [HEAD, *[filled(b"1,2,3\n", CHUNK - len(ALMOST)) + ALMOST] * (SIZE // CHUNK), END]
    honest = await multipart(cut(HEAD + filled(b"1,2,3\n") + END))
    hostile = await multipart(chunks)
    assert hostile.data == b"".join(chunks[1:-1])
    assert hostile.calls <= honest.calls * 1.5


async def test_bytes_that_come_one_by_one_cost_in_a_form_what_they_cost_by_themselves() -> None:
    file = filled(ALMOST, 2000)
    plain = await Work().of(cut(file, 1), "text/csv")
    form = await multipart(cut(HEAD + file + END, 1))
    assert (plain.data, form.data) == (file, file)
    assert form.calls <= plain.calls * 2


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a preamble without end": (lambda: filled(b"junk\r\n"), "more than 65536 bytes around its file"),
    "a preamble of what the boundary is made of": (lambda: filled(b"-"), "more than 65536 bytes around its file"),
    "an epilogue without end": (lambda: HEAD + b"x" + END + filled(b"junk"), "more than 65536 bytes around its file"),
    "a header line without end": (lambda: HEAD[:80] + filled(b"x"), "header length exceeded"),
    "header lines without end": (lambda: HEAD[:-2] + filled(b"X: y\r\n"), "header count exceeded"),
    "continued header lines without end": (
        lambda: HEAD[:-2] + b"X: y\r\n" + filled(b" z\r\n"),
        "goes on in another line",
    ),
    "parts without end": (lambda: filled(HEAD + b"x\r\n"), "One upload is one file"),
    "delimiters without end": (lambda: filled(f"--{BOUNDARY}\r\n".encode()), "broken"),
    "a delimiter with more behind it": (lambda: HEAD + filled(END[:-4] + b"abc"), "Unexpected bytes after boundary"),
    "no final delimiter": (lambda: HEAD + filled(b"x"), "Unexpected end"),
    "mail": (
        lambda: HEAD[:-2] + b"Content-Transfer-Encoding: base64\r\n\r\n" + filled(b"eA==") + END,
        "a form is not mail",
    ),
}


@pytest.mark.parametrize(("body", "why"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("size", [CHUNK, 4096])
async def test_junk_is_refused_with_less_work_than_an_honest_body_makes(
    body: Callable[[], bytes], why: str, size: int
) -> None:
    honest = await multipart(cut(HEAD + filled(b"1,2,3\n") + END, size))
    refused = await multipart(cut(body(), size))
    assert refused.refused is not None
    assert why in refused.refused
    assert refused.calls <= honest.calls + 10
