"""Millrace's half of the benchmark `engine`. Each function starts a processor on the database, measures, and stops it.

NOT WRITTEN YET: each raises NotImplementedError until the engine is there.
"""

from deploy.provision import Database


async def steps_per_s(database: Database, *, jobs: int, steps: int) -> float:
    """Durable steps a second while jobs of so many no-op steps in turn, created before, are worked off."""
    raise NotImplementedError


async def jobs_per_s(database: Database, *, jobs: int) -> float:
    """Jobs of one no-op step a second, created before, until the last one's end is on disk."""
    raise NotImplementedError


async def chain_s(database: Database, *, steps: int, seconds: float) -> float:
    """From the start of one job to its end, whose steps take `seconds` each and run in turn."""
    raise NotImplementedError


async def map_s(database: Database, *, items: int) -> float:
    """From the start to the end of one job that maps a no-op step over so many items."""
    raise NotImplementedError


async def start_ms(database: Database, *, samples: int) -> list[float]:
    """Milliseconds from a job's creation to the start of its first step, with nothing else to do."""
    raise NotImplementedError


async def second_tenant_ms(database: Database, *, behind: int) -> float:
    """Until the first job of a second tenant starts, created when `behind` jobs of the first's are being worked off."""
    raise NotImplementedError
