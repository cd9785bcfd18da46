"""`millrace` as it is used at three in the morning: in pipes, by scripts, in haste, with the wrong words."""

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from fixtures.log import note, open_log, request
from fixtures.patient import Patient

_MILLRACE = Path(sys.executable).with_name("millrace")
_NOBODY = "postgresql://millrace_owner:x@127.0.0.1:1/x"
_UNKNOWN = "01a1fbea-6fbc-7335-a459-98abf90680e7"


def _environment(patient: Patient) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    return plain | patient.operator.settings


# What a shell starts in the background, and all that comes of it, does not hear it: so it is with tests, too.
_HEARING_CTRL_C = ("env", "--default-signal=INT")


async def _in_a_shell(patient: Patient, line: str) -> tuple[int | None, str, str]:
    """`$0` is the command."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", line, _MILLRACE,
        env=_environment(patient), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("words", "settings", "code", "name"),
    [
        (("jobs", "show", _UNKNOWN), {}, 4, "not_found"),
        (("jobs", "show", "no-uuid"), {}, 2, "usage"),
        (("jobs", "list", "--stuck", "nan"), {}, 2, "usage"),
        (("keys", "create", "a", "--scope", "ops", "--days", "nan"), {}, 2, "usage"),
        (("keys", "create", " ", "--scope", "ops"), {"key_pepper": "p" * 32}, 2, "usage"),
        (("log", "read", "--after", str(2**63)), {}, 2, "usage"),
        (("replay", "billing", str(2**63)), {}, 2, "usage"),
        (("replay", "billing", "0"), {}, 4, "not_found"),
        (("jobs", "list"), {"database_url": _NOBODY}, 3, "unreachable"),
        (("jobs", "list"), {"database_url": "postgresql://a:hunter/2@b/x"}, 2, "wrong_settings"),
        (("doctor",), {"database_url": "garbage"}, 2, "wrong_settings"),
        (("doctor",), {"database_url": "postgresql://a:hunter/2@b/x"}, 2, "wrong_settings"),
        (("jobs", "list"), {"database_url": "http://a:hunter2@b/x"}, 2, "wrong_settings"),
        (("jobs", "list"), {"database_url": "postgresql://a:hunter2@b:5432,c:x/y"}, 2, "wrong_settings"),
        (("jobs", "list"), {"database_url": "", "data_dir": "/nowhere"}, 2, "wrong_settings"),
        (("jobs", "list"), {"database_url": "", "port": "many"}, 2, "wrong_settings"),
    ],
)
async def test_an_error_is_a_sentence_for_people_a_document_for_programs_and_an_exit_code_for_both(
    patient: Patient, words: tuple[str, ...], settings: Mapping[str, str], code: int, name: str
) -> None:
    """Programs got nothing where they were promised JSON; some of these were bugs of ours, by their exit code; and what
    a parser said of a URL had a part of its password in it."""
    ended, out, err = await patient.operator.says(*words, "--json", **settings)
    error = json.loads(out)["error"]
    assert (ended, error["exit_code"], error["code"]) == (code, code, name), (out, err)
    assert error["detail"] in err
    assert not [word for word in ("Traceback", "hunter", "bug of ours") if word in err]


async def test_what_is_not_there_is_told_in_words_once(patient: Patient) -> None:
    """The transport's own complaint stood before the table, and an errno in it."""
    settings = "MILLRACE_BROKER_URL=amqp://a:b@127.0.0.1:1/x MILLRACE_URL=http://127.0.0.1:1"
    code, out, err = await _in_a_shell(patient, f'{settings} MILLRACE_DATABASE_URL={_NOBODY} "$0" doctor')
    told = [line for line in err.splitlines() if not line.startswith("    →")]
    refused = "nobody listens there (connection refused)"
    assert (code, told) == (3, [
        f"door: Nobody answers at http://127.0.0.1:1: {refused}",
        f"broker: It does not let us in: {refused}",
        f"database: It does not let us in: {refused}",
    ]), (out, err)  # fmt: skip


async def test_a_database_of_several_hosts_is_asked_where_one_of_them_answers(patient: Patient) -> None:
    """Services take such a URL, and commands said that it is none."""
    database = patient.database.url("owner")
    host = urlsplit(database).netloc.rpartition("@")[2]
    several = database.replace(f"@{host}/", f"@127.0.0.1:1,{host}/") + "?target_session_attrs=read-write"
    code, out, err = await patient.operator.says("log", "epochs", "--json", database_url=several)
    assert (code, len(json.loads(out))) == (0, 1), err


