"""Suggest and preview, from an upload to the end of their jobs, in the real steps' processes."""

from typing import Any

from fixtures.archives import gzipped
from fixtures.processor import Processor

PEOPLE = b"id;name;born\n" + b"".join(
    b"%d; person %d;%02d.%02d.%d\n" % (row, row, 1 + row % 28, 1 + row % 12, 1950 + row % 50) for row in range(1, 200)
)


async def _done(processor: Processor, workflow: str, content: bytes, options: dict[str, Any]) -> dict[str, Any]:
    given = {"blob": await processor.store(content), "options": options}
    return await processor.finished(await processor.start(workflow, input=given))


async def test_a_recipe_is_suggested_and_previewed_on_the_same_file(processor: Processor) -> None:
    suggested = await _done(processor, "csv-suggest", gzipped(PEOPLE), {"sample": 500})
    assert suggested["status"] == "COMPLETED", suggested["error"]
    result = suggested["result"]
    assert [rule["name"] for rule in result["rules"]] == ["trim", "integer", "date", "unique"]
    assert [rule["cells"] for rule in result["rules"]] == [199, 0, 199, 0]
    assert result["input"]["compression"] == ["gzip"]
    status, verdict = await processor.post("/recipes/validate", result["recipe"])
    assert (status, verdict) == (200, {"valid": True, "errors": []})

    other = await processor.store(b"id\n1\n2\n")
    key = {"rule": "foreign_key", "columns": ["id"], "table": "known"}
    recipe = {**result["recipe"], "rules": [*result["recipe"]["rules"], key]}
    options = {"recipe": recipe, "rows": 2, "tables": {"known": other}}
    previewed = await _done(processor, "csv-preview", PEOPLE, options)
    assert previewed["status"] == "COMPLETED", previewed["error"]
    assert [row["cells"] for row in previewed["result"]["cleaned"]] == [
        ["1", "person 1", "1951-02-02"],
        ["2", "person 2", "1952-03-03"],
    ]
    assert len(previewed["result"]["changes"]) == 4
    assert "unique (rules[3]), foreign_key (rules[4])" in previewed["result"]["notes"][-1]


WRONG: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("csv-preview", {"recipe": {"version": 1, "rules": [{"rule": "trimm"}]}}, "wrong_recipe", "rules[0].rule"),
    ("csv-preview", {"rows": 5}, "invalid_parameters", "with.options.recipe"),
    ("csv-preview", {"recipe": {"version": 1}, "rows": 0}, "invalid_parameters", "with.options.rows"),
    ("csv-suggest", {"reading": {"delimiter": ""}}, "invalid_option", "`delimiter`"),
    ("csv-suggest", {"most_rejects": 2}, "invalid_parameters", "with.options.most_rejects"),
)


async def test_what_is_wrong_fails_the_job_and_is_named(processor: Processor) -> None:
    for workflow, options, code, place in WRONG:
        job = await _done(processor, workflow, PEOPLE, options)
        assert (job["status"], job["error"]["code"]) == ("FAILED", code), options
        assert place in job["error"]["detail"]
