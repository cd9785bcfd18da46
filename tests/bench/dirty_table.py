"""A large CSV file for the benchmark `cleaning`: orders with everything usual in them, and now and then a bad row. The
same file without these is for those who cannot go on after one."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

NAMES = ("id", "customer", "city", "day", "amount", "quantity", "paid", "note")
TEXTS = ("customer", "city", "note")
NULLS = ("n/a", "-", "null")
_BLOCK_ROWS = 100_000
_NO_UTF8 = b"\xff"
_ROWS = """
    SELECT *, i || ',"' || customer || '",' || city || ',' || day || ',' || amount || ',' || quantity || ',' || paid
        || ',' || note AS good
    FROM (
        SELECT i,
            ['Anna', 'Bert', 'Chloé', 'Dmitri', 'Eve', 'Farid', 'Grete', 'Hans'][1 + h % 8] || ' '
                || ['Meyer', 'O''Neill', 'García', 'Smith, Jr.', 'van der Berg', 'Şahin'][1 + (h >> 3) % 6]
                || ' ' || (h >> 8) % 100000 AS customer,
            ['Berlin', 'Paris', 'Warszawa', 'London', 'Roma', 'Madrid', 'New York', 'São Paulo']
                [1 + (h >> 12) % 8] AS city,
            CAST(DATE '2015-01-01' + CAST((h >> 17) % 4000 AS INTEGER) AS VARCHAR) AS day,
            CAST(CAST((h >> 20) % 10000000 AS DECIMAL(18, 2)) / 100 AS DECIMAL(18, 2))::VARCHAR AS amount,
            CAST((h >> 24) % 1000 AS VARCHAR) AS quantity,
            CASE WHEN (h >> 30) % 3 = 0 THEN 'true' ELSE 'false' END AS paid,
            CASE WHEN (h >> 33) % 50 = 0 THEN 'n/a'
                WHEN (h >> 33) % 50 = 1 THEN '  order ' || i || ' '
                WHEN (h >> 33) % 50 < 10 THEN ''
                ELSE 'sent with order ' || h % 100000000 || ' by post' END AS note,
            CASE WHEN (h >> 40) % 10000 < 3 THEN 1 + (h >> 53) % 9 ELSE 0 END AS bad
        FROM (SELECT i, CAST(hash(i) >> 1 AS BIGINT) AS h FROM range($first::BIGINT, $until::BIGINT) r (i))
    )
"""
_BLOCK = f"""
    SELECT count_if(bad > 0),
        string_agg(good, chr(10) ORDER BY i) FILTER (bad = 0),
        string_agg(CASE bad WHEN 0 THEN good
            WHEN 1 THEN i || ',"' || customer || '",' || city
            WHEN 2 THEN good || ',1,2'
            WHEN 3 THEN replace(good, ',' || amount, ',' || amount || 'x')
            WHEN 4 THEN replace(good, day, '2021-02-30')
            WHEN 5 THEN replace(good, city, city || chr(1))
            WHEN 6 THEN replace(good, customer || '"', customer)
            WHEN 7 THEN replace(good, customer || '"', customer || '"x')
            WHEN 8 THEN replace(good, ',' || quantity || ',', ',many,')
            ELSE replace(good, ',' || paid || ',', ',maybe,') END, chr(10) ORDER BY i)
    FROM ({_ROWS})
"""


@dataclass(frozen=True, slots=True)
class Made:
    dirty: Path
    clean: Path
    rows: int  # of the dirty one
    bad: int  # of these


def make(folder: Path, megabytes: int) -> Made:
    dirty, clean = folder / "dirty.csv", folder / "clean.csv"
    written = rows = bad = 0
    with dirty.open("wb") as with_bad, clean.open("wb") as without, duckdb.connect(config={"threads": 1}) as connection:
        header = (",".join(NAMES) + "\n").encode()
        with_bad.write(header)
        without.write(header)
        while written < megabytes * 1_000_000:
            block = connection.execute(_BLOCK, {"first": rows, "until": rows + _BLOCK_ROWS}).fetchone()
            assert block is not None
            without.write(block[1].encode() + b"\n")
            written += with_bad.write(block[2].encode().replace(b"\x01", _NO_UTF8) + b"\n")
            rows, bad = rows + _BLOCK_ROWS, bad + block[0]
    return Made(dirty, clean, rows, bad)
