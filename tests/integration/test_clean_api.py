"""What clients can ask of cleaning: a small file in one call, and rows of what a job has left."""

import base64
import gzip
import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from events.ids import new_id
from fixtures.accounts import register
from fixtures.client import Client
from fixtures.fuzz import UNLIMITED
from fixtures.millrace import Run, running
from processor.cleaning.query.views import TABLES
from processor.cleaning.small_example import ANSWER, FILE, OPTIONS

MOST_BYTES = 20_000
TRIM = {"version": 1, "rules": [{"rule": "trim"}]}


@pytest_asyncio.fixture(scope="module")
async def millrace(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    settings = {**UNLIMITED, "MILLRACE_CLEAN_BYTES": str(MOST_BYTES)}
    async with running(tmp_path_factory.mktemp("millrace") / "data", settings) as started:
        yield started


@pytest_asyncio.fixture(scope="module")
async def client(millrace: Run) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(millrace.url, headers={"X-API-Key": millrace.admin_key}) as session:
        yield session


async def clean(
    client: aiohttp.ClientSession,
    content: bytes | aiohttp.FormData,
    options: Mapping[str, Any] | str | None = None,
    *,
    accept: str = "*/*",
    **query: str,
) -> tuple[int, bytes, Mapping[str, str]]:
    if options is not None:
        query["options"] = options if isinstance(options, str) else json.dumps(options)
    data = io.BytesIO(content) if isinstance(content, bytes) else content
    async with client.post(f"/api/v1/clean?{urlencode(query)}", data=data, headers={"Accept": accept}) as response:
        return response.status, await response.read(), response.headers


async def cleaned(
    client: aiohttp.ClientSession, content: bytes, options: Mapping[str, Any], **query: str
) -> dict[str, Any]:
    status, body, _ = await clean(client, content, options, **query)
    assert status == 200, body
    return dict(json.loads(body))


async def refused(
    client: aiohttp.ClientSession, content: bytes, options: Any = None, **how: Any
) -> tuple[int, str, list[str]]:
    """Status, code, and the fields that are to blame."""
    status, body, _ = await clean(client, content, options, **how)
    problem = json.loads(body)
    return status, problem["code"], [error["field"] for error in problem.get("errors", [])]


async def test_the_answer_is_as_the_api_shows_it(client: aiohttp.ClientSession) -> None:
    answer = await cleaned(client, FILE, OPTIONS)
    shown = msgspec.to_builtins(ANSWER)
    decisions, report = answer["result"].pop("decisions"), answer.pop("report")
    assert shown["result"].pop("decisions").items() <= decisions.items()
    assert shown.pop("report").items() <= report.items()
    assert answer == shown


async def test_options_may_be_a_part_of_a_form_before_or_behind_the_file(client: aiohttp.ClientSession) -> None:
    for names in (("options", "file"), ("file", "options")):
        form = aiohttp.FormData()
        for name in names:
            if name == "file":
                form.add_field(name, io.BytesIO(FILE), filename="people.csv")
            else:
                form.add_field(name, json.dumps(OPTIONS), content_type="application/json")
        status, body, _ = await clean(client, form)
        assert status == 200, body
        assert json.loads(body)["cleaned"] == {"format": "csv", "text": "id,name,amount\n1,Ada,1.5\n"}


@pytest.mark.parametrize(
    ("accept", "expected"),
    {
        "text/csv": b"id,name,amount\n1,Ada,1.5\n",
        "application/x-ndjson": b'{"id":"1","name":"Ada","amount":1.5}\n',
        "application/jsonl": b'{"id":"1","name":"Ada","amount":1.5}\n',
        "application/json;q=0.5, text/*": b"id,name,amount\n1,Ada,1.5\n",
    }.items(),
)
async def test_who_wants_the_rows_alone_gets_them_with_the_counts_beside(
    client: aiohttp.ClientSession, accept: str, expected: bytes
) -> None:
    status, body, headers = await clean(client, FILE, OPTIONS, accept=accept)
    assert (status, body) == (200, expected)
    told = {name: headers[f"Millrace-{name}"] for name in ("Rows-In", "Rows-Out", "Rejected", "Duplicates")}
    assert told == {"Rows-In": "2", "Rows-Out": "1", "Rejected": "1", "Duplicates": "0"}
    assert headers["Millrace-Changed-Cells"] == "1"
    assert headers["Content-Type"].partition(";")[0] in accept or "text/*" in accept


async def test_parquet_and_a_zip_of_all_files_may_be_had_too(client: aiohttp.ClientSession) -> None:
    status, packed, headers = await clean(client, FILE, OPTIONS, accept="application/zip")
    assert (status, headers["Content-Type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.read("cleaned.csv") == b"id,name,amount\n1,Ada,1.5\n"
        assert archive.read("rejects.csv") == b"2,Bob,none\n"
        assert {"report.html", "report.json", "changes.parquet"} <= {*archive.namelist()}
        inside = archive.read("cleaned.parquet")
    status, alone, _ = await clean(client, FILE, OPTIONS, accept="application/vnd.apache.parquet")
    assert (status, alone) == (200, inside)
    both = {"recipe": {**OPTIONS["recipe"], "output": {"format": "parquet"}}}
    answer = await cleaned(client, FILE, both)
    assert base64.b64decode(answer["cleaned"]["base64"]) == inside


async def test_rejects_are_told_byte_for_byte(client: aiohttp.ClientSession) -> None:
    """Also where no rule has anything to say, and so nothing is told but what cannot be read."""
    content = "a,b\r\n1,2\r\n3,é,5\r\n".encode("latin-1") + b"6,7\xff\r\n8,9,\x81\r\n"
    as_utf8 = await cleaned(client, content, {"reading": {"encoding": "utf-8"}})
    assert [one.get("base64") for one in as_utf8["rejects"]["items"]] == [
        base64.b64encode(line).decode() for line in (b"3,\xe9,5\r\n", b"6,7\xff\r\n", b"8,9,\x81\r\n")
    ]
    as_latin = await cleaned(client, content, {"reading": {"encoding": "iso-8859-1"}})
    assert [one["text"] for one in as_latin["rejects"]["items"]] == ["3,é,5\r\n", "8,9,\x81\r\n"]


async def test_lists_are_bounded_and_say_how_many_there_are(client: aiohttp.ClientSession) -> None:
    content = b"a,b\n" + b" x ,1\n" * 50 + b"1,2,3\n" * 30
    answer = await cleaned(client, content, {"recipe": TRIM}, listed="10")
    assert (answer["changes"]["count"], len(answer["changes"]["items"])) == (50, 10)
    assert (answer["rejects"]["count"], len(answer["rejects"]["items"])) == (30, 10)


async def test_a_compressed_file_is_opened(client: aiohttp.ClientSession) -> None:
    answer = await cleaned(client, gzip.compress(FILE), OPTIONS)
    assert answer["result"]["input"] == {"compression": ["gzip"], "entry": None, "bytes": len(FILE)}


async def test_what_is_wrong_is_told_with_its_place(client: aiohttp.ClientSession) -> None:
    async def told(options: Any, **how: Any) -> tuple[int, str, list[str]]:
        return await refused(client, FILE, options, **how)

    unknown = {"version": 1, "rules": [{"rule": "trim", "columns": ["nmae"]}]}
    place = "query.options.recipe.rules[0].columns[0]"
    assert await told({"recipe": unknown}) == (422, "wrong_recipe", [place])
    assert await told({"recipe": {"version": 7}}) == (422, "wrong_recipe", ["query.options.recipe.version"])
    assert await told({"recipe": []}) == (422, "wrong_recipe", ["query.options.recipe"])
    assert await told({"reading": {"quote": "éé"}}) == (422, "invalid_option", ["query.options.reading.quote"])
    assert await told({"entry": 7}) == (422, "invalid_option", ["query.options.entry"])
    assert await told({"entry": "a.csv"}) == (422, "archive_entry_missing", [])
    assert await told({"tables": {"t": "uploads/other/1"}}) == (422, "invalid_option", ["query.options.tables"])
    assert await told({"clean": {}}) == (422, "invalid_option", ["query.options.clean"])
    assert await told("[]") == (422, "invalid_input", ["query.options"])
    assert await told(None, listed="10001") == (422, "invalid_input", ["query.listed"])
    assert await told(None, accept="image/png") == (406, "not_acceptable", [])


async def test_what_is_no_table_is_refused_as_what_it_is(client: aiohttp.ClientSession) -> None:
    assert await refused(client, b"") == (422, "invalid_input", ["body"])
    assert (await refused(client, b"\x89PNG\r\n\x1a\n" + b"\x00" * 100))[0] == 422
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(FILE), filename="a.csv")
    form.add_field("recipe", "{}")
    status, body, _ = await clean(client, form)
    assert (status, json.loads(body)["errors"][0]["field"]) == (422, "body.recipe")


async def test_a_file_that_is_too_large_is_refused_also_if_it_becomes_so(client: aiohttp.ClientSession) -> None:
    large = b"a,b\n" + b"1,2\n" * MOST_BYTES
    for content in (large, gzip.compress(large)):
        assert await refused(client, content) == (413, "too_large", [])
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(large), filename="a.csv")
    assert (await clean(client, form))[0] == 413
    assert (await clean(client, large[:MOST_BYTES]))[0] == 200


async def test_it_needs_the_scope_that_starts_jobs(client: aiohttp.ClientSession, millrace: Run) -> None:
    async with client.post("/api/v1/keys", json={"name": "reader", "scopes": ["jobs:read", "uploads:write"]}) as made:
        key = (await made.json())["key"]
    async with aiohttp.ClientSession(millrace.url, headers={"X-API-Key": key}) as reader:
        assert await refused(reader, FILE) == (403, "forbidden", [])


async def test_nothing_of_it_is_kept(client: aiohttp.ClientSession, millrace: Run) -> None:
    assert (await clean(client, FILE, OPTIONS))[0] == 200
    (scratch,) = (millrace.data / "scratch").iterdir()
    assert list(scratch.iterdir()) == []
    async with client.get("/api/v1/jobs?workflow=csv-clean-small") as jobs:
        assert (await jobs.json())["items"] == []


PEOPLE = b"id,first name,amount,day\n1, Ada ,1.50,2024-02-29\n2,Bob,none,2024-03-01\n3,Cyd,7.25,\n4,,-2,2024-03-01\n"
TYPES = [
    {"rule": "trim"},
    {"rule": "null_tokens"},
    {"rule": "integer", "columns": ["id"]},
    {"rule": "decimal", "columns": ["amount"], "scale": 2},
    {"rule": "date", "columns": ["day"], "formats": ["%Y-%m-%d"]},
]


@pytest_asyncio.fixture(scope="module")
async def job(millrace: Run, client: aiohttp.ClientSession) -> str:
    """That has cleaned them."""
    recipe = {"version": 1, "rules": [*TYPES, {"rule": "range", "columns": ["amount"], "min": 0}]}
    wish = urlencode({"workflow": "csv-clean", "options": json.dumps({"recipe": recipe})})
    async with client.post(f"/api/v1/uploads?{wish}", data=io.BytesIO(PEOPLE)) as accepted:
        job_id = str((await accepted.json())["job_id"])
    async with Client(millrace.url, millrace.admin_key) as watching:
        assert (await watching.watch(job_id)).frames[-1]["status"] == "COMPLETED"
    return job_id


async def query(
    client: aiohttp.ClientSession, job: str, table: str, *parameters: tuple[str, str], accept: str = "*/*"
) -> tuple[int, bytes, Mapping[str, str]]:
    path = f"/api/v1/jobs/{job}/artifacts/{table}?{urlencode(parameters)}"
    async with client.get(path, headers={"Accept": accept}) as response:
        return response.status, await response.read(), response.headers


async def test_rows_of_a_clean_are_asked_for_by_their_types(client: aiohttp.ClientSession, job: str) -> None:
    status, body, _ = await query(
        client,
        job,
        "cleaned",
        ("columns", "id,first name,amount,day"),
        ("where", "amount>=0"),
        ("where", "id:in:1,2,3"),
        ("order", "-amount"),
        ("count", "true"),
    )
    assert status == 200, body
    answer = json.loads(body)
    assert answer["items"] == [
        {"id": 3, "first name": "Cyd", "amount": "7.25", "day": None},
        {"id": 1, "first name": "Ada", "amount": "1.50", "day": "2024-02-29"},
    ]
    assert answer["columns"][0] == {"name": "id", "type": "BIGINT"}
    assert (answer["count"], answer["next_offset"]) == (2, None)


async def test_pages_follow_each_other(client: aiohttp.ClientSession, job: str) -> None:
    seen: list[int] = []
    offset: int | None = 0
    while offset is not None:
        _, body, _ = await query(client, job, "cleaned", ("limit", "2"), ("offset", str(offset)), ("order", "-id"))
        seen += [item["id"] for item in json.loads(body)["items"]]
        offset = json.loads(body)["next_offset"]
    assert seen == [3, 2, 1]


async def test_csv_has_the_counts_beside(client: aiohttp.ClientSession, job: str) -> None:
    asked = [("columns", "id,amount"), ("limit", "1"), ("count", "true")]
    status, body, headers = await query(client, job, "cleaned", *asked, accept="text/csv")
    assert (status, body) == (200, b"id,amount\n1,1.50\n")
    assert (headers["Millrace-Next-Offset"], headers["Millrace-Count"]) == ("1", "3")


async def test_the_logs_of_a_clean_are_tables_too(client: aiohttp.ClientSession, job: str) -> None:
    _, body, _ = await query(client, job, "rejects", ("columns", "line,column,reason"))
    assert json.loads(body)["items"] == [{"line": 5, "column": "amount", "reason": "out_of_range"}]
    _, body, _ = await query(client, job, "changes", ("where", "rule_name=trim"), ("columns", "row,before,after"))
    assert json.loads(body)["items"] == [{"row": 1, "before": " Ada ", "after": "Ada"}]
    for table in ("duplicates", "findings"):
        status, body, _ = await query(client, job, table)
        assert (status, json.loads(body)["items"]) == (200, [])


async def test_who_has_the_answer_need_not_get_it_again(client: aiohttp.ClientSession, job: str) -> None:
    _, _, headers = await query(client, job, "cleaned", ("limit", "1"))
    path = f"/api/v1/jobs/{job}/artifacts/cleaned"
    async with client.get(f"{path}?limit=1", headers={"If-None-Match": headers["ETag"]}) as again:
        assert again.status == 304
    async with client.get(f"{path}?limit=2", headers={"If-None-Match": headers["ETag"]}) as other:
        assert other.status == 200


@pytest.mark.parametrize(
    ("parameter", "field"),
    [
        (("where", '"; DROP TABLE t; --=1'), "query.where[0]"),
        (("where", "id=1; DROP TABLE t"), "query.where[0]"),
        (("where", "id=1 UNION SELECT 1"), "query.where[0]"),
        (("where", "read_csv('/etc/passwd')=1"), "query.where[0]"),
        (("columns", "id FROM read_text('/etc/passwd')"), "query.columns"),
        (("columns", "getenv('HOME')"), "query.columns"),
        (("order", "id;COPY t TO '/tmp/x'"), "query.order"),
        (("where", "id=" + "9" * 5_000), "query.where[0]"),
        (("limit", "10001"), "query.limit"),
        (("offset", "-1"), "query.offset"),
        (("sql", "SELECT 1"), "query.sql"),
    ],
)
async def test_nobody_gets_sql_through(
    client: aiohttp.ClientSession, job: str, parameter: tuple[str, str], field: str
) -> None:
    status, body, _ = await query(client, job, "cleaned", parameter)
    problem = json.loads(body)
    assert (status, [error["field"] for error in problem["errors"]]) == (422, [field]), problem


async def test_what_is_not_there_is_not_found(client: aiohttp.ClientSession, job: str, millrace: Run) -> None:
    other = (await register(millrace.door, "stranger@example.org")).access
    async with aiohttp.ClientSession(millrace.url, headers={"Authorization": f"Bearer {other}"}) as stranger:
        for table in TABLES:
            assert (await query(stranger, job, table))[0] == 404
        assert (await query(stranger, str(new_id()), "cleaned"))[0] == 404
    async with Client(millrace.url, millrace.admin_key) as sender:
        profiled = (await sender.upload(PEOPLE))["job_id"]
    assert (await query(client, profiled, "cleaned"))[0] == 404
    assert (await query(client, job, "cleaned", ("step", "nobody")))[0] == 404
    assert (await query(client, job, "cleaned", accept="image/png"))[0] == 406
