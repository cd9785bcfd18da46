"""Whatever can happen to the stack happens to it while clients work and follow, in an order that a seed says; and all
of it is restarted, as for a new version. Some seconds of it here, and by `make chaos` as long as MILLRACE_CHAOS_SECONDS
says, of the seed MILLRACE_CHAOS_SEED."""

import asyncio
import os
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chaos.breakable import Breakable, open_breakable
from chaos.load import Load
from chaos.mayhem import Mayhem
from deploy.rabbitmq import RabbitServer

SEED = 1
LONG_SECONDS = float(os.environ.get("MILLRACE_CHAOS_SECONDS", "300"))

# By either door or service; by a service that speaks Centrifugo; in a stream.
POLITELY = {"WebSocket ended with 1012", "WebSocket ended with 3001", "stream ended with unavailable"}
NOBODY_LISTENS = "ConnectionRefusedError"  # at a gateway that restarts: whoever balances loads asks another one


@pytest_asyncio.fixture(scope="module")
async def breakable(
    rabbitmq_server: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Breakable]:
    async with open_breakable(rabbitmq_server, tmp_path_factory.mktemp("chaos")) as opened:
        yield opened


@pytest.mark.timeout(600)  # on a machine that is busy with others
async def test_whatever_happens_what_was_acknowledged_is_done_once_and_everybody_is_told(breakable: Breakable) -> None:
    mayhem = Mayhem(breakable, SEED)
    await mayhem.rage(0.0)  # seconds: it goes on until each kind of fault has had its turn
    print("\n".join(mayhem.report()))


@pytest.mark.timeout(600)  # on a machine that is busy with others
async def test_a_rolling_restart_of_everything_under_load_loses_no_request_no_event_and_no_client(
    breakable: Breakable,
) -> None:
    """Clients of sockets are told to come again, not all at once, and never cut off; requests are all answered."""
    stack, direct = breakable.stack, breakable.direct()
    await asyncio.gather(*(stack.restart(name, environment=direct) for name in ("gateway", "gateway-2")))
    mayhem = Mayhem(breakable, SEED, restless=False, followers=8)
    ended: list[list[float]] = []

    async def restart_all(load: Load) -> None:
        """One of each at a time, as orchestrators do that are told to restart everything."""
        await load.until(6)
        for wave in ([p for p in stack.processes if "-" not in p], [p for p in stack.processes if "-" in p]):
            mayhem.note(f"restart {', '.join(wave)}")
            began = mayhem.clock()
            await asyncio.gather(*(stack.restart(process, environment=direct) for process in wave))
            followers = mayhem.audience.followers
            ended.append(sorted(at for each in followers for at in each.ended_at if at > began))
            await load.until(6)

    await mayhem.under_load(restart_all)

    print("\n".join(mayhem.report()))
    print(mayhem.audience.ways.ends)
    failures = [failure for client in mayhem.clients for failure in client.failures]
    failures += [failure for client in mayhem.files for failure in client.failures]
    assert failures == [], "\n".join(failures)
    assert mayhem.audience.ways.ends.keys() <= POLITELY | {NOBODY_LISTENS}
    for moments in ended:
        assert len(moments) > 5
        assert moments[-1] - moments[0] > 0.05, "they were all sent away at once"


@pytest.mark.thorough
@pytest.mark.timeout(LONG_SECONDS + 600)
async def test_minutes_of_chaos(breakable: Breakable) -> None:
    mayhem = Mayhem(breakable, int(os.environ.get("MILLRACE_CHAOS_SEED") or random.randrange(10**6)))
    await mayhem.rage(LONG_SECONDS)
    print("\n".join(mayhem.report()))
