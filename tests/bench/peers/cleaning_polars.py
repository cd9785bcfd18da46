"""The typed clean of the benchmark `cleaning` by Polars, streaming. It gets the file without bad rows."""

import json
import os
import sys
from time import perf_counter, process_time

from bench.peak import peak_mb


def main(path: str, target: str, threads: str) -> None:
    os.environ["POLARS_MAX_THREADS"] = threads
    import polars as pl

    schema = pl.Schema(
        {
            "id": pl.Int64,
            "customer": pl.String,
            "city": pl.String,
            "day": pl.Date,
            "amount": pl.Decimal(18, 2),
            "quantity": pl.Int64,
            "paid": pl.Boolean,
            "note": pl.String,
        }
    )
    texts = [pl.col(name).str.strip_chars() for name in ("customer", "city", "note")]
    began, cpu_began = perf_counter(), process_time()
    table = pl.scan_csv(path, schema=schema).with_columns(
        pl.when(text.str.to_lowercase().is_in(["n/a", "-", "null"])).then(None).otherwise(text).name.keep()
        for text in texts
    )
    table.sink_parquet(target, compression="snappy")
    seconds, cpu_seconds = perf_counter() - began, process_time() - cpu_began
    rows = pl.scan_parquet(target).select(pl.len()).collect().item()
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
