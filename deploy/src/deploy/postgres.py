"""A private PostgreSQL server on a free port of the loopback interface, from any folder of binaries."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from deploy.process import Account, ChildProcess, Command, Runner, free_port, setpriv
from events.errors import StartupError

START_SECONDS = 60.0
_ORPHAN_SECONDS = 20.0
_TICK_SECONDS = 0.05

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class PostgresServer:
    name = "postgres"

    def __init__(self, runner: Runner, port: int, password: str) -> None:
        self._runner = runner
        self._password = password
        self.host = "127.0.0.1"
        self.port = port

    def admin_url(self, database: str = "postgres") -> str:
        return self.url("postgres", self._password, database)

    def url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@{self.host}:{self.port}/{database}"

    async def start(self) -> None:
        """Return when it answers queries. After a kill the first attempts may find its predecessor's memory in use."""
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while True:
            if not self._runner.running():
                await self._runner.start()
            try:
                connection = await asyncpg.connect(self.admin_url(), timeout=2)
            except asyncpg.InvalidPasswordError:
                await self._runner.stop()
                raise StartupError("PostgreSQL refuses the password in secrets.json: is it another data's?") from None
            except (OSError, TimeoutError, asyncpg.PostgresError):
                if asyncio.get_running_loop().time() > deadline:
                    await self._runner.kill()
                    raise StartupError(f"PostgreSQL does not start: {self._runner.last_words()}") from None
                await asyncio.sleep(_TICK_SECONDS)
            else:
                await connection.close()
                return

    async def stop(self) -> None:
        await self._runner.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def kill(self) -> None:
        await self._runner.kill()

    async def remove(self) -> None:
        """Stop it for good. Its data stays."""
        await self._runner.remove()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await self._runner.wait()

    def pause(self) -> None:
        self._runner.pause()

    def resume(self) -> None:
        self._runner.resume()


def native_server(binaries: Path, directory: Path, password: str, settings: Mapping[str, str]) -> PostgresServer:
    """A server, not yet started, on the cluster in `directory/data`, which is created if there is none.

    As root it runs as an unprivileged user.
    """
    account = _unprivileged_account(directory, binaries)
    data = directory / "data"
    port = free_port()
    if (data / "PG_VERSION").exists():
        _check_version(binaries, data)
        _end_orphan(data)
    else:
        _initdb(binaries, directory, password, account)
    flags = [f"--{name}={value}" for name, value in {**SETTINGS, **settings, "port": str(port)}.items()]
    command = Command(
        argv=[str(binaries / "postgres"), "-D", str(data), *flags],
        log=directory / "postgres.log",
        environment=_environment(),
        account=account,
        stop_signal=signal.SIGINT,  # "fast": open sessions are ended, then the server
    )
    return PostgresServer(ChildProcess(command), port, password)


def _initdb(binaries: Path, directory: Path, password: str, account: Account | None) -> None:
    """Make the cluster beside its place and move it there when it is whole: we may be killed in between."""
    draft, secret = directory / "data.new", directory / "password.new"
    shutil.rmtree(draft, ignore_errors=True)
    secret.unlink(missing_ok=True)
    draft.mkdir(mode=0o700)
    secret.touch(mode=0o600)
    secret.write_text(password)
    if account is not None:
        os.chown(draft, account.uid, account.gid)
        os.chown(secret, account.uid, account.gid)
    options = [
        f"--pgdata={draft}",
        "--username=postgres",
        "--auth=scram-sha-256",
        f"--pwfile={secret}",
        "--encoding=UTF8",
        "--locale=C",
    ]
    argv = [*setpriv(account, signal.SIGTERM), str(binaries / "initdb"), *options]
    try:
        subprocess.run(argv, env=_environment(), check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as failed:
        raise StartupError(f"PostgreSQL's initdb failed: {failed.stderr.strip()}") from None
    finally:
        secret.unlink()
    draft.rename(directory / "data")


def _check_version(binaries: Path, data: Path) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    answer = subprocess.run([str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=True)
    ours = answer.stdout.split()[2].partition(".")[0]
    if made_by != ours:
        raise StartupError(
            f"{data} was made by PostgreSQL {made_by}, and this is PostgreSQL {ours}. "
            "Upgrade it with pg_upgrade, or set MILLRACE_DATA_DIR to another directory."
        )


def _end_orphan(data: Path) -> None:
    """End the server that a killed Millrace left behind on this cluster. Its lock file may also name a stranger."""
    lock = data / "postmaster.pid"
    if not lock.exists():
        return
    pid = int(lock.read_text().split("\n", 1)[0])
    if str(data) not in _command_line(pid):
        lock.unlink()
        return
    for number in (signal.SIGINT, signal.SIGQUIT):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        for _ in range(round(_ORPHAN_SECONDS / _TICK_SECONDS)):
            if not (lock.exists() and _alive(pid)):
                return
            time.sleep(_TICK_SECONDS)
    raise StartupError(f"An old PostgreSQL (process {pid}) on {data} does not end. Kill it and try again.")


def _command_line(pid: int) -> str:
    """Empty if there is no such process."""
    if Path("/proc/self/cmdline").exists():
        file = Path(f"/proc/{pid}/cmdline")
        return file.read_bytes().replace(b"\0", b" ").decode(errors="replace") if file.exists() else ""
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _unprivileged_account(*directories: Path) -> Account | None:
    """Whom PostgreSQL runs as: as us, or if we are root, as `postgres` or else `nobody`."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        locked = any(_is_locked(directory.resolve()) for directory in directories)
        return Account(entry.pw_uid, entry.pw_gid, passes_locked_directories=locked)
    raise StartupError("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as.")


def _is_locked(directory: Path) -> bool:
    return any(
        not ancestor.stat().st_mode & stat.S_IXOTH for ancestor in (directory, *directory.parents) if ancestor.exists()
    )
