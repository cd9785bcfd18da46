"""The files of one attempt of a step: those that it is given, and those that it leaves."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from events.blobs.blobs import Blobs
from events.blobs.keys import ARTIFACTS, STAGED, belongs_to, folder_of_job
from events.errors import NotFound
from events.jobs import Artifact
from events.running.tasks import end
from processor.artifacts import artifact_of, is_name
from processor.disk import check_disk, enough_disk
from processor.job_files import Noted
from processor.step import StepError

_AT_ONCE = 4  # files that are stored, or pieces of files that are fetched
_PIECE_BYTES = 8 << 20

T = TypeVar("T")
_MOST_ARTIFACTS = 100  # of one attempt: the job's event tells of each


@dataclass(frozen=True, slots=True)
class Given:
    """Where a step finds what its parameters name."""

    input: str  # of `blob`; empty if there is none
    input_offset: int  # of the file's first byte in the blob
    inputs: tuple[str, ...]  # of `blobs`


class StepFiles:
    """In a folder that is removed after the attempt."""

    def __init__(
        self,
        blobs: Blobs,
        noted: Noted,
        folder: Path,
        tenant: str,
        job_id: UUID,
        output_name: str,
        *,
        disk_free_bytes: int,
    ) -> None:
        """`disk_free_bytes` are left to others on the folder's disk."""
        self._blobs = blobs
        self._disk_free_bytes = disk_free_bytes
        self._noted = partial(noted, tenant, job_id)
        self._tenant = tenant
        self._keys = {kind: f"{folder_of_job(kind, tenant, job_id)}/{output_name}" for kind in (ARTIFACTS, STAGED)}
        self._inputs, self.scratch, self.outputs = (folder / name for name in ("inputs", "scratch", "outputs"))
        for part in (self._inputs, self.scratch, self.outputs):
            part.mkdir()

    def key_of(self, kind: str) -> str:
        """What the keys begin with of the blobs that its artifacts become, or what is staged."""
        return self._keys[kind]

    async def fetch(self, parameters: Mapping[str, Any]) -> Given:
        """Each where it lies, or a copy if that is not on this machine."""
        at_once = asyncio.Semaphore(_AT_ONCE)
        blob: str | None = parameters.get("blob")
        part: Sequence[int] | None = parameters.get("range")
        wanted = [] if blob is None else [(blob, "input", part)]
        wanted += [(key, str(number), None) for number, key in enumerate(parameters.get("blobs", ()))]
        tables = parameters.get("options", {}).get("tables")
        called = {}
        if parameters.get("blobs") and isinstance(tables, dict):
            called = {blob: f"tables.{name:.80}" for name, blob in tables.items() if isinstance(blob, str)}
        found = await _all([self._fetch(*one, called.get(one[0]), at_once) for one in wanted])
        path, offset = ("", 0) if blob is None else found.pop(0)
        return Given(path, offset, tuple(path for path, _ in found))

    async def _fetch(
        self, key: str, name: str, part: Sequence[int] | None, option: str | None, at_once: asyncio.Semaphore
    ) -> tuple[str, int]:
        try:
            if not belongs_to(key, self._tenant):
                raise NotFound("This blob is somebody else's.")
            async with at_once:
                whole = (await self._blobs.stat(key)).bytes
            lies_at = self._blobs.local_path(key)
            if lies_at is not None:
                return str(lies_at), 0
            start, stop = (0, whole) if part is None else (min(place, whole) for place in part)
            copy = self._inputs / name
            await self._copy(key, start, stop, copy, at_once)
            return str(copy), start
        except NotFound:
            if key.startswith(f"{STAGED}/"):
                detail = "What an earlier step had left for this one has been removed. Start the job anew."
                raise StepError("staged_missing", detail) from None
            detail = "The upload's bytes are not there any more."
            if option is not None:
                detail = f"There is no blob of yours as the option `{option}` names it, or it is not there any more."
            raise StepError("input_missing", detail) from None

    async def _copy(self, key: str, start: int, stop: int, into: Path, at_once: asyncio.Semaphore) -> None:
        """In pieces side by side: a store takes its time for each request, however little is asked for."""
        check_disk(self._inputs, stop - start, self._disk_free_bytes)
        into.open("wb").close()

        async def copy(first: int) -> None:
            async with at_once:
                with enough_disk(), into.open("r+b") as file:
                    file.seek(first - start)
                    async for chunk in self._blobs.read(key, first, min(first + _PIECE_BYTES, stop)):
                        await asyncio.to_thread(file.write, chunk)

        await _all([copy(first) for first in range(start, stop, _PIECE_BYTES)])

    async def keep(self) -> list[Artifact]:
        """Make blobs of what the step has left. The job's artifacts among them."""
        left = await asyncio.to_thread(self._left)
        artifacts = [
            artifact_of(path.name, key, path.stat().st_size) for path, key in left if key.startswith(f"{ARTIFACTS}/")
        ]
        if len(artifacts) > _MOST_ARTIFACTS:
            raise ValueError(f"A step has made {len(artifacts)} artifacts; {_MOST_ARTIFACTS} are allowed.")
        if left:
            async with self._noted():
                await self._store(left)
        return artifacts

    async def _store(self, left: Sequence[tuple[Path, str]]) -> None:
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def store(path: Path, key: str) -> None:
            async with at_once:
                with enough_disk():
                    await self._blobs.adopt(path, key)

        await _all([store(path, key) for path, key in left])

    def _left(self) -> list[tuple[Path, str]]:
        left: list[tuple[Path, str]] = []
        for folder in self.outputs.iterdir():
            for path in sorted(folder.iterdir()):
                key = f"{self._keys[folder.name]}/{path.name}"
                is_named = belongs_to(key, self._tenant) and (folder.name == STAGED or is_name(path.name))
                if path.is_symlink() or not path.is_file() or not is_named:
                    raise ValueError(f"A step has left {folder.name}/{path.name}, which cannot become a blob.")
                left.append((path, key))
        return left


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What each gives. If one fails, the others have ended too."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return [await task for task in tasks]
    finally:
        await end(*tasks)
