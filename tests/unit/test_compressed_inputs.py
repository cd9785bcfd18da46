"""What a step is given of a compressed file: the bytes that were meant, or a sentence that says what is wrong with it.
Nothing is left behind."""

import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from fixtures.archives import (
    CSV,
    Packed,
    deflated,
    gzipped,
    skippable,
    zeros_gzipped,
    zip_of,
    zipped,
    zstandard,
    zstandard_stream,
)
from fixtures.opening import Opening
from processor.cleaning.profile import profile
from processor.step import StepError, StepStopped

GOOD = {
    "plain": (CSV, [], None),
    "gzip": (gzipped(), ["gzip"], None),
    "gzip of several members": (gzipped(CSV[:100]) + gzipped(b"") + gzipped(CSV[100:]), ["gzip"], None),
    "gzip with a name and a comment": (
        b"\x1f\x8b\x08\x18\0\0\0\0\0\xffname\0comment\0" + gzipped()[10:],
        ["gzip"],
        None,
    ),
    "gzip with zeros behind it, as tapes have": (gzipped() + bytes(10_000), ["gzip"], None),
    "zstd": (zstandard(), ["zstd"], None),
    "zstd without a checksum": (zstandard(checksum_flag=0), ["zstd"], None),
    "zstd that does not say its size": (zstandard(content_size_flag=0), ["zstd"], None),
    "zstd that does not know its size": (zstandard_stream(window_log=27), ["zstd"], None),
    "zstd of several frames, some to be skipped": (
        skippable(b"x" * 40_000) + zstandard(CSV[:100]) + skippable(b"", 15) + zstandard(b"") + zstandard(CSV[100:]),
        ["zstd"],
        None,
    ),
    "zip": (zipped(), ["zip"], "data.csv"),
    "zip that only stores": (zipped(method=zipfile.ZIP_STORED), ["zip"], "data.csv"),
    "zip with zstd in it": (zip_of(Packed(method=93, packed=zstandard())), ["zip"], "data.csv"),
    "zip with a comment that looks like its end": (
        zip_of(Packed(), comment=b"PK\x05\x06 and PK\x05\x06" + bytes(30)),
        ["zip"],
        "data.csv",
    ),
    "zip with folders, links and what macOS adds": (
        zip_of(
            Packed(b"", name=b"a/", method=0),
            Packed(b"/etc/passwd", name=b"a/link", method=0, mode=0o120777),
            Packed(name=b"a/b.csv", mode=0o100644),
            Packed(b"finder", name=b"__MACOSX/a/._b.csv"),
            Packed(b"finder", name=b"a/.DS_Store"),
        ),
        ["zip"],
        "a/b.csv",
    ),
    "a name that is a path": (zip_of(Packed(name=b"../../../etc/cron.d/x")), ["zip"], "../../../etc/cron.d/x"),
    "a name with what cannot be shown": (
        zip_of(Packed(name=b"a\0\x1bb\xff", flags=0x800)),
        ["zip"],
        "a\ufffd\ufffdb\ufffd",
    ),
    "gzip in zip": (zipped({"a/b.csv.gz": gzipped()}), ["zip", "gzip"], "a/b.csv.gz"),
    "zip in zip in zstd": (zstandard(zipped({"in.zip": zipped()})), ["zstd", "zip", "zip"], "in.zip!/data.csv"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "compression", "entry"), GOOD.values(), ids=GOOD.keys())
def test_a_step_gets_the_bytes_that_were_compressed(
    opening: Opening, content: bytes, compression: list[str], entry: str | None
) -> None:
    data, described = opening(content)
    assert data == CSV
    assert described == {"compression": compression, "entry": entry, "bytes": len(CSV)}


def test_a_zip_that_was_written_as_a_stream_is_read(opening: Opening) -> None:
    """Its local headers have no sizes; they follow the data."""

    class Pipe(io.RawIOBase):
        written = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.written += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.csv", CSV)
    assert opening(pipe.written)[0] == CSV


