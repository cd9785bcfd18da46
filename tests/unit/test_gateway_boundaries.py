"""Where frames end, however the bytes of a WebSocket come."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.boundaries import Boundaries, close_frame

LENGTHS = st.sampled_from([0, 1, 5, 125, 126, 127, 300, 65535, 65536])


def frame(length: int, *, masked: bool) -> bytes:
    bit = 0x80 if masked else 0
    if length <= 125:
        head = bytes((0x82, bit | length))
    elif length < 1 << 16:
        head = bytes((0x82, bit | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x82, bit | 127)) + length.to_bytes(8, "big")
    return head + (b"mask" if masked else b"") + bytes(length)


frames = st.lists(st.builds(lambda length, masked: frame(length, masked=masked), LENGTHS, st.booleans()), max_size=5)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(places)]


@given(frames, st.lists(st.integers(0, 1 << 17), max_size=8))
def test_it_is_between_two_frames_exactly_where_one_ends(whole: list[bytes], cuts: list[int]) -> None:
    ends = {sum(map(len, whole[:number])) for number in range(len(whole) + 1)}
    boundaries, at = Boundaries(), 0
    for piece in pieces(b"".join(whole), cuts):
        boundaries.follow(piece)
        at += len(piece)
        assert boundaries.between == (at in ends)


@given(frames.filter(bool), st.integers(0, 1 << 17), st.lists(st.integers(0, 1 << 17), max_size=3))
def test_the_rest_of_a_frame_is_passed_and_nothing_of_the_next(whole: list[bytes], until: int, cuts: list[int]) -> None:
    data = b"".join(whole)
    until %= len(data)
    ends = [sum(map(len, whole[:number])) for number in range(len(whole) + 1)]
    boundaries = Boundaries()
    boundaries.follow(data[:until])
    passed = sum(boundaries.rest_of_frame(piece) for piece in pieces(data[until:], cuts))
    assert until + passed == min(end for end in ends if end >= until)
    assert boundaries.between


def test_a_close_frame_has_its_code_and_as_much_of_its_reason_as_fits() -> None:
    assert close_frame(4401, "credential revoked") == b"\x88\x14\x11\x31credential revoked"
    assert len(close_frame(1012, "x" * 200)) == 2 + 125
