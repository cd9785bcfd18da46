"""Publishing workflows: every version is an event, and stays as it is."""

from functools import partial
from typing import Any

import asyncpg
import msgspec

from events.catalog import Payload
from events.database import Pool, load_queries
from events.envelope import event_of, stream_name
from events.errors import Conflict, FieldError, InvalidInput, NotFound
from events.log.append import Appended, Appender, AppendRequest
from events.log.log import EventLog
from events.telemetry import current_traceparent
from events.workflows import WorkflowPublished, WorkflowRetired
from processor.language.actions import Workflows
from processor.language.canonical import canonical
from processor.language.diagram import mermaid
from processor.language.document import read
from processor.language.validation import Validated, validate
from processor.workflows.built_in import BUILT_IN
from processor.workflows.library import Library
from processor.workflows.stream import SOURCE
from processor.workflows.views import ListedWorkflow, Verdict, WorkflowView


class Publishing:
    def __init__(self, pool: Pool, appender: Appender, library: Library) -> None:
        self._pool = pool
        self._appender = appender
        self._library = library
        self._log = EventLog(pool)
        self._queries = load_queries("processor", "workflows/queries.sql")

    async def read(self, tenant: str, body: bytes, content_type: str) -> Any:
        return await self._library.beside.do(tenant, read, body, content_type)

    async def verdict(self, tenant: str, document: Any) -> Verdict:
        checked = await self._checked(tenant, document)
        drawn = await self._library.beside.do(tenant, mermaid, document)
        return Verdict(checked.definition is not None, _errors(checked), drawn)

    async def publish(
        self, tenant: str, document: Any, by: str, *, name: str | None = None
    ) -> tuple[WorkflowView, bool]:
        """The next version, and whether it is one: a document that says the same as the newest changes nothing. Without
        a name, it must be the first."""
        checked = await self._checked(tenant, document)
        if checked.definition is None:
            errors = _errors(checked)
            raise InvalidInput("; ".join(error.detail for error in errors[:5]), errors=errors)
        definition = checked.definition
        if name is not None and definition.name != name:
            detail = f"The document's name is {definition.name}, and the address says {name}."
            raise InvalidInput(detail, errors=[FieldError("body.name", "mismatch", detail)])
        if definition.name in BUILT_IN:
            raise Conflict(f"{definition.name} is a built-in workflow.")
        stream = stream_name("workflow", definition.name)
        before = await self._log.stream_version(tenant, stream) or 0
        newest = await self._pool.fetchrow(self._queries["one_version"], tenant, definition.name, None)
        if newest is not None and name is None:
            raise Conflict(f"There is a workflow {definition.name} already: PUT publishes its next version.")
        body = await self._library.beside.do(tenant, canonical, definition)
        if newest is not None and newest["retired_at"] is None and newest["document"].encode() == body:
            return view_of(newest), False
        version = 1 if newest is None else newest["version"] + 1
        said = WorkflowPublished(version=version, document=msgspec.json.decode(body), by=by)
        await self._append(tenant, stream, said, before)
        return await self.one(tenant, definition.name, version), True

    async def retire(self, tenant: str, name: str, by: str) -> None:
        stream = stream_name("workflow", name)
        before = await self._log.stream_version(tenant, stream) or 0
        newest = await self.one(tenant, name)
        if newest.retired_at is None:
            await self._append(tenant, stream, WorkflowRetired(by=by), before)

    async def one(self, tenant: str, name: str, version: int | None = None) -> WorkflowView:
        row = await self._pool.fetchrow(self._queries["one_version"], tenant, name, version)
        if row is None:
            raise NotFound(f"There is no workflow {name}." if version is None else f"{name} has no version {version}.")
        return view_of(row)

    async def page(self, tenant: str, *, after: str | None, limit: int) -> list[ListedWorkflow]:
        return [_listed(row) for row in await self._pool.fetch(self._queries["editions"], tenant, after, limit)]

    async def versions(self, tenant: str, name: str, *, before: int | None, limit: int) -> list[ListedWorkflow]:
        rows = await self._pool.fetch(self._queries["versions"], tenant, name, before, limit)
        return [_listed(row) for row in rows]

    async def _checked(self, tenant: str, document: Any) -> Validated:
        known: dict[tuple[str, int | None], Any] = {}
        for name, version in await self._library.beside.do(tenant, _others, document):
            edition = await (
                self._library.newest(tenant, name) if version is None else self._library.edition(tenant, name, version)
            )
            known[name, version] = None if edition is None else edition.plan.definition.inputs
        others: Workflows = lambda name, version: known.get((name, version))  # noqa: E731
        return await self._library.beside.do(tenant, partial(validate, workflows=others), document)

    async def _append(self, tenant: str, stream: str, said: Payload, before: int) -> None:
        event = event_of(said, stream=stream, tenant=tenant, source=SOURCE, traceparent=current_traceparent())
        outcome = await self._appender.append(AppendRequest(tenant, stream, (event,), before))
        if not isinstance(outcome, Appended):
            raise Conflict("Somebody else has changed this workflow at the same time. Look at it, and try again.")


def _errors(checked: Validated) -> list[FieldError]:
    return [FieldError(f"body.{one.place}".rstrip("."), one.code, one.detail) for one in checked.problems]


def view_of(row: asyncpg.Record) -> WorkflowView:
    return WorkflowView(document=msgspec.Raw(row["document"].encode()), **_facts(row))


def _listed(row: asyncpg.Record) -> ListedWorkflow:
    return ListedWorkflow(**_facts(row))


def _facts(row: asyncpg.Record) -> dict[str, Any]:
    return {"id": row["name"]} | {name: row[name] for name in ("version", "published_at", "published_by", "retired_at")}


def _others(document: Any) -> set[tuple[str, int | None]]:
    """The workflows that a document names, whatever else is wrong with it."""
    found: set[tuple[str, int | None]] = set()
    layer = [document]
    while layer:
        node = layer.pop()
        if isinstance(node, dict):
            name, version = node.get("workflow"), node.get("version")
            if isinstance(name, str) and len(name) <= 64:
                found.add((name, version if type(version) is int and 0 < version < 1 << 31 else None))
            layer += node.values()
        elif isinstance(node, list):
            layer += node
    return set(sorted(found, key=str)[:100])