async def test_a_role_that_may_not_migrate_is_told_so(patient: Patient) -> None:
    """It was a bug of ours, since Alembic's driver says it in other words."""
    url = patient.database.url("notifier")
    code, out, err = await patient.operator.says("migrate", database_url=url)
    assert (code, out) == (4, "")
    assert err.startswith("The database does not let this role do that: permission denied for database millrace. Give")


async def test_a_backup_that_fails_leaves_nothing_behind(patient: Patient, tmp_path: Path) -> None:
    """Each night's filled the disk a little more."""
    for url, code in ((_NOBODY, 3), (patient.database.url("notifier"), 4)):
        assert (await patient.operator.says("backup", str(tmp_path / "monday"), database_url=url))[0] == code
    assert os.listdir(tmp_path) == []


async def test_a_reader_that_goes_away_is_no_failure_and_a_full_disk_is_one(patient: Patient) -> None:
    """`log read | head` ended by 1, as if something were wrong; a full disk was a database that does not answer; and
    with no stdout at all, uvloop took its place and the process was aborted."""
    async with open_log(patient.database) as opened:
        await opened.appender.append(request(*[note("note:1") for _ in range(2000)]))
    line = '"$0" log read --limit 2000 --json | head -n 1; exit ${PIPESTATUS[0]}'
    code, out, err = await _in_a_shell(patient, line)
    assert (code, err, json.loads(out)["version"]) == (141, "", 1)
    full = "Cannot write what there is to say: No space left on device.\n"
    assert await _in_a_shell(patient, '"$0" log tail > /dev/full') == (1, "", full)
    assert await _in_a_shell(patient, '"$0" log tail >&-') == (0, "", "")


async def test_what_comes_while_one_watches_does_not_move_the_cursor(patient: Patient) -> None:
    """`log tail -f` printed as it is what others had written, escape sequences too."""
    process = await asyncio.create_subprocess_exec(
        *_HEARING_CTRL_C, _MILLRACE, "log", "tail", "-n", "0", "-f",
        env=_environment(patient), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    said = asyncio.create_task(process.stdout.readline())
    hostile = msgspec.json.encode({"error": "a\x1b[2Jb"})
    async with open_log(patient.database) as opened, asyncio.timeout(60):
        while not said.done():  # until it watches
            await opened.appender.append(request(msgspec.structs.replace(note("note:1"), data=hostile)))
            await asyncio.wait((said,), timeout=0.2)
    process.send_signal(signal.SIGINT)
    await process.wait()
    assert (await said).decode().endswith("note.written  a\ufffd[2Jb\n")


async def test_ctrl_c_is_answered_in_a_word_however_early_it_comes(patient: Patient, tmp_path: Path) -> None:
    """In its first second, of imports, it answered with a traceback."""
    (tmp_path / "click.py").write_text("import sys\nprint('begun', flush=True)\nsys.stdin.read()\n")  # stands still
    process = await asyncio.create_subprocess_exec(
        *_HEARING_CTRL_C, _MILLRACE, "doctor", env=_environment(patient) | {"PYTHONPATH": str(tmp_path)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGINT)
    assert (*await process.communicate(), process.returncode) == (b"", b"Interrupted.\n", 130)


async def _on_a_terminal(patient: Patient, *words: str, **settings: str) -> str:
    """A narrow one."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        _MILLRACE, *words, env=_environment(patient) | {"COLUMNS": "40", "TERM": "xterm"} | settings,
        stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)

    def read() -> bytes:
        said = b""
        try:
            while chunk := os.read(ours, 65536):
                said += chunk
        except OSError:  # nobody has the other end any more
            pass
        return said

    said = await asyncio.to_thread(read)
    os.close(ours)
    assert await process.wait() == 0, said
    return said.decode()


async def test_on_a_terminal_ids_are_whole_and_colours_are_left_out_where_nobody_wants_them(patient: Patient) -> None:
    """An id that ended in … could not be given to the next command."""
    code, epoch, _ = await patient.operator.says("log", "epochs", "--json")
    assert code == 0
    whole = json.loads(epoch)[0]["epoch"]
    said = await _on_a_terminal(patient, "log", "epochs")
    assert whole in said
    assert "\x1b[" in said
    said = await _on_a_terminal(patient, "log", "epochs", NO_COLOR="1")
    assert whole in said
    assert "\x1b" not in said
    assert (await patient.operator.says("log", "verify"))[2] == "", "a bar is for terminals"
