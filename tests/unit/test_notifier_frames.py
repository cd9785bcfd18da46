"""What a client sends is understood however it is cut: into frames, and into reads. `websockets` makes the frames."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as Theirs

from fixtures.websocket_cases import CASES, LIMIT
from notifier.frames import FrameReader, Opcode, Violation, close_code, text_frame

TEXTS = st.text(max_size=300)


def _frames(text: str, cuts: list[int], ping: bytes) -> bytes:
    """The text as a fragmented message, with a ping after each fragment but the last."""
    payload = text.encode()
    places = sorted({cut % (len(payload) + 1) for cut in cuts})
    edges = [0, *places, len(payload)]
    pieces = [payload[begin:end] for begin, end in pairwise(edges)]
    sent = bytearray()
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        sent += Frame(Theirs.CONT if number else Theirs.TEXT, piece, last).serialize(mask=True)
        if not last:
            sent += Frame(Theirs.PING, ping).serialize(mask=True)
    return bytes(sent)


@given(
    texts=st.lists(TEXTS, min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 1000), max_size=4),
    ping=st.binary(max_size=125),
    read=st.integers(1, 400),
)
def test_messages_and_pings_come_out_as_they_went_in(texts: list[str], cuts: list[int], ping: bytes, read: int) -> None:
    sent = b"".join(_frames(text, cuts, ping) for text in texts)
    reader = FrameReader(limit=2000)
    got = [item for at in range(0, len(sent), read) for item in reader.feed(sent[at : at + read])]
    assert [payload.decode() for opcode, payload in got if opcode is Opcode.TEXT] == texts
    assert {payload for opcode, payload in got if opcode is Opcode.PING} <= {ping}


@given(length=st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 100_000]))
def test_our_frames_are_those_of_the_rfc(length: int) -> None:
    payload = b"x" * length
    assert text_frame(payload) == Frame(Theirs.TEXT, payload).serialize(mask=False)


def _read(sent: bytes, *, at_once: int) -> tuple[list[tuple[Opcode, bytes]], int | None]:
    """What comes out, up to the close, and the code that would be answered."""
    reader = FrameReader(LIMIT)
    got: list[tuple[Opcode, bytes]] = []
    try:
        for at in range(0, len(sent), at_once):
            for opcode, payload in reader.feed(sent[at : at + at_once]):
                if opcode is Opcode.CLOSE:
                    return got, close_code(payload)
                if opcode is not Opcode.CONTINUATION:
                    got.append((opcode, payload))
    except Violation as violation:
        return got, violation.code
    return got, None


def test_no_case_of_the_rfc_depends_on_how_it_is_cut_into_reads() -> None:
    for name, case in CASES.items():
        whole = _read(case.sent, at_once=len(case.sent))
        for at_once in (1, 2, 7):
            assert _read(case.sent, at_once=at_once) == whole, name