def test_a_zip_with_large_numbers_is_read(opening: Opening) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a", "w", force_zip64=True) as entry:
        entry.write(CSV)
    assert opening(file.getvalue())[0] == CSV
    content = zipped()
    end_at = content.rindex(b"PK\x05\x06")
    _, *_, length, offset, _ = struct.unpack("<4s4H2IH", content[end_at:])
    large_end = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, length, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end_at, 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert opening(content[:end_at] + large_end + locator + end)[0] == CSV
    assert opening.refusal(content[:end_at] + large_end + bytes(8) + locator + end).code == "archive_damaged"


TWO = zipped({"a.csv": b"a\n1\n", "b/c.csv": CSV, "README": b"", "in.zip": zipped({"x": b"", "y.csv": CSV})})


@pytest.mark.parametrize(
    ("raw_name", "flags"),
    [
        ("r\u00e4ume \u202f1.csv".encode(), 0x800),
        ("ra\u0308ume \u202f1.csv".encode(), 0),
        ("r\u00e4ume".encode("cp437") + b" \xff1.csv", 0),
    ],
    ids=["UTF-8", "UTF-8 that does not say so, in pieces", "DOS"],
)
def test_a_name_is_found_however_it_is_written(opening: Opening, raw_name: bytes, flags: int) -> None:
    content = zip_of(Packed(name=raw_name, flags=flags), Packed(b"", name=b"other"))
    assert opening(content, entry="r\u00e4ume \u202f1.csv")[0] == CSV


@pytest.mark.parametrize("entry", ["b/c.csv", "in.zip!/y.csv"])
def test_the_option_says_which_entry_is_meant(opening: Opening, entry: str) -> None:
    data, described = opening(TWO, entry=entry)
    assert (data, described["entry"]) == (CSV, entry)


def test_several_files_are_named_so_that_one_can_be_chosen(opening: Opening) -> None:
    several = opening.refusal(TWO)
    assert several.code == "archive_several_files"
    assert several.detail == (
        "There are 4 files in the zip: 'a.csv', 'b/c.csv', 'README', 'in.zip'. Say which one by the option `entry`."
    )
    missing = opening.refusal(TWO, entry="c.csv")
    assert missing.code == "archive_entry_missing"
    assert "'b/c.csv'" in missing.detail
    many = opening.refusal(zipped({f"{number}" * 300: b"" for number in range(10)}))
    assert "and 5 more" in many.detail


def test_a_wish_for_an_entry_where_there_is_no_zip_is_told(opening: Opening) -> None:
    assert opening.refusal(gzipped(), entry="a").code == "archive_entry_missing"
    assert opening.refusal(zipped({"a": CSV}), entry="a!/b").code == "archive_entry_missing"
    with pytest.raises(StepError):
        opening(CSV, entry="a")


