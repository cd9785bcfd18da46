"""The workflows that a tenant has: the built-in ones, and those that it has published."""

from collections import OrderedDict
from dataclasses import dataclass, replace

import msgspec

from events.database import Pool, load_queries
from events.errors import Conflict, FieldError, NotFound
from processor.language.definition import Definition
from processor.workflows.beside import SHORT, Beside
from processor.workflows.built_in import BUILT_IN, BUILT_IN_VERSION
from processor.workflows.plan import Plan, plan

_KEPT_BYTES = 32 * 1024 * 1024  # of documents; what is made of them takes several times as much

NOTHING = plan(Definition(name="unknown", steps={}))  # what a workflow is that nobody knows


@dataclass(frozen=True, slots=True)
class Edition:
    """One version of a workflow, ready to be run."""

    name: str
    version: int
    plan: Plan
    retired: bool = False


class Library:
    """Versions never change, so that what was read once need not be read again."""

    def __init__(self, pool: Pool, *, keep_bytes: int = _KEPT_BYTES) -> None:
        self._pool = pool
        self._keep_bytes = keep_bytes
        self._queries = load_queries("processor", "workflows/queries.sql")
        self._kept: OrderedDict[tuple[str, str, int], tuple[Plan, int]] = OrderedDict()
        self._bytes = 0
        self.beside = Beside()
        self._plans = Beside(threads=1)  # jobs do not wait for what people publish
        self._built_in = {name: plan(definition) for name, definition in BUILT_IN.items()}

    async def edition(self, tenant: str, name: str, version: int) -> Edition | None:
        if name in self._built_in:
            return Edition(name, version, self._built_in[name]) if version == BUILT_IN_VERSION else None
        kept = self._kept.get((tenant, name, version))
        if kept is not None:
            self._kept.move_to_end((tenant, name, version))
            return Edition(name, version, kept[0])
        row = await self._pool.fetchrow(self._queries["workflow_version"], tenant, name, version)
        return (
            None if row is None else Edition(name, version, await self._plan_of(tenant, name, version, row["document"]))
        )

    async def newest(self, tenant: str, name: str) -> Edition | None:
        if name in self._built_in:
            return Edition(name, BUILT_IN_VERSION, self._built_in[name])
        row = await self._pool.fetchrow(self._queries["newest_version"], tenant, name)
        if row is None:
            return None
        found = await self.edition(tenant, name, row["version"])
        return None if found is None else replace(found, retired=row["retired_at"] is not None)

    async def startable(self, tenant: str, name: str, version: int | None) -> Edition:
        """What a new job is of: the newest version, if none is named."""
        newest = await self.newest(tenant, name)
        found = newest if version is None else await self.edition(tenant, name, version)
        if newest is None or found is None:
            which = name if version is None else f"{name} with the version {version}"
            raise NotFound(f"There is no workflow {which}.")
        if newest.retired:
            raise Conflict(f"The workflow {name} is retired: no new job of it can be started.")
        return found

    async def asked_for(self, tenant: str, name: str, version: int | None, *, field: str = "body.workflow") -> Edition:
        """What a request wants to start. What is wrong with that is said of its fields; the name is in `field`."""
        try:
            return await self.startable(tenant, name, version)
        except NotFound as unknown:
            place = field if await self.newest(tenant, name) is None else "body.version"
            raise NotFound(unknown.detail, errors=[FieldError(place, unknown.code, unknown.detail)]) from None
        except Conflict as retired:
            raise Conflict(retired.detail, errors=[FieldError(field, retired.code, retired.detail)]) from None

    async def names(self, tenant: str) -> list[str]:
        """Those that can be started."""
        rows = await self._pool.fetch(self._queries["names"], tenant)
        return sorted([*self._built_in, *(row["name"] for row in rows)])

    async def _plan_of(self, tenant: str, name: str, version: int, document: str) -> Plan:
        is_short = len(document) <= SHORT
        made = _planned(document) if is_short else await self._plans.do(tenant, _planned, document)
        _, known = self._kept.pop((tenant, name, version), (None, 0))  # somebody else has read it meanwhile
        self._kept[tenant, name, version] = made, len(document)
        self._bytes += len(document) - known
        while self._bytes > self._keep_bytes:
            _, (_, forgotten) = self._kept.popitem(last=False)
            self._bytes -= forgotten
        return made


def _planned(document: str) -> Plan:
    return plan(msgspec.json.decode(document, type=Definition))
