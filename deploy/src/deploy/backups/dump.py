"""The database as a file, by PostgreSQL's own tools, and back.

They are those of the wheel, the newest that we know: pg_dump reads every older server.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from deploy.postgres_wheel import binaries_of_the_wheel
from deploy.provision import SCHEMAS
from events.errors import StartupError

_CHUNK = 1 << 18
_LOOK_SECONDS = 0.5
# A setting that PostgreSQL 16 and older do not have, and pg_restore 17 and newer set all the same.
_TOO_NEW = b"SET transaction_timeout = 0;\n"


async def dump(url: str, file: Path, snapshot: str, written: Callable[[int], None]) -> None:
    """Our schemas, as the snapshot sees them."""
    place, environment = _connecting(url)
    arguments = [
        "--format=custom",
        "--no-owner",
        "--no-unlogged-table-data",
        f"--snapshot={snapshot}",
        f"--file={file}",
        *(f"--schema={schema}" for schema in SCHEMAS),
        f"--dbname={place}",
    ]
    process = await _start("pg_dump", arguments, environment)
    ended = asyncio.create_task(process.communicate())
    try:
        while not (await asyncio.wait((ended,), timeout=_LOOK_SECONDS))[0]:
            written(_bytes(file))
    except asyncio.CancelledError:
        process.kill()
        await ended
        raise
    _check("pg_dump", process, (await ended)[1])


async def restore(
    url: str, file: Path, *, before: Sequence[str], after: Sequence[str], read: Callable[[int], None]
) -> None:
    """All in one transaction, with the statements before and after: it is restored, or nothing has happened.

    Whatever ends us, psql comes to the end of what it was given, and nothing is committed: only we say COMMIT, last. By
    --single-transaction psql says it for itself, also at the end of half a script.
    """
    place, environment = _connecting(url)
    script = await _start("pg_restore", ["--no-owner", "--file=-", str(file)], environment)
    arguments = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    taking = await _start("psql", [*arguments, "--file=-", f"--dbname={place}"], environment)
    assert script.stderr is not None
    assert taking.stderr is not None
    complaints = [asyncio.create_task(stream.read()) for stream in (script.stderr, taking.stderr)]
    whole = False
    try:
        await _say(taking, ["BEGIN", *before])
        await _pass_on(script, taking, read)
        whole = await script.wait() == 0
        if whole:  # half a backup must not be committed: without the end of its script, psql is killed
            await _say(taking, [*after, "COMMIT"])
            assert taking.stdin is not None
            taking.stdin.close()
            await taking.wait()
    except (BrokenPipeError, ConnectionResetError):
        await taking.wait()  # it has stopped at an error, and says which
    finally:
        for process in (script, taking):
            if process.returncode is None:
                process.kill()
                await process.wait()
        of_script, of_taking = await asyncio.gather(*complaints)
    if taking.returncode and taking.returncode > 0:
        _check("psql", taking, of_taking)
    _check("pg_restore", script, of_script)
    _check("psql", taking, of_taking)


async def _pass_on(
    script: asyncio.subprocess.Process, taking: asyncio.subprocess.Process, read: Callable[[int], None]
) -> None:
    assert script.stdout is not None
    assert taking.stdin is not None
    done = 0
    while chunk := await script.stdout.read(_CHUNK):
        taking.stdin.write(chunk if done else chunk.replace(_TOO_NEW, b""))
        await taking.stdin.drain()
        done += len(chunk)
        read(done)


async def _say(taking: asyncio.subprocess.Process, statements: Sequence[str]) -> None:
    assert taking.stdin is not None
    taking.stdin.write("".join(f"{statement};\n" for statement in statements).encode())
    await taking.stdin.drain()


async def _start(program: str, arguments: Sequence[str], environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        binaries_of_the_wheel() / program,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def _bytes(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _check(program: str, process: asyncio.subprocess.Process, complaint: bytes) -> None:
    if process.returncode:
        lines = complaint.decode(errors="replace").strip().splitlines()
        said = next((line for line in lines if "ERROR" in line or "error" in line), "".join(lines[-1:]))
        advice = " Run `millrace provision` first: it makes the roles." if 'role "millrace' in said else ""
        raise StartupError(f"{program} could not do it: {said or f'exit code {process.returncode}'}.{advice}")


def _connecting(url: str) -> tuple[str, dict[str, str]]:
    """The URL without its password, which others would see among the arguments, and the environment with it."""
    parts = urlsplit(url)
    user, _, address = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    told = parse_qsl(parts.query, keep_blank_values=True)
    password = next((value for key, value in told if key == "password"), unquote(password))
    query = urlencode([(key, value) for key, value in told if key != "password"], quote_via=quote)
    place = urlunsplit(parts._replace(netloc=f"{name}@{address}" if name else address, query=query))
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PG")}
    if password:
        environment["PGPASSWORD"] = password
    return place, environment | {"LC_ALL": "C", "TZ": "UTC", "PGAPPNAME": "millrace-operator"}
