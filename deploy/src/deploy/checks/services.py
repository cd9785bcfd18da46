"""The services, as their gateway sees them."""

from importlib.metadata import version
from typing import Any

import aiohttp

from deploy.checks.finding import Finding
from deploy.printing import reason
from deploy.target import Target

_PATIENCE = aiohttp.ClientTimeout(total=10)


async def check_services(target: Target) -> list[Finding]:
    if target.directory is not None and not target.running:
        return [Finding("services", "down", f"Nothing runs on {target.directory}", target.start_command)]
    if target.url is None:
        return [Finding("services", "skipped", "MILLRACE_URL is not set: it is the gateway's")]
    try:
        async with aiohttp.ClientSession(target.url, timeout=_PATIENCE) as session:
            async with session.get("/health") as answer:
                health = dict(await answer.json())
            details = None
            if target.key is not None:
                headers = {"Authorization": f"Bearer {target.key}"}
                async with session.get("/health/detailed", headers=headers) as answer:
                    details = dict(await answer.json()) if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as gone:
        fix = "Start a gateway, or correct MILLRACE_URL."
        return [Finding("door", "down", f"Nobody answers at {target.url}: {reason(gone)}", fix)]
    return [Finding("door", "ok", f"The gateway answers at {target.url}"), *_parts(health), *_details(details)]


def _parts(health: dict[str, Any]) -> list[Finding]:
    down = [part for part in ("broker", "database", "storage") if health.get(part) == "down"]
    down += list(health.get("services") or {})
    fix = "What is down is in these lines; its own log says why."
    return [Finding("health", "down", f"By the services: no {part}", fix) for part in down]


def _details(details: dict[str, Any] | None) -> list[Finding]:
    if details is None:
        fix = "Set MILLRACE_KEY to a key with the scope ops."
        return [Finding("services", "skipped", "What each says of itself needs a key", fix)]
    found = []
    ours = version("millrace-deploy")
    for name, said in details.get("details", {}).items():
        state = said.get("state")
        halted = said.get("halted_loops") or []
        if state == "down":
            found.append(Finding(name, "down", "It does not answer its gateway", f"Start it; read logs/{name}.log."))
        elif halted:
            fix = f"Read its log for `loop halted`, mend that, restart {name}."
            found.append(Finding(name, "wrong", f"Halted: {', '.join(map(str, halted))}", fix))
        elif said.get("version") not in (None, ours):
            says = f"It is {said['version']}, and this command {ours}"
            found.append(Finding(name, "warn", says, "Fine during an upgrade; else finish it."))
        else:
            found.append(Finding(name, "ok", f"{state}, up {said.get('uptime_seconds', 0):.0f} s"))
    return found
