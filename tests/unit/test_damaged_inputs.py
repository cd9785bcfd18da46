"""Whatever happens to a compressed file on its way: a step gets the bytes that were meant, or a sentence."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fixtures.archives import CSV, Packed, gzipped, skippable, zip_of, zipped, zstandard
from fixtures.opening import Opening
from processor.step import StepError

ARCHIVES = {
    "gzip": gzipped(),
    "gzip with a name": b"\x1f\x8b\x08\x08" + gzipped()[4:10] + b"name\0" + gzipped()[10:],
    "zstd": skippable(b"xyz") + zstandard(),
    "zip": zipped({"a/": b"", "a/data.csv": CSV, "__MACOSX/x": b"y"}),
    "zip with zstd": zip_of(Packed(method=93, packed=zstandard())),
    "gzip in zip": zipped({"data.csv.gz": gzipped()}, method=0),
}
PLACE = st.floats(0, 1, exclude_max=True)


def opened(opening: Opening, content: bytes) -> bytes | None:
    """What was opened; None if it was refused, or was not taken for something compressed any more."""
    outcome = opening.outcome(content)
    if isinstance(outcome, StepError):
        assert outcome.code.startswith("archive_")
        assert outcome.detail.endswith(".")
        assert list(opening.scratch.iterdir()) == []
        return None
    data, described = outcome
    return data if described["compression"] else None


@pytest.mark.parametrize("content", ARCHIVES.values(), ids=ARCHIVES.keys())
@given(place=PLACE)
@example(place=0.0)
def test_a_cut_is_noticed(opening: Opening, content: bytes, place: float) -> None:
    assert opened(opening, content[: int(place * len(content))]) in (None, b"")


@pytest.mark.parametrize("content", ARCHIVES.values(), ids=ARCHIVES.keys())
@given(place=PLACE, mask=st.integers(1, 255))
def test_another_byte_is_noticed_or_does_not_matter(opening: Opening, content: bytes, place: float, mask: int) -> None:
    changed = bytearray(content)
    changed[int(place * len(content))] ^= mask
    assert opened(opening, bytes(changed)) in (None, CSV)


@given(
    st.sampled_from([b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PK\x05\x06", b"P\x2a\x4d\x18"]), st.binary()
)
def test_what_only_begins_like_an_archive_is_refused(opening: Opening, magic: bytes, rest: bytes) -> None:
    assert opened(opening, magic + rest) in (None, b"")


NUMBER = st.sampled_from([0, 1, 30, len(CSV), 0xFFFFFFFE, 0xFFFFFFFF]) | st.integers(0, 2000)
LIES = {
    "crc": NUMBER,
    "compressed": NUMBER,
    "size": NUMBER,
    "offset": NUMBER,
    "method": st.sampled_from([0, 8, 9, 93, 99]),
    "flags": st.integers(0, 0xFFFF),
    "mode": st.sampled_from([0, 0o100644, 0o120777, 0o040755]),
    "name": st.binary(max_size=8),
    "local_name": st.binary(max_size=8),
    "packed": st.binary(max_size=50),
}


@given(st.lists(st.fixed_dictionaries({}, optional=LIES), max_size=3), st.none() | st.integers(0, 4), st.binary())
def test_a_zip_that_lies_is_refused(
    opening: Opening, entries: list[dict[str, Any]], count: int | None, comment: bytes
) -> None:
    data = opened(opening, zip_of(*(Packed(**entry) for entry in entries), comment=comment, count=count))
    assert data in (None, CSV)
