"""The files of one attempt of a step: those that it is given, and those that it leaves."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from events.blob_keys import ARTIFACTS, STAGED, belongs_to, folder_of_job
from events.blobs import Blobs
from events.errors import NotFound
from events.jobs import Artifact
from events.tasks import end
from processor.artifacts import artifact_of, is_name
from processor.job_files import Noted
from processor.step import StepError

_AT_ONCE = 4  # files that are fetched or stored
_MOST_ARTIFACTS = 100  # of one attempt: the job's event tells of each


@dataclass(frozen=True, slots=True)
class Given:
    """Where a step finds what its parameters name."""

    input: str  # of `blob`; empty if there is none
    input_offset: int  # of the file's first byte in the blob
    inputs: tuple[str, ...]  # of `blobs`


class StepFiles:
    """In a folder that is removed after the attempt."""

    def __init__(self, blobs: Blobs, noted: Noted, folder: Path, tenant: str, job_id: UUID, output_name: str) -> None:
        self._blobs = blobs
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
        fetching = [asyncio.create_task(self._fetch(*one, at_once)) for one in wanted]
        try:
            found = [await one for one in fetching]
        finally:
            await end(*fetching)
        path, offset = ("", 0) if blob is None else found.pop(0)
        return Given(path, offset, tuple(path for path, _ in found))

    async def _fetch(
        self, key: str, name: str, part: Sequence[int] | None, at_once: asyncio.Semaphore
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
                with copy.open("wb") as file:
                    async for chunk in self._blobs.read(key, start, stop):
                        await asyncio.to_thread(file.write, chunk)
                return str(copy), start
        except NotFound:
            if key.startswith(f"{STAGED}/"):
                detail = "What an earlier step had left for this one has been removed. Start the job anew."
                raise StepError("staged_missing", detail) from None
            raise StepError("input_missing", "The upload's bytes are not there any more.") from None

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
                await self._blobs.adopt(path, key)

        storing = [asyncio.create_task(store(path, key)) for path, key in left]
        try:
            for one in storing:
                await one
        finally:
            await end(*storing)

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
