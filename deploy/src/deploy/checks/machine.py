"""This machine: settings, the data directory, its disk."""

import json
import os
import shutil
import stat
from pathlib import Path
from shlex import quote

from deploy.checks.finding import Finding
from deploy.data_directory import VERSION
from deploy.printing import size
from deploy.settings import unknown_settings
from deploy.target import Target

_LITTLE_BYTES, _LITTLE_SHARE = 1 << 30, 0.1
_VERY_LITTLE_BYTES = 256 << 20


def check_machine(target: Target) -> list[Finding]:
    found = [Finding("settings", "warn", sentence, "Correct it, or unset it.") for sentence in unknown_settings()]
    if not found:
        found.append(Finding("settings", "ok", f"This is about {target.name}"))
    if target.directory is None:
        return found
    return [*found, *_directory(target.directory), _disk(target.directory)]


def _directory(path: Path) -> list[Finding]:
    found = []
    version = path / "version"
    layout = version.read_text().strip() if version.exists() else "none"
    if layout != str(VERSION):
        says = f"Its layout is {layout}, and this release reads {VERSION}"
        found.append(Finding("directory", "wrong", says, "Run the release that made it."))
    for name in ("secrets.json", "admin-key", "database-url", "broker-url"):
        file = path / name
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
            found.append(Finding("directory", "wrong", f"Others may read {file}", f"chmod 600 {quote(str(file))}"))
    if not os.access(path, os.W_OK):
        fix = "Run as its owner; mount it to be written to."
        found.append(Finding("directory", "wrong", f"We may not write to {path}", fix))
    try:
        json.loads((path / "secrets.json").read_text())
    except (OSError, ValueError):
        fix = "Restore it from a backup: nothing lets us into the database without it."
        found.append(Finding("directory", "wrong", "secrets.json is missing, or no JSON", fix))
    return found or [Finding("directory", "ok", f"{path}, secrets for their owner only")]


def _disk(path: Path) -> Finding:
    disk = shutil.disk_usage(path)
    says = f"{size(disk.free)} of {size(disk.total)} free"
    fix = "Make room: PostgreSQL stops when it is full. Uploads have a retention (MILLRACE_RETENTION_SECONDS)."
    if disk.free < _VERY_LITTLE_BYTES:
        return Finding("disk", "wrong", says, fix)
    if disk.free < _LITTLE_BYTES or disk.free < disk.total * _LITTLE_SHARE:
        return Finding("disk", "warn", says, fix)
    return Finding("disk", "ok", says)
