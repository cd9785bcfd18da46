"""The workflow csv-clean, from a blob to the files that it leaves."""

import gzip
import io
from typing import Any

from fixtures.processor import Processor, step_of

RECIPE: dict[str, Any] = {
    "version": 1,
    "rules": [
        {"rule": "trim"},
        {"rule": "integer", "columns": ["id"]},
        {"rule": "number", "columns": ["amount"]},
    ],
}
ONCE = {**RECIPE, "rules": [*RECIPE["rules"], {"rule": "unique", "columns": ["id"]}]}
_HEAD = b"id,name,amount\n"
_NAME = b" ".join([b"a name of some length"] * 7)


def large(rows: int) -> bytes:
    """Every thousandth row has an amount that is none, and another one a field too many."""
    lines = io.BytesIO()
    lines.write(_HEAD)
    for number in range(rows):
        lines.write(b"%d,%s%s,%s\n" % (number, _NAME, b" " * (number % 100 == 50), _amount(number)))
    return lines.getvalue()


def _amount(number: int) -> bytes:
    match number % 1000:
        case 17:
            return b"none"
        case 400:
            return b"1.5,9"
    return b"%d.25" % number


async def artifact(processor: Processor, job: dict[str, Any], name: str) -> bytes:
    blobs = processor.parts.blobs
    (key,) = [key async for key in blobs.keys(f"artifacts/acme/{job['id']}") if key.endswith(f"/{name}")]
    return await blobs.get(key)


async def test_a_file_of_several_parts_becomes_one_table(processor: Processor) -> None:
    rows = 120_000
    content = large(rows)
    job = await processor.finished(
        await processor.start(
            "csv-clean", input={"blob": await processor.store(content), "options": {"recipe": RECIPE}}
        )
    )
    assert job["status"] == "COMPLETED", job["error"]
    assert step_of(job, "parts")["items"] > 1
    assert job["result"]["rows"] == {"in": rows, "out": rows - 240, "rejected": 240, "duplicates": 0}
    assert job["result"]["rejects"] == {"not_number": 120, "too_many_fields": 120}
    files = {name: await artifact(processor, job, name) for name in ("cleaned.csv", "rejects.csv", "changes.parquet")}
    bad = [line for line in content.splitlines(keepends=True) if line.endswith((b"none\n", b",9\n"))]
    assert files["rejects.csv"] == b"".join(bad)
    assert files["cleaned.csv"].count(b"\n") == rows - 240 + 1
    assert files["cleaned.csv"].startswith(b"id,name,amount\n0,%s,0.25\n1,%s,1.25\n" % (_NAME, _NAME))
    assert job["result"]["changed_cells"] == rows // 100, "each hundredth name was trimmed"


async def test_a_compressed_file_is_opened_once_for_all_its_parts(processor: Processor) -> None:
    given = {"blob": await processor.store(gzip.compress(large(2_000))), "options": {"recipe": ONCE}}
    job = await processor.finished(await processor.start("csv-clean", input=given))
    assert job["result"]["rows"] == {"in": 2000, "out": 1996, "rejected": 4, "duplicates": 0}
    assert job["result"]["input"]["compression"] == ["gzip"]
    assert (await artifact(processor, job, "rejects.csv")).count(b"\n") == 4


async def test_a_recipe_that_does_not_fit_fails_the_job_with_the_place(processor: Processor) -> None:
    recipe = {"version": 1, "rules": [{"rule": "trim", "columns": ["nmae"]}]}
    given = {"blob": await processor.store(large(10)), "options": {"recipe": recipe}}
    job = await processor.finished(await processor.start("csv-clean", input=given))
    assert (job["status"], job["error"]["code"], job["attempts"]) == ("FAILED", "wrong_recipe", 1)
    assert "recipe.rules[0].columns[0]: There is no column nmae" in job["error"]["detail"]


async def test_another_upload_can_be_looked_up_in_but_none_of_another_tenant(processor: Processor) -> None:
    rule = {"rule": "foreign_key", "columns": ["name"], "table": "people", "references": ["who"]}
    recipe = {"version": 1, "rules": [rule], "output": {"format": "jsonl"}}
    own, foreign = [await processor.store(b"who;city\nAda;Rome\n", tenant=tenant) for tenant in ("acme", "other")]
    given = {"blob": await processor.store(b"id,name\n1,Ada\n2,Bob\n")}
    done = await processor.finished(
        await processor.start("csv-clean", input={**given, "options": {"recipe": recipe, "tables": {"people": own}}})
    )
    assert done["result"]["rejects"] == {"no_reference": 1}
    assert await artifact(processor, done, "cleaned.jsonl") == b'{"id":"1","name":"Ada"}\n'
    refused = await processor.finished(
        await processor.start(
            "csv-clean", input={**given, "options": {"recipe": recipe, "tables": {"people": foreign}}}
        )
    )
    assert refused["error"]["code"] == "input_missing"
    assert "`tables.people`" in refused["error"]["detail"]
