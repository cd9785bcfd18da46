"""The directory that one Millrace keeps everything in.

version      which layout the directory has
lock         held while a Millrace runs on it
secrets.json passwords of the servers' roles, and the secret that the services share; mode 600
former-key-peppers  those that a restore has replaced, a line each; mode 600
admin-key    the first API key, for the person who runs it; mode 600
broker-url   where remote workers find the broker of `make stack`; mode 600
database-url where the database is that runs now, as its owner; mode 600
url          where the gateway is that runs now
pids/        of `make stack`: the number of each process that runs now
postgres/ rabbitmq/ prometheus/ (its address: prometheus/url) blobs/ logs/
"""

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO

from deploy.provision import ROLES
from events.errors import StartupError

VERSION = 1


@dataclass(frozen=True, slots=True)
class Secrets:
    principal: str
    key_pepper: str  # seals what the gateway keeps of secrets
    postgres: str  # the superuser's password
    rabbitmq: str
    roles: Mapping[str, str] = field(repr=False)  # login role → password


@dataclass(frozen=True, slots=True)
class DataDirectory:
    path: Path
    secrets: Secrets = field(repr=False)

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def pids(self) -> Path:
        return self.path / "pids"

    @property
    def admin_key_file(self) -> Path:
        return self.path / "admin-key"

    @property
    def broker_url_file(self) -> Path:
        return self.path / "broker-url"

    def keep_broker_url(self, url: str) -> None:
        _write_secret(self.broker_url_file, f"{url}\n")

    def keep_database_url(self, url: str) -> None:
        _write_secret(self.path / "database-url", f"{url}\n")

    def keep_url(self, url: str) -> None:
        _write_secret(self.path / "url", f"{url}\n")

    def keep_key_pepper(self, pepper: str) -> "DataDirectory":
        """What an earlier Millrace has sealed can be opened with this one only. The former one is kept beside it."""
        if pepper == self.secrets.key_pepper:
            return self
        former = self.path / "former-key-peppers"
        kept = former.read_text() if former.exists() else ""
        _write_secret(former, f"{kept}{self.secrets.key_pepper}\n")
        secrets = replace(self.secrets, key_pepper=pepper)
        _write_secret(self.path / "secrets.json", json.dumps(asdict(secrets), indent=2) + "\n")
        return replace(self, secrets=secrets)

    def keep_admin_key(self, key: str) -> None:
        _write_secret(self.admin_key_file, f"{key}\n")

    def admin_key(self, new_key: Callable[[], str]) -> str:
        """The key in the file; made by `new_key` if there is no file."""
        if not self.admin_key_file.exists():
            _write_secret(self.admin_key_file, f"{new_key()}\n")
        return self.admin_key_file.read_text().strip()


@contextmanager
def open_data_directory(path: Path) -> Iterator[DataDirectory]:
    """Make the directory if there is none, and hold it: a second Millrace on it is refused."""
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(path)
        _check_version(path)
        data = DataDirectory(path, _secrets(path / "secrets.json"))
    except OSError as refused:
        raise StartupError(
            f"Cannot write to {path} ({refused.strerror}). Set MILLRACE_DATA_DIR to a directory that you may write to."
        ) from None
    with lock:
        yield data


def _lock(path: Path) -> IO[str]:
    """Held as long as the file is open, and let go by the system whatever end we meet."""
    lock = (path / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StartupError(
            f"Another Millrace is running on {path}. Stop it first, or set MILLRACE_DATA_DIR to another directory."
        ) from None
    return lock


def _check_version(path: Path) -> None:
    file = path / "version"
    if not file.exists() and not (path / "postgres").exists():
        file.write_text(f"{VERSION}\n")
    found = file.read_text().strip() if file.exists() else "unknown"
    if found != str(VERSION):
        raise StartupError(
            f"{path} holds data of version {found}, and this Millrace reads version {VERSION}. "
            "Run the Millrace that made it, or set MILLRACE_DATA_DIR to another directory."
        )


def _secrets(file: Path) -> Secrets:
    kept = json.loads(file.read_text()) if file.exists() else {}
    made: dict[str, object] = {
        name: secrets.token_urlsafe(32) for name in ("principal", "key_pepper", "postgres", "rabbitmq")
    }
    made["roles"] = {role: secrets.token_urlsafe(32) for role in ROLES}
    if kept.keys() != made.keys():  # there are none yet, or an older Millrace knew fewer
        kept = made | kept
        _write_secret(file, json.dumps(kept, indent=2) + "\n")
    return Secrets(**kept)


def _write_secret(file: Path, content: str) -> None:
    """All of it or nothing, and never readable by others."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(descriptor)
    draft.rename(file)


def kept_key_pepper(directory: Path) -> str | None:
    """Also of one that is running: what others hold, they may read."""
    file = directory / "secrets.json"
    return json.loads(file.read_text()).get("key_pepper") if file.exists() else None
