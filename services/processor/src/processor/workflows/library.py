"""The workflows that a tenant has: the built-in ones, and those that it has published."""

from collections import OrderedDict
from dataclasses import dataclass

import msgspec

from events.database import Pool, load_queries
from events.errors import Conflict, FieldError, NotFound
from processor.language.definition import Definition
from processor.workflows.beside import SHORT, Beside
from processor.workflows.built_in import BUILT_IN, BUILT_IN_VERSION
from processor.workflows.plan import Plan, plan

_KEPT = 1000

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

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("processor", "workflows/queries.sql")
        self._kept: OrderedDict[tuple[str, str, int], Plan] = OrderedDict()
        self.beside = Beside()
        self._built_in = {name: plan(definition) for name, definition in BUILT_IN.items()}

    async def edition(self, tenant: str, name: str, version: int) -> Edition | None:
        if name in self._built_in:
            return Edition(name, version, self._built_in[name]) if version == BUILT_IN_VERSION else None
        kept = self._kept.get((tenant, name, version))
        if kept is not None:
            self._kept.move_to_end((tenant, name, version))
            return Edition(name, version, kept)
        row = await self._pool.fetchrow(self._queries["workflow_version"], tenant, name, version)
        return None if row is None else Edition(name, version, await self._keep(tenant, name, version, row["document"]))

    async def newest(self, tenant: str, name: str) -> Edition | None:
        if name in self._built_in:
            return Edition(name, BUILT_IN_VERSION, self._built_in[name])
        row = await self._pool.fetchrow(self._queries["newest_version"], tenant, name)
        if row is None:
            return None
        found = await self._keep(tenant, name, row["version"], row["document"])
        return Edition(name, row["version"], found, retired=row["retired_at"] is not None)

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

    async def _keep(self, tenant: str, name: str, version: int, document: str) -> Plan:
        key = (tenant, name, version)
        kept = self._kept.get(key)
        if kept is None:
            is_short = len(document) <= SHORT
            kept = _planned(document) if is_short else await self.beside.do(tenant, _planned, document)
            self._kept[key] = kept
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return kept


def _planned(document: str) -> Plan:
    return plan(msgspec.json.decode(document, type=Definition))