DEFLATED = deflated(CSV)
BAD = {
    "an empty zip": (zip_of(), "archive_empty"),
    "a zip with nothing but folders": (zip_of(Packed(b"", name=b"a/", method=0)), "archive_empty"),
    "a spreadsheet": (zipped({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}), "archive_is_document"),
    "half a gzip": (gzipped()[:-200], "archive_truncated"),
    "a gzip's magic alone": (b"\x1f\x8b", "archive_truncated"),
    "a gzip without its checksum": (gzipped()[:-8], "archive_truncated"),
    "a gzip with another checksum": (gzipped()[:-8] + bytes(4) + gzipped()[-4:], "archive_damaged"),
    "a gzip with another size": (gzipped()[:-4] + bytes(4), "archive_damaged"),
    "a gzip of another method": (b"\x1f\x8b\x07" + gzipped()[3:], "archive_damaged"),
    "a gzip with junk behind it": (gzipped() + b"\0\0junk", "archive_trailing_bytes"),
    "a gzip with half a member behind it": (gzipped() + b"\x1f", "archive_trailing_bytes"),
    "half a zstd": (zstandard()[:-200], "archive_truncated"),
    "a zstd's magic alone": (zstandard()[:4], "archive_truncated"),
    "a zstd with another checksum": (zstandard()[:-4] + bytes(4), "archive_damaged"),
    "a zstd with junk behind it": (zstandard() + b"junk", "archive_trailing_bytes"),
    "a zstd with half a skippable frame": (zstandard() + skippable(b"x" * 99)[:-1], "archive_truncated"),
    "a zstd with a reserved bit": (b"\x28\xb5\x2f\xfd\x08" + zstandard()[5:], "archive_damaged"),
    "a zstd that needs a dictionary": (b"\x28\xb5\x2f\xfd\x21\x07\x00\x01\x00\x00" + bytes(20), "archive_unsupported"),
    "a zstd that needs 2 GiB of memory": (b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00" + bytes(20), "archive_unsupported"),
    "half a zip": (zipped()[:-30], "archive_truncated"),
    "a zip with junk behind it": (zipped() + b"junk", "archive_trailing_bytes"),
    "a zip with junk before it": (b"PK\x03\x04" + zipped(), "archive_damaged"),
    "a part of a zip of several": (
        zipped()[:-18] + b"\1\0\1\0" + zipped()[-14:],
        "archive_unsupported",
    ),
    "the first part of a zip of several": (b"PK\x07\x08" + zipped()[:-22], "archive_truncated"),
    "an encrypted entry": (zip_of(Packed(flags=1)), "archive_encrypted"),
    "an entry of bzip2": (zip_of(Packed(method=12)), "archive_unsupported"),
    "an entry of nobody's method": (zip_of(Packed(method=77)), "archive_unsupported"),
    "a wrong checksum": (zip_of(Packed(crc=1)), "archive_damaged"),
    "a size that is too small": (zip_of(Packed(size=10)), "archive_damaged"),
    "a size that is too large": (zip_of(Packed(size=len(CSV) + 1)), "archive_damaged"),
    "a size of 4 GiB": (zip_of(Packed(size=0xFFFFFFFE)), "archive_ratio"),
    "a stored entry of another size": (zip_of(Packed(method=0, size=10)), "archive_damaged"),
    "a compressed size that is too small": (zip_of(Packed(compressed=len(DEFLATED) - 9)), "archive_truncated"),
    "a compressed size that is too large": (zip_of(Packed(compressed=1 << 30)), "archive_overlapping"),
    "bytes behind the end of an entry": (zip_of(Packed(packed=DEFLATED + b"more")), "archive_damaged"),
    "data that is no data": (zip_of(Packed(packed=b"\xff" * 50)), "archive_damaged"),
    "a name that the entry does not have": (zip_of(Packed(local_name=b"safe.csv")), "archive_damaged"),
    "two entries at one place": (
        zip_of(Packed(name=b"a", local_name=b"b"), Packed(name=b"b", offset=0)),
        "archive_overlapping",
    ),
    "an entry within another": (zip_of(Packed(name=b"a"), Packed(name=b"b", offset=20)), "archive_overlapping"),
    "an entry in the directory": (
        zip_of(Packed(name=b"a"), Packed(b"", name=b"b", offset=2000)),
        "archive_overlapping",
    ),
    "entries that are not there": (zip_of(Packed(), count=2), "archive_damaged"),
    "entries that are not counted": (zip_of(Packed(name=b"a"), Packed(name=b"b"), count=1), "archive_damaged"),
    "too many entries": (zip_of(Packed(), count=10_001), "archive_too_many_entries"),
    "an entry without its size": (zip_of(Packed(size=0xFFFFFFFF)), "archive_damaged"),
    "four layers": (gzipped(gzipped(zstandard(gzipped()))), "archive_depth"),
    "a bomb of gzip": (zeros_gzipped(8 << 20), "archive_ratio"),
    "a bomb of zstd": (zstandard(bytes(8 << 20)), "archive_ratio"),
    "a bomb of zip": (zipped({"zeros": bytes(8 << 20)}), "archive_ratio"),
    "a bomb in a harmless zip": (zipped({"zeros.gz": zeros_gzipped(8 << 20)}), "archive_ratio"),
    "a bomb of frames": (zstandard(bytes(1 << 20)) * 40, "archive_ratio"),
    "members with nothing in them": (gzipped(b"") * 100_001, "archive_too_many_parts"),
    "frames with nothing in them": (skippable(b"") * 100_001, "archive_too_many_parts"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "code"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_opened_is_refused_and_leaves_nothing(opening: Opening, content: bytes, code: str) -> None:
    assert opening.refusal(content).code == code


def test_two_entries_of_one_name_are_not_told_apart(opening: Opening) -> None:
    assert opening.refusal(zip_of(Packed(), Packed()), entry="data.csv").code == "archive_ambiguous"


def test_the_first_mebibyte_may_come_out_of_anything(opening: Opening) -> None:
    assert opening(zeros_gzipped(1 << 20))[0] == bytes(1 << 20)


@pytest.mark.parametrize(
    ("content", "caps", "code"),
    [
        (gzipped(), {"bytes": len(CSV) - 1}, "archive_too_large"),
        (gzipped(zstandard()), {"depth": 1}, "archive_depth"),
        (zipped(), {"entries": 0}, "archive_too_many_entries"),
        (zeros_gzipped(8 << 20), {"ratio": 1200, "bytes": (8 << 20) - 1}, "archive_too_large"),
        (gzipped(), {"disk_free_bytes": 1 << 60}, "disk_full"),
        (zstandard_stream(window_log=27), {"memory_mb": 128}, "archive_unsupported"),
    ],
    ids=["bytes", "depth", "entries", "bytes before the ratio", "the disk", "memory"],
)
def test_the_caps_are_settings(opening: Opening, content: bytes, caps: dict[str, int], code: str) -> None:
    assert opening.refusal(content, **caps).code == code


def test_a_higher_ratio_lets_more_through(opening: Opening) -> None:
    assert len(opening(zeros_gzipped(8 << 20), ratio=1200)[0]) == 8 << 20


def test_a_step_that_is_stopped_stops_decompressing_at_once(opening: Opening) -> None:
    told: list[float] = []

    def report(share: float, _message: str | None) -> None:
        told.append(share)
        if len(told) == 3:
            raise StepStopped

    with pytest.raises(StepStopped):
        opening(zeros_gzipped(32 << 20), report=report, ratio=2000)
    assert len(told) == 3
    assert list(opening.scratch.iterdir()) == []


SLOW: dict[str, Callable[[], bytes]] = {
    "much that comes out": lambda: zeros_gzipped(32 << 20),
    "nothing that comes out": lambda: (
        gzipped() + b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"x" * (1 << 20) + b"\0" + gzipped()[10:]
    ),
    "what is skipped": lambda: skippable(bytes(1 << 20)) + zstandard(),
}


@pytest.mark.parametrize("content", SLOW.values(), ids=SLOW.keys())
def test_progress_is_told_while_there_is_work(opening: Opening, content: Callable[[], bytes]) -> None:
    """Each time it is told is a chance to be stopped."""
    told: list[float] = []
    opening(content(), report=lambda share, _message: told.append(share), ratio=2000)
    assert told == sorted(told)
    assert len(told) > 32


def test_a_compressed_csv_is_profiled_and_its_result_says_what_was_opened(opening: Opening) -> None:
    told: list[float] = []
    task = opening.task(zipped({"a/b.csv.gz": gzipped()}))
    found = profile(task, lambda share, _message: told.append(share))
    assert (found["rows"], found["bytes"]) == (500, len(CSV))
    assert found["input"] == {"compression": ["zip", "gzip"], "entry": "a/b.csv.gz", "bytes": len(CSV)}
    assert told == sorted(told)
    assert told[-1] <= 1


def test_what_is_no_csv_when_it_is_opened_is_told_so(opening: Opening) -> None:
    with pytest.raises(StepError) as refused:
        profile(opening.task(gzipped(b"{}" + bytes(255) + b"ustar" + bytes(250))), lambda _share, _message: None)
    assert "tar archive" in refused.value.detail
