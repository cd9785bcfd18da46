"""Passwords at rest, and what a flood of them costs."""

import asyncio
from collections.abc import Iterator

import pytest

from events.telemetry import Telemetry
from gateway.users.passwords import Passwords, PasswordsBusy


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    telemetry = Telemetry("test")
    with Passwords(telemetry, threads=1, queue=2) as passwords:
        yield passwords
    telemetry.close()


async def test_a_password_fits_its_own_hash_only(passwords: Passwords) -> None:
    kept = await passwords.hash("correct horse")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "correct horse" not in kept
    assert await passwords.fits(kept, "correct horse")
    assert not await passwords.fits(kept, "correct horsf")
    assert kept != await passwords.hash("correct horse"), "each has its own salt"


async def test_nobody_has_no_password(passwords: Passwords) -> None:
    assert not await passwords.fits(None, "")
    assert not await passwords.fits("no hash at all", "correct horse")


async def test_one_password_fits_however_its_characters_are_composed(passwords: Passwords) -> None:
    assert await passwords.fits(await passwords.hash("caf\u00e9 au lait"), "cafe\u0301 au lait")


async def test_a_flood_is_refused_before_it_takes_the_memory(passwords: Passwords) -> None:
    found = await asyncio.gather(*(passwords.fits(None, "guess") for _ in range(50)), return_exceptions=True)
    refused = [each for each in found if isinstance(each, PasswordsBusy)]
    assert (found.count(False), len(refused)) == (3, 47)
    assert (refused[0].status, refused[0].headers) == (503, {"Retry-After": "1"})
    assert not await passwords.fits(None, "guess"), "it goes on afterwards"


async def test_clients_that_leave_give_back_what_they_took_and_no_more(passwords: Passwords) -> None:
    leaving = [asyncio.create_task(passwords.fits(None, "guess")) for _ in range(3)]
    await asyncio.sleep(0)
    leaving[0].cancel()
    leaving[1].cancel()
    assert await leaving[2] is False
    found = await asyncio.gather(*(passwords.fits(None, "guess") for _ in range(50)), return_exceptions=True)
    assert found.count(False) == 3


async def test_a_hash_of_other_parameters_is_outdated(passwords: Passwords) -> None:
    kept = await passwords.hash("correct horse")
    assert not passwords.outdated(kept)
    assert passwords.outdated(kept.replace("t=2", "t=1"))
