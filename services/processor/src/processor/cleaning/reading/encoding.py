"""In which encoding a file is, as far as samples of it tell."""

import codecs
import sys
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.decisions import Decision, decided, overridden
from processor.cleaning.reading.formats import USED_CONTROLS, refuse_binary, refuse_other_formats
from processor.cleaning.reading.one_byte import one_byte_encoding
from processor.cleaning.reading.options import Options
from processor.cleaning.reading.records_units import units_of
from processor.cleaning.reading.samples import Samples
from processor.step import StepError

# UTF-32's first: UTF-16's is its beginning.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_WIDTHS = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}
_WIDEST, _NO_CHARACTER = 4, 0xDFFF  # bytes; a surrogate by itself
_UTF16_SAMPLE_BYTES = 64 << 10
_USED_CONTROLS = USED_CONTROLS.decode()
_MOST_BESIDE_ZEROS = 0.7  # of ASCII as UTF-16 it is half
_STRANGE = ("Cn", "Co", "Cs", "Cc")  # categories of characters
_FEWEST_ZEROS, _MOST_STRANGE = 0.005, 0.02
# Damaged UTF-8 has this many whole characters of several bytes for each byte that is of none. In other encodings they
# come about by chance, and are a tenth at most.
_FEWEST_WHOLE = 0.5


@dataclass(frozen=True, slots=True)
class Encoding:
    decision: Decision[str]
    mark_bytes: int  # of a byte order mark, which is no part of the text

    @property
    def is_ascii_compatible(self) -> bool:
        return self.decision.value not in _WIDTHS

    def text(self, piece: bytes) -> str:
        """What is not of the encoding becomes surrogates, so that `encoded` gives as many bytes."""
        return self._whole(piece).decode(self.decision.value, self._errors)

    def text_somewhere(self, piece: bytes) -> str:
        """Of a piece that may begin and end within a character."""
        return self._whole(piece).decode(self.decision.value, "replace")

    def encoded(self, text: str) -> bytes:
        return text.encode(self.decision.value, self._errors)

    def _whole(self, piece: bytes) -> bytes:
        whole = piece[: len(piece) - len(piece) % _WIDTHS.get(self.decision.value, 1)]
        if not self._strange(whole).any():
            return whole
        units = units_of(whole, self.decision.value)
        return np.where(self._strange(whole), units.dtype.type(_NO_CHARACTER), units).astype(units.dtype).tobytes()

    def is_of(self, piece: bytes) -> bool:
        """Whether it may be of this encoding, though some of it is not."""
        strange = self._strange(piece)
        return 2 * int(strange.sum()) <= len(strange)

    def _strange(self, piece: bytes) -> NDArray[np.bool_]:
        """Of units of four bytes, which are no characters of Unicode. Python's codec has no way around them."""
        if _WIDTHS.get(self.decision.value) != _WIDEST:
            return np.zeros(0, np.bool_)
        strange: NDArray[np.bool_] = units_of(piece, self.decision.value) > sys.maxunicode
        return strange

    @property
    def _errors(self) -> str:
        return "surrogateescape" if self.is_ascii_compatible else "surrogatepass"


def decide_encoding(samples: Samples, options: Options) -> Encoding:
    """Raises `StepError` if the file is empty, or no text."""
    head = samples.head
    if not head:
        raise StepError("empty_file", "The file has no bytes.")
    mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
    if isinstance(options.encoding, str):
        encoding = Encoding(overridden(options.encoding), len(mark) if _MARKS.get(mark) == options.encoding else 0)
    elif mark:
        found = _MARKS[mark]
        encoding = Encoding(
            decided(found, 1.0, f"The file begins with the byte order mark of {found.upper()}."), len(mark)
        )
    else:
        refuse_other_formats(head)
        encoding = Encoding(_utf16(head) or _of_bytes(samples), 0)
    _refuse_no_text(encoding, samples)
    return encoding


