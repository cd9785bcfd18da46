"""What a record is: the exact grammar, ours and not a parser's."""

from dataclasses import dataclass
from enum import IntEnum

_ENDS = (b"\n", b"\r")


@dataclass(frozen=True, slots=True)
class Grammar:
    """Of bytes whose ASCII characters are ASCII. A record ends at \\n, \\r\\n or \\r outside quotes. A quote opens a
    field only where the field begins, and a delimiter or the record's end follows the one that closes it. In a field
    without quotes it is text."""

    delimiter: bytes = b","
    quote: bytes | None = b'"'
    escape: bytes | None = None  # before a quote or itself, within quotes; without it, a quote is doubled
    most_record_bytes: int = 1 << 20
    keeps_blank_lines: bool = False  # in a table of one column, a line with nothing in it is a row

    def __post_init__(self) -> None:
        signs = [sign for sign in (self.delimiter, self.quote, self.escape) if sign is not None]
        if any(len(sign) != 1 or not sign.isascii() or sign in (*_ENDS, b"\0") for sign in signs):
            raise ValueError("A delimiter, a quote and an escape are each one ASCII character that ends no line.")
        if len(set(signs)) != len(signs):
            raise ValueError("The delimiter, the quote and the escape have to differ.")
        if self.escape is not None and self.quote is None:
            raise ValueError("Without a quote there is nothing to be escaped.")


class Fault(IntEnum):
    """Why a record is rejected. The first that holds, from the top."""

    NONE = 0
    RECORD_TOO_LONG = 1  # its line is longer than the most
    TEXT_AFTER_QUOTE = 2
    UNCLOSED_QUOTE = 3  # before the end, or within the most
    NUL_BYTE = 4
    TOO_FEW_FIELDS = 5
    TOO_MANY_FIELDS = 6
    BAD_ENCODING = 7  # only what is a row otherwise is read as text

    @property
    def code(self) -> str:
        return self.name.lower()
