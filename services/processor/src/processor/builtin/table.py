"""The handlers that run on the service's loop, by name."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from events.blobs.blobs import Blobs
from events.telemetry import Telemetry
from processor.builtin.blob_copy import blob_copy
from processor.builtin.handler import Here
from processor.builtin.http_call import open_http
from processor.builtin.noop import noop
from processor.job_files import Noted
from processor.settings import ProcessorSettings


@asynccontextmanager
async def open_builtin(
    settings: ProcessorSettings, blobs: Blobs, noted: Noted, telemetry: Telemetry
) -> AsyncIterator[Mapping[str, Here]]:
    async with open_http(settings, telemetry) as http_call:
        yield MappingProxyType(
            # What `emit` says is recorded with its end, by whoever records that.
            {"noop": noop, "emit": noop, "http.call": http_call, "blob.copy": blob_copy(blobs, noted)}
        )
