"""Bodies end where they say, however their bytes are cut up on the way."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import BadRequest
from gateway.wire.framing import END_OF_CHUNKS, ChunkedBody, CountedBody, as_chunk


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


@given(st.lists(st.binary(max_size=50)), st.binary(max_size=20), st.lists(st.integers(min_value=0)))
def test_chunks_come_out_as_they_went_in_however_they_are_cut(
    chunks: list[bytes], behind: bytes, places: list[int]
) -> None:
    wire = b"".join(b"".join(as_chunk([chunk])) for chunk in chunks) + END_OF_CHUNKS + behind
    body = ChunkedBody()
    payload, rest = b"", b""
    for piece in cut(wire, places):
        if body.done:
            rest += piece
        else:
            payload += b"".join(body.feed(piece))
    assert body.done
    assert payload == b"".join(chunks)
    assert body.rest + rest == behind


@given(st.binary(max_size=100), st.binary(max_size=20), st.lists(st.integers(min_value=0)))
def test_a_counted_body_takes_its_bytes_and_no_more(content: bytes, behind: bytes, places: list[int]) -> None:
    body = CountedBody(len(content))
    payload, rest = b"", b""
    for piece in cut(content + behind, places):
        if body.done:
            rest += piece
        else:
            payload += b"".join(body.feed(piece))
    assert body.done
    assert (payload, body.rest + rest) == (content, behind)


@given(st.binary(max_size=40), st.lists(st.integers(min_value=0)))
def test_whether_chunks_are_malformed_does_not_depend_on_how_they_are_cut(wire: bytes, places: list[int]) -> None:
    def verdict(pieces: list[bytes]) -> tuple[str, bytes]:
        body, payload = ChunkedBody(), b""
        try:
            for piece in pieces:
                if not body.done:
                    payload += b"".join(body.feed(piece))
        except BadRequest:
            return "malformed", b""
        return ("done" if body.done else "open"), payload

    assert verdict([wire]) == verdict(cut(wire, places))


@given(st.binary(max_size=60), st.lists(st.integers(min_value=0)), st.integers(min_value=1, max_value=4))
def test_chunks_that_are_read_a_few_at_a_time_are_the_same(wire: bytes, places: list[int], most: int) -> None:
    wire = b"1\r\nx\r\n02\r\nyz\r\n1;e=1\r\nw\r\n" + wire

    def read(pieces: list[bytes], most: int) -> tuple[bool | None, bytes]:
        body, payload = ChunkedBody(most), b""
        try:
            for piece in pieces:
                body.unread += piece
                while body.unread and not body.done:
                    payload += b"".join(body.feed(body.unread))
                    assert body.chunks <= most
        except BadRequest:
            return None, b""
        return body.done, payload

    assert read(cut(wire, places), most) == read([wire], 2**62)


@pytest.mark.parametrize("line", [b"g", b"-1", b"0x1", b" 1", b"1 2", b"", b"f" * 16, b"1;\x00"])
def test_a_chunk_size_is_hexadecimal_digits_and_nothing_else(line: bytes) -> None:
    with pytest.raises(BadRequest):
        ChunkedBody().feed(line + b"\r\nx\r\n0\r\n\r\n")
