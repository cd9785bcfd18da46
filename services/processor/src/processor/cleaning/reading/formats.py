"""Files that people send instead of a CSV."""

import codecs

from processor.step import StepError

# How they begin.
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive, or an Office document. Export the sheet as CSV",
    b"\x1f\x8b": "compressed with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2. Use gzip, zstd or zip",
    b"\xfd7zXZ\x00": "compressed with xz. Use gzip, zstd or zip",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive. Use gzip, zstd or zip",
    b"Rar!\x1a\x07": "a RAR archive. Use gzip, zstd or zip",
    b"\xd0\xcf\x11\xe0": "an old Office document. Export the sheet as CSV",
    b"%PDF-": "a PDF",
    b"PAR1": "a Parquet file",
    b"ORC\x03": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
    b"\x89PNG": "an image",
    b"GIF8": "an image",
    b"\xff\xd8\xff": "an image",
    b"\x7fELF": "a program",
    b"{\\rtf": "an RTF document",
    b"<?xml": "XML",
    b"<!doctype": "HTML",
    b"<html": "HTML",
    b'{"': "JSON",
    b'[{"': "JSON",
}
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257

# Control characters that text has no use for; a few may be garbage, many are another kind of file. Those that some
# write between fields, and the one that once ended files, are none of them.
USED_CONTROLS = b"\t\n\v\f\r\x1a\x1b\x01\x02\x1c\x1d\x1e\x1f"
_CONTROLS = bytes(code for code in range(1, 32) if code not in USED_CONTROLS)
_MOST_CONTROLS = 0.02


def refuse_other_formats(head: bytes) -> None:
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()[:32]
    for magic, what in _OTHER_FORMATS.items():
        if start.lower().startswith(magic.lower()):
            raise StepError("not_csv", f"The file is not a CSV: it is {what}.")
    if head.startswith(_TAR_MAGIC, _TAR_MAGIC_AT):
        raise StepError("not_csv", "The file is not a CSV: it is a tar archive. Send the file by itself, or in a zip.")


def refuse_binary(text: bytes) -> None:
    """Of an encoding in which ASCII is itself."""
    controls = len(text) - len(text.translate(None, _CONTROLS))
    if controls > _MOST_CONTROLS * len(text):
        raise StepError("not_csv", "The file is not a CSV: it is full of control characters, as binary files are.")
    nuls = text.count(0)
    if nuls > _MOST_CONTROLS * len(text):
        at = text.index(0)
        detail = f"The file is not a CSV: it has many NUL bytes, the first at offset {at}, as binary files have."
        raise StepError("not_csv", detail)
