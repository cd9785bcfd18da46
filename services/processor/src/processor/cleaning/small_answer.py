"""The answer to a small clean as one JSON document, written piece by piece: it may be larger than our memory."""

import base64
import codecs
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from processor.cleaning import files
from processor.cleaning.recipe.document import Output
from processor.cleaning.report.making import JSON_NAME
from processor.cleaning.sql import literal
from processor.cleaning.survey import opened

_LOGS = {
    "rejects": files.REJECTS,
    "duplicates": files.DUPLICATES,
    "changes": files.CHANGES,
    "findings": files.FINDINGS,
}
_PIECE_BYTES = 3 << 18  # base64 of thirds has no padding within


def write_answer(
    connection: duckdb.DuckDBPyConnection,
    source: Path,
    folder: Path,
    output: Output,
    result: dict[str, Any],
    listed: int,
    path: Path,
) -> None:
    """A `SmallAnswer`. `source` is what was cleaned, and `folder` has the files that are left of it."""
    encoding: str = result["decisions"]["encoding"]["value"]
    with path.open("xb") as file, opened(source) as fd:
        file.write(b'{"result":%b,"cleaned":' % msgspec.json.encode(result))
        file.writelines(_cleaned(folder, output))
        for name, log in _LOGS.items():
            rows = f"FROM {literal(str(folder / log))}"
            ((count,),) = connection.execute(f"SELECT count(*) {rows}").fetchall()
            file.write(b',"%b":{"count":%d,"items":[' % (name.encode(), count))
            found = connection.execute(f"SELECT * {rows} LIMIT {listed:d}")
            columns = [column[0] for column in found.description or ()]
            for at, row in enumerate(found.fetchall()):
                entry = dict(zip(columns, row, strict=True))
                if log == files.REJECTS:
                    entry |= _told(os.pread(fd, entry["bytes"], entry["byte_offset"]), encoding)
                file.write(b"," * (at > 0) + msgspec.json.encode(entry))
            file.write(b"]}")
        file.write(b',"report":%b}' % (folder / JSON_NAME).read_bytes())


def _told(record: bytes, encoding: str) -> dict[str, str]:
    """As text only if that says of each byte what it is."""
    try:
        text = record.decode(encoding)
        if text.encode(encoding) == record:
            return {"text": text}
    except UnicodeError:
        pass
    return {"base64": base64.b64encode(record).decode()}


def _cleaned(folder: Path, output: Output) -> Iterator[bytes]:
    name = files.text_file(output) or files.CLEANED
    is_text = name != files.CLEANED
    decoder = codecs.getincrementaldecoder("utf-8")()
    yield b'{"format":"%b","%b":"' % (output.format.encode(), b"text" if is_text else b"base64")
    with (folder / name).open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield msgspec.json.encode(decoder.decode(piece))[1:-1] if is_text else base64.b64encode(piece)
    yield b'"}'
