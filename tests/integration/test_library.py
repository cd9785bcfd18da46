"""What a processor reads of a tenant's workflows, and keeps."""

import asyncio
import threading
from typing import Any

import msgspec

from deploy.provision import Database
from fixtures.log import as_owner
from fixtures.parts import OpenParts
from processor.workflows.library import Library

_PUBLISH = """
INSERT INTO processor.workflows (tenant, name, version, document, published_at, position)
VALUES ('acme', $1, 1, $2, now(), 1)
"""


def _document(name: str, **rest: Any) -> str:
    return msgspec.json.encode({"name": name, "steps": {"a": {"uses": "noop"}}, **rest}).decode()


async def test_a_document_is_read_once_however_many_jobs_are_started(
    database: Database, open_parts_for: OpenParts
) -> None:
    """Each start read the whole document, of up to a megabyte, to learn the number of the newest version."""
    async with open_parts_for("processor", database) as parts, as_owner(database) as owner:
        await owner.execute(_PUBLISH, "w", _document("w"))
        library = Library(parts.pool)
        first = await library.startable("acme", "w", None)
        await owner.execute("REVOKE SELECT ON processor.workflows FROM millrace_processor")
        await owner.execute(
            "GRANT SELECT (tenant, name, version, retired_at) ON processor.workflows TO millrace_processor"
        )
        again = await library.startable("acme", "w", None)
    assert again.plan is first.plan


async def test_what_is_kept_of_documents_is_bounded_by_their_bytes(
    database: Database, open_parts_for: OpenParts
) -> None:
    """A thousand were kept, whatever their size: a gigabyte of text, and several of what is made of it."""
    async with open_parts_for("processor", database) as parts, as_owner(database) as owner:
        large = _document("large", description="x" * 5000)
        for name in ("a", "b"):
            await owner.execute(_PUBLISH, name, _document(name))
        await owner.execute(_PUBLISH, "large", large)
        library = Library(parts.pool, keep_bytes=len(large) + len(_document("a")))
        plans = {name: (await library.startable("acme", name, None)).plan for name in ("a", "b", "a", "large")}
        kept = {name: (await library.startable("acme", name, None)).plan is plans[name] for name in ("large", "a", "b")}
    assert kept == {"large": True, "a": True, "b": False}, "who was asked for longest ago goes first"


async def test_a_job_does_not_wait_for_documents_that_are_checked(
    database: Database, open_parts_for: OpenParts
) -> None:
    """Those of two tenants kept the jobs of all others from being read."""
    go_on = threading.Event()
    async with open_parts_for("processor", database) as parts, as_owner(database) as owner:
        await owner.execute(_PUBLISH, "large", _document("large", description="x" * 5000))
        library = Library(parts.pool)
        checked = [asyncio.create_task(library.beside.do(tenant, go_on.wait, 10)) for tenant in ("one", "two")]
        assert await library.edition("acme", "large", 1) is not None
        assert not any(check.done() for check in checked)
        go_on.set()
        assert all(await asyncio.gather(*checked))