def _refuse_no_text(encoding: Encoding, samples: Samples) -> None:
    if encoding.is_ascii_compatible:
        refuse_binary(samples.head)
    elif not encoding.is_of(samples.head):
        name = encoding.decision.value.upper()
        raise StepError("not_csv", f"The file is not a CSV: it is not the {name} that it should be.")
    if samples.are_all and not encoding.text(samples.head[encoding.mark_bytes :]).strip():
        raise StepError("empty_file", "The file has no content but white space.")


def _utf16(head: bytes) -> Decision[str] | None:
    """Without a mark, it is known by its zeros: ASCII has one in each character, always on the same side."""
    part = head[: min(len(head), _UTF16_SAMPLE_BYTES) // 2 * 2]
    even, odd = part[::2].count(0), part[1::2].count(0)
    if max(even, odd) < max(1, _FEWEST_ZEROS * len(part)) or min(even, odd) > _MOST_STRANGE * max(even, odd):
        return None
    rest = part.replace(b"\0", b"")
    if (
        len(rest) > _MOST_BESIDE_ZEROS * len(part)
        and rest.isascii()
        and rest.decode("ascii").replace("\n", "").isprintable()
    ):
        return None  # ASCII with stray zeros
    name = "utf-16-le" if odd > even else "utf-16-be"
    try:
        text = part.decode(name)
    except UnicodeDecodeError as bad:
        if bad.start < len(part) - 2:  # else a pair of surrogates was cut
            return None
        text = part[: bad.start].decode(name)
    strange = sum(unicodedata.category(sign) in _STRANGE and sign not in _USED_CONTROLS for sign in text)
    if strange > _MOST_STRANGE * len(text) or not any(sign in text for sign in "\r\n,;\t "):
        return None
    side = "second" if odd > even else "first"
    reason = f"There is no byte order mark, but of {max(even, odd)} zero bytes nearly each is the {side} of a pair."
    return decided(name, 0.97, reason, [("utf-8", 0.01)])


def _of_bytes(samples: Samples) -> Decision[str]:
    pieces = samples.pieces()
    if all(piece.isascii() for piece in pieces):
        if samples.are_all:
            return decided("utf-8", 1.0, "The file is plain ASCII.")
        reason = "All samples of the file are plain ASCII; if there is more in it, it is UTF-8 most likely."
        return decided("utf-8", 0.9, reason, [("windows-1252", 0.1)])
    whole, bad = _utf8_characters(pieces)
    if bad == 0:
        reason = f"All {whole:,} characters beyond ASCII {_where(samples)} are valid UTF-8."
        return decided("utf-8", 1 - 0.5 ** (whole + 2), reason)
    if whole >= _FEWEST_WHOLE * bad:
        reason = f"{whole:,} characters beyond ASCII are valid UTF-8, and {bad:,} bytes {_where(samples)} are not."
        return decided("utf-8", whole / (whole + bad), reason, [("windows-1252", bad / (whole + bad))])
    return one_byte_encoding(pieces)


def _where(samples: Samples) -> str:
    return "of the file" if samples.are_all else "in the samples"


def _utf8_characters(pieces: tuple[bytes, ...]) -> tuple[int, int]:
    """How many there are of several bytes, and how many bytes are part of none."""
    whole = bad = 0
    for number, piece in enumerate(pieces):
        inner = piece
        if number > 0:  # begins somewhere, perhaps within a character
            inner = inner[next((at for at in range(min(4, len(inner))) if inner[at] & 0xC0 != 0x80), 0) :]
        text = inner.decode("utf-8", "surrogateescape")
        if number < len(pieces) - 1:
            text = _without_cut_character(text)
        if text.isascii():
            continue
        beyond = len(text) - len(text.encode("ascii", "ignore"))
        strange = len(text) - len(text.encode("utf-8", "ignore").decode("utf-8"))
        whole += beyond - strange
        bad += strange
    return whole, bad


def _without_cut_character(text: str) -> str:
    for at in range(max(0, len(text) - 3), len(text)):
        if "\udcc2" <= text[at] <= "\udcf4":
            return text[:at]
    return text
