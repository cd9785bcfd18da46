"""Uploads that a database speaks of: each has bytes in the store of blobs."""

from collections.abc import Mapping

import asyncpg

from events.database import Pool

_UPLOADS = "SELECT blob, bytes FROM ingest.uploads WHERE deleted_at IS NULL ORDER BY created_at"


async def uploads(database: "asyncpg.Connection[asyncpg.Record] | Pool") -> dict[str, int]:
    """How many bytes the blob of each should have, the oldest first."""
    return {row["blob"]: row["bytes"] for row in await database.fetch(_UPLOADS)}


def without_bytes(wanted: Mapping[str, int], there: Mapping[str, int]) -> list[str]:
    return [blob for blob, count in wanted.items() if there.get(blob) != count]
