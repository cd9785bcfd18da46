"""`millrace doctor`: what is wrong, and what to do about it."""

import asyncio
import os

import click

from deploy.checks.broker import check_broker
from deploy.checks.database import check_database
from deploy.checks.finding import Finding, all_fine
from deploy.checks.machine import check_machine
from deploy.checks.services import check_services
from deploy.exits import Exit
from deploy.options import as_json, on_a_loop
from deploy.printing import note, print_json, print_table
from deploy.target import Target, find_target
from events.errors import StartupError


@click.command()
@as_json
@on_a_loop
async def doctor(as_json: bool) -> None:
    """Look at every part, and say how to fix what is wrong.

    Parts that are down are told so, and the others are looked at all the same. It changes nothing. Exit code 1 if
    something is wrong, 3 if a part does not answer; warnings alone are 0.
    """
    target = find_target()
    of_database, of_broker, of_services = await asyncio.gather(
        _database(target), check_broker(target), check_services(target)
    )
    findings = [*check_machine(target), *of_services, *of_broker, *of_database]
    if as_json:
        print_json(
            {
                "fine": all_fine(findings),
                "about": target.name,
                "findings": [
                    {"check": one.check, "state": one.state, "says": one.says, "fix": one.fix} for one in findings
                ],
            }
        )
    else:
        print_table(
            [{"check": one.check, "state": one.state, "says": one.says} for one in findings], ("check", "state", "says")
        )
        for one in findings:
            if one.fix is not None:
                note(f"{one.check}: {one.says}\n    → {one.fix}")
    states = {one.state for one in findings}
    if "down" in states:
        raise click.exceptions.Exit(Exit.UNREACHABLE)
    if "wrong" in states:
        raise click.exceptions.Exit(Exit.WRONG)


async def _database(target: Target) -> list[Finding]:
    if target.directory is not None and not target.running:
        return [Finding("database", "skipped", f"It runs with `{target.start_command}`")]
    url = os.environ.get("MILLRACE_DATABASE_URL")
    if target.directory is not None:
        kept = target.directory / "database-url"
        url = kept.read_text().strip() if kept.exists() else None
    if not url:
        return [Finding("database", "down", "It has not been started yet", "Try again in a moment.")]
    try:
        blobs = None if target.blobs_url is None else target.blobs()
    except (StartupError, OSError) as unusable:
        return [Finding("blobs", "wrong", str(unusable)), *await check_database(url, None)]
    return await check_database(url, blobs)
