"""Steps leave files: for the steps behind them, and for whoever has started the job."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

from events.identity import PRINCIPAL_HEADER
from events.ids import new_id
from fixtures.blobs import keys
from fixtures.processor import READER, STRANGER, OpenProcessor, Processor, step_of


def leaving(blob: str, files: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"uses": "csv-profile", "with": {"blob": blob, "options": {"do": "leave", "files": files}}, **more}


def reading(blob: str, **more: Any) -> dict[str, Any]:
    return {"uses": "csv-profile", "with": {"blob": blob, "options": {"do": "read"}}, **more}


async def test_a_step_reads_what_a_former_one_has_left(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True) as processor:
        given = await processor.store(b"")
        job = await processor.outcome(
            {
                "make": leaving(given, {"staged/part": "a part", "artifacts/whole.csv": "a,b\n"}),
                "part": reading("${{ steps.make.output.keys['staged/part'] }}", depends=["make"]),
                "whole": reading("${{ steps.make.output.keys['artifacts/whole.csv'] }}", depends=["make"]),
            }
        )
        assert job["status"] == "COMPLETED", job["error"]
        assert step_of(job, "part")["output"] == {"read": "a part"}
        assert step_of(job, "whole")["output"] == {"read": "a,b\n"}
        (whole,) = [key async for key in processor.parts.blobs.keys("artifacts/acme")]
        assert whole == step_of(job, "make")["output"]["keys"]["artifacts/whole.csv"]


async def test_a_step_that_does_not_end_well_leaves_nothing(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True, step_attempts=1) as processor:
        given = await processor.store(b"")
        job = await processor.outcome({"a": leaving(given, {"artifacts/a b": "no name of a blob", "staged/c": "x"})})
        assert (job["status"], job["error"]["code"]) == ("FAILED", "step_crashed")
        assert await keys(processor.parts.blobs) == [given]


async def test_what_a_job_has_made_is_listed_and_got_by_its_name(open_processor: OpenProcessor) -> None:
    page = "<!doctype html><h1>Report</h1>"
    async with open_processor(obedient=True) as processor:
        given = await processor.store(b"a,b\n")
        copy = {"uses": "blob.copy", "with": {"blob": given, "name": "copy-of-${{ item }}"}}
        steps = {
            "clean": leaving(given, {"artifacts/report.html": page, "artifacts/empty.csv": "", "staged/part": "x"}),
            "each": {**copy, "map": {"items": [1, 2]}},
        }
        job = await processor.outcome(steps)
        path = f"/jobs/{job['id']}/artifacts"
        _, listed = await processor.get(path)
        assert [(one["step"], one["item"], one["name"], one["bytes"]) for one in listed["items"]] == [
            ("clean", None, "empty.csv", 0),
            ("clean", None, "report.html", len(page)),
            ("each", 0, "copy-of-1", 4),
            ("each", 1, "copy-of-2", 4),
        ]
        assert listed["items"][1]["url"] == f"/api/v1{path}/report.html"
        assert listed["items"][1]["content_type"] == "text/html"
        assert await processor.parts.blobs.get(listed["items"][3]["blob"]) == b"a,b\n"
        _, first = await processor.get(f"{path}?limit=3")
        _, rest = await processor.get(f"{path}?limit=3&cursor={quote(first['next_cursor'])}")
        assert (first["items"] + rest["items"], rest["next_cursor"]) == (listed["items"], None)

        status, body, headers = await got(processor, f"{path}/report.html")
        assert (status, body) == (200, page.encode())
        assert headers["Content-Type"] == "text/html"
        assert headers["Content-Disposition"] == "inline; filename*=UTF-8''report.html"
        assert "default-src 'none'; style-src 'unsafe-inline'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        etag = headers["ETag"]
        status, body, headers = await got(processor, f"{path}/empty.csv")
        assert (status, body, headers["Content-Disposition"][:10]) == (200, b"", "attachment")
        assert headers["ETag"] != etag
        status, body, headers = await got(processor, f"{path}/report.html", method="HEAD", Range="bytes=0-1")
        assert (status, body, headers["Content-Length"], headers["ETag"]) == (200, b"", str(len(page)), etag)
        for known, expected in ((etag, 206), ('"another"', 200)):
            part = {"Range": "bytes=-7", "If-Range": known}
            status, body, headers = await got(processor, f"{path}/report.html", **part)
            assert (status, body.endswith(page[-7:].encode()), len(body) == 7) == (expected, True, expected == 206)
        assert (await got(processor, f"{path}/report.html", **{"If-None-Match": etag}))[0] == 304
        assert (await got(processor, f"{path}/report.html", Range="bytes=99-"))[0] == 416


async def test_of_several_artifacts_with_one_name_each_can_be_got(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True) as processor:
        blobs = [await processor.store(content) for content in (b"first", b"second")]
        copy = {"uses": "blob.copy", "with": {"blob": "${{ item }}", "name": "same"}, "map": {"items": blobs}}
        last = {"uses": "blob.copy", "with": {"blob": blobs[0], "name": "same"}, "depends": ["each"]}
        job = await processor.outcome({"each": copy, "last": last})
        path = f"/jobs/{job['id']}/artifacts"
        _, listed = await processor.get(path)
        urls = [one["url"].removeprefix("/api/v1") for one in listed["items"]]
        assert urls == [f"{path}/same?step=each&item=0", f"{path}/same?step=each&item=1", f"{path}/same?step=last"]
        assert [(await got(processor, url))[1] for url in (*urls, f"{path}/same")] == [
            b"first",
            b"second",
            b"first",
            b"first",
        ]


async def test_an_artifact_that_is_not_there_is_not_found_and_one_that_is_no_more_is_gone(
    open_processor: OpenProcessor,
) -> None:
    async with open_processor(obedient=True) as processor:
        job = await processor.outcome({"a": leaving(await processor.store(b""), {"artifacts/a.csv": "a\n"})})
        path = f"/jobs/{job['id']}/artifacts"
        _, listed = await processor.get(path)
        for elsewhere in (f"{path}/b.csv", f"/jobs/{new_id()}/artifacts", f"/jobs/{new_id()}/artifacts/a.csv"):
            assert (await processor.get(elsewhere))[0] == 404, elsewhere
        for theirs in (path, f"{path}/a.csv"):
            assert (await processor.get(theirs, principal=STRANGER))[0] == 404
        for wrong in (f"{path}/a%20b", f"{path}?cursor=x", f"{path}/a.csv?item=-1", f"{path}/a.csv?ste=a"):
            assert (await processor.get(wrong))[0] == 422, wrong
        await processor.parts.blobs.delete(listed["items"][0]["blob"])
        for method in ("GET", "HEAD"):
            assert (await got(processor, f"{path}/a.csv", method=method))[0] == 410


async def test_a_retry_has_what_the_job_has_made_that_it_retries(open_processor: OpenProcessor, tmp_path: Path) -> None:
    async with open_processor(obedient=True) as processor:
        given, there = await processor.store(b""), tmp_path / "there"
        later = {"uses": "csv-profile", "with": {"blob": given, "options": {"do": f"unless {there}"}}}
        steps = {"make": leaving(given, {"artifacts/a.csv": "a\n"}), "last": {**later, "depends": ["make"]}}
        job = await processor.outcome(steps)
        there.touch()
        _, again = await processor.post(f"/jobs/{job['id']}/retry")
        assert (await processor.finished(UUID(again["id"])))["status"] == "COMPLETED"
        made = [(await processor.get(f"/jobs/{id_}/artifacts"))[1]["items"] for id_ in (job["id"], again["id"])]
        assert [one["blob"] for one in made[0]] == [one["blob"] for one in made[1]]
        assert (await got(processor, f"/jobs/{again['id']}/artifacts/a.csv"))[:2] == (200, b"a\n")


async def got(
    processor: Processor, path: str, *, method: str = "GET", **headers: str
) -> tuple[int, bytes, Mapping[str, str]]:
    signed = {PRINCIPAL_HEADER: processor.parts.signer.sign(READER)}
    url = f"{processor.address.url}/api/v1{path}"
    async with processor.session.request(method, url, headers=signed | headers) as answer:
        return answer.status, await answer.read(), answer.headers
