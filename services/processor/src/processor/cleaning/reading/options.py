"""What a job's options may say of how its file is read. Whatever they say is done, and nothing of it is decided."""

import codecs
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from processor.cleaning.reading.kind import Kind
from processor.language.problems import Problem
from processor.step import StepError

# By the names that people know; each is a codec of Python.
ENCODINGS = (
    *("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"),
    *("windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255"),
    *("windows-1256", "windows-1257", "windows-1258", "cp874"),
    *("iso-8859-1", "iso-8859-2", "iso-8859-3", "iso-8859-4", "iso-8859-5", "iso-8859-6", "iso-8859-7"),
    *("iso-8859-8", "iso-8859-9", "iso-8859-10", "iso-8859-13", "iso-8859-14", "iso-8859-15", "iso-8859-16"),
    *("koi8-r", "koi8-u", "mac-roman", "cp437", "cp850", "cp852", "cp857", "cp866"),
    *("shift_jis", "euc-jp", "gb18030", "big5", "euc-kr"),
)
_BY_CODEC = {codecs.lookup(name).name: name for name in ENCODINGS}

MOST_DELIMITER_BYTES = 4  # of DuckDB
_MOST_COLUMNS = 100_000

# A surrogate also stands for a byte that is not of the file's encoding.
NO_TEXT = re.compile("[\0\ud800-\udfff]")

T = TypeVar("T", bound=msgspec.Struct)

Lines = Annotated[int, Meta(ge=0, le=1_000_000)]


class Options(msgspec.Struct, frozen=True):
    encoding: str | UnsetType = UNSET
    delimiter: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    quote: Annotated[str, Meta(min_length=1, max_length=1)] | UnsetType | None = UNSET  # null: there is none
    escape: Annotated[str, Meta(min_length=1, max_length=1)] | UnsetType | None = UNSET  # null: quotes are doubled
    table: Annotated[int, Meta(ge=1)] | UnsetType = UNSET  # of several in the file, from 1 on
    preamble_lines: Lines | UnsetType = UNSET
    footer_lines: Lines | UnsetType = UNSET
    header: bool | UnsetType = UNSET
    names: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=_MOST_COLUMNS)] | UnsetType = UNSET
    nulls: list[str] | UnsetType = UNSET  # of every column, beside empty fields
    columns: dict[str, Kind] | UnsetType = UNSET


def options_from(document: Mapping[str, Any]) -> Options:
    """Raises `StepError` that names the field that is wrong."""
    return _checked(structured(document, Options))


def structured(document: Mapping[str, Any], kind: type[T]) -> T:
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    for name in document:
        if name not in known:
            detail = f"There is no option `{name:.100}`. There are: {', '.join(sorted(known))}."
            raise StepError("invalid_option", detail, [Problem(name[:100], "invalid_option", detail)])
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as wrong:
        what, _, path = str(wrong).partition(" - at `")
        place = path.rstrip("`").removeprefix("$").removeprefix(".")
        raise _invalid(place, f"{what[:1].lower()}{what[1:]}") from None


def _checked(options: Options) -> Options:
    changes: dict[str, Any] = {}
    if options.encoding is not UNSET:
        changes["encoding"] = _known_encoding(options.encoding)
    if options.delimiter is not UNSET:
        if len(options.delimiter.encode(errors="replace")) > MOST_DELIMITER_BYTES:
            raise _invalid("delimiter", f"it may have {MOST_DELIMITER_BYTES} bytes at most")
        if set(options.delimiter) & set('\r\n\0"'):
            raise _invalid("delimiter", "it may have no line end, no NUL and no quotation mark")
    for place in ("quote", "escape"):
        mark = getattr(options, place)
        if isinstance(mark, str) and (not mark.isascii() or mark in "\r\n\0"):
            raise _invalid(place, "it must be one ASCII character, and no line end and no NUL")
        if isinstance(mark, str) and isinstance(options.delimiter, str) and mark in options.delimiter:
            raise _invalid(place, "it must not be in the delimiter")
    if options.quote is None and isinstance(options.escape, str):
        raise _invalid("escape", "there is nothing to escape where there is no quote")
    if isinstance(options.escape, str) and options.escape == options.quote:
        changes["escape"] = None  # so others write that quotes are doubled
    if options.names is not UNSET and len({name.casefold() for name in options.names}) < len(options.names):
        raise _invalid("names", "two columns may not have the same name, not even in another case")
    for at, name in enumerate([] if options.names is UNSET else options.names):
        if NO_TEXT.search(name):
            raise _invalid(f"names[{at}]", "it may have no NUL and no half of a surrogate pair")
    return msgspec.structs.replace(options, **changes)


def _known_encoding(name: str) -> str:
    try:
        return _BY_CODEC[codecs.lookup(name).name]
    except (LookupError, ValueError):
        raise _invalid("encoding", f"it must be one of {', '.join(ENCODINGS)}") from None


def _invalid(place: str, what: str) -> StepError:
    detail = f"{f'The option `{place:.100}`' if place else 'The options'} cannot be: {what}."
    return StepError("invalid_option", detail, [Problem(place[:100], "invalid_option", detail)])
