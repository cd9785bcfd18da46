"""Starts again what has died, after a pause that grows while it keeps dying."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_STEADY_SECONDS = 60.0  # whoever ran this long starts again with the first pause


async def supervise(name: str, ended: Callable[[], Awaitable[int]], start: Callable[[], Awaitable[None]]) -> None:
    """For ever: wait until it has ended, pause, start it. A start that fails counts as one more death."""
    log = structlog.stdlib.get_logger("deploy")
    clock = asyncio.get_running_loop()
    pause = _FIRST_PAUSE
    while True:
        began = clock.time()
        code = await ended()
        pause = _FIRST_PAUSE if clock.time() - began > _STEADY_SECONDS else pause
        log.error("process died", process=name, exit_code=code, restart_in=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
        try:
            await start()
        except Exception:
            log.exception("process did not start", process=name)
