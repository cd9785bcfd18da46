"""The typed clean of the benchmark `cleaning` by pandas, which has one thread: by so many processes, each with its part
of the file, which is the one without bad rows. Decimals are floats."""

import json
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.peak import peak_mb

_NAMES = ["id", "customer", "city", "day", "amount", "quantity", "paid", "note"]
_TYPES = {"id": "Int64", "customer": "str", "city": "str", "amount": "float64", "quantity": "Int64", "note": "str"}
_ROWS = 250_000


def main(path: str, target: str, processes: str) -> None:
    began = perf_counter()
    with multiprocessing.get_context("spawn").Pool(int(processes)) as pool:
        done = pool.starmap(
            _clean, [(path, f"{target}-{at}", *part) for at, part in enumerate(_parts(path, int(processes)))]
        )
    seconds = perf_counter() - began
    rows, cpu_seconds, peak = (sum(column) for column in zip(*done, strict=True))
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak}))


def _parts(path: str, count: int) -> Iterator[tuple[int, int]]:
    """The clean file has no line ends within quotes."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        begin = len(file.readline())
        for at in range(1, count + 1):
            file.seek(size * at // count)
            file.readline()
            yield begin, min(file.tell(), size)
            begin = file.tell()


class _Part:
    """A file that ends where the part does."""

    def __init__(self, path: str, begin: int, end: int) -> None:
        self._file = Path(path).open("rb")  # noqa: SIM115 - for as long as the process
        self._file.seek(begin)
        self._left = end - begin

    def read(self, count: int = -1) -> bytes:
        data = self._file.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)


def _clean(path: str, target: str, begin: int, end: int) -> tuple[int, float, float]:
    cpu_began, rows, writer = process_time(), 0, None
    reader = pd.read_csv(
        _Part(path, begin, end), header=None, names=_NAMES, dtype=_TYPES, keep_default_na=False,
        na_values={name: [""] for name in _NAMES}, chunksize=_ROWS, true_values=["true"], false_values=["false"],
    )  # fmt: skip
    for table in reader:
        table["day"] = pd.to_datetime(table["day"], format="%Y-%m-%d")
        for name in ("customer", "city", "note"):
            text = table[name].str.strip()
            table[name] = text.mask(text.str.lower().isin(["n/a", "-", "null"]))
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        writer = writer or pq.ParquetWriter(target, arrow.schema, compression="snappy")
        writer.write_table(arrow)
        rows += len(table)
    assert writer is not None
    writer.close()
    Path(target).unlink()
    return rows, process_time() - cpu_began, peak_mb()


if __name__ == "__main__":
    main(*sys.argv[1:])
