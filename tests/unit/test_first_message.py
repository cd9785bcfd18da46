"""The first words of a stranger: whatever they are, and however their bytes come."""

import json
from contextlib import suppress
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fixtures.frames import PING, PONG, TEXT, frame
from gateway.centrifugo import Connect, WrongCommand
from gateway.wire.first_message import Closed, FirstMessage, Violation

LONGEST = 16 * 1024
Place = st.integers(0, 1 << 16)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(places)]


@given(st.text(max_size=300), st.lists(Place, max_size=4), st.lists(Place, max_size=8), st.binary(max_size=300))
def test_a_message_is_read_in_whatever_fragments_and_pieces_it_comes(
    text: str, fragments: list[int], cuts: list[int], behind: bytes
) -> None:
    message = text.encode()
    parts = pieces(message, fragments) or [b""]
    frames = [
        frame(part, first=(0 if place else TEXT) | (0x80 if place == len(parts) - 1 else 0))
        for place, part in enumerate(parts)
    ]
    wire = (frame(b"are you there?", first=0x80 | PING) + frame(b"", first=0x80 | PONG)).join([b"", *frames]) + behind
    pings: list[bytes] = []
    first = FirstMessage(LONGEST)
    for piece in pieces(wire, cuts):
        pings += first.feed(piece)
    assert first.text == message
    assert first.rest == behind
    assert pings == [b"are you there?"] * len(frames)


@given(st.lists(st.binary(max_size=64) | st.builds(frame, st.binary(max_size=200), first=st.integers(0, 255))))
def test_anything_else_is_a_violation_or_a_close_and_nothing_piles_up(sent: list[bytes]) -> None:
    first = FirstMessage(LONGEST)
    with suppress(Violation, Closed):
        for piece in sent:
            for ping in first.feed(piece):
                assert len(ping) <= 125
            assert first.unread <= LONGEST + 14 + len(piece)
            if first.text is not None:
                assert len(first.text) <= LONGEST
                return


@given(
    st.dictionaries(st.text(max_size=8), JSON, max_size=4),
    st.dictionaries(st.text(max_size=8), JSON, max_size=4),
    st.integers(1, (1 << 32) - 1),
    st.text("abcXYZ019._-", min_size=1),
    st.binary(max_size=100),
)
def test_of_a_connect_everything_is_passed_on_but_the_token(
    command: dict[str, object], connect: dict[str, object], number: int, token: str, others: bytes
) -> None:
    whole = {**command, "id": number, "connect": {**connect, "token": token}}
    read = Connect.read(json.dumps(whole).encode() + b"\n" + others)
    first, newline, behind = read.message.partition(b"\n")
    kept = {name: value for name, value in connect.items() if name != "token"}
    assert json.loads(first) == {**command, "id": number, "connect": kept}
    assert (read.id, read.token, newline, behind) == (number, token, b"\n", others)


@given(JSON | st.builds(lambda connect: {"id": 1, "connect": connect}, JSON))
def test_what_is_no_connect_is_told_from_one(said: object) -> None:
    with suppress(WrongCommand):
        assert Connect.read(json.dumps(said).encode()).token
