"""The typed clean of the benchmark `cleaning` by bare DuckDB: no rejects, no change log."""

import json
import sys
from time import perf_counter, process_time

import duckdb

from bench.peak import peak_mb

_TYPES = {
    "id": "BIGINT",
    "customer": "VARCHAR",
    "city": "VARCHAR",
    "day": "DATE",
    "amount": "DECIMAL(18,2)",
    "quantity": "BIGINT",
    "paid": "BOOLEAN",
    "note": "VARCHAR",
}


def main(path: str, target: str, threads: str) -> None:
    columns = [_cleaned(name) if type_ == "VARCHAR" else name for name, type_ in _TYPES.items()]
    with duckdb.connect(config={"threads": int(threads), "memory_limit": "400MB"}) as connection:
        connection.execute("SET enable_progress_bar = false")
        began, cpu_began = perf_counter(), process_time()
        (rows,) = connection.execute(
            f"COPY (SELECT {', '.join(columns)} FROM read_csv('{path}', header = true, auto_detect = false, "
            f"columns = {_TYPES}, ignore_errors = true)) TO '{target}' (FORMAT parquet, COMPRESSION snappy)"
        ).fetchall()
        seconds, cpu_seconds = perf_counter() - began, process_time() - cpu_began
    print(json.dumps({"rows": rows[0], "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak_mb()}))


def _cleaned(name: str) -> str:
    trimmed = f"trim({name})"
    return f"CASE WHEN lower({trimmed}) IN ('n/a', '-', 'null') THEN NULL ELSE {trimmed} END AS {name}"


if __name__ == "__main__":
    main(*sys.argv[1:])
