"""The README's example, run as it stands there, gives what the README shows."""

import asyncio
import json
import re
import shlex
import stat
from pathlib import Path

import pytest

from deploy.stack import Stack
from events.broker.broker import Exchange, Message
from events.broker.by_url import open_broker
from fixtures.client import Client
from fixtures.millrace import running
from fixtures.operator import operator_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FIRST_JOB = README.split("## A first job")[1].split("\n## ")[0]


PRELUDE = next(line for line in FIRST_JOB.splitlines() if line.startswith("URL="))


def commands(section: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


async def sh(command: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f"set -eo pipefail\n{command}", cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, command
    return printed.decode()


async def test_the_first_job_goes_as_the_readme_shows(tmp_path: Path) -> None:
    make, upload, watch, read = commands(FIRST_JOB)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    async with running(tmp_path / ".millrace") as millrace:

        async def run(command: str) -> str:
            return await sh(f"{PRELUDE}\n{command}".replace("http://127.0.0.1:8080", millrace.url), tmp_path)

        await run(make)
        accepted = json.loads(await run(upload))
        watched = (await run(watch)).splitlines()
        job_id = f'JOB="{accepted["job_id"]}"\n'
        job = json.loads(await run(job_id + read))

    shown = json.loads(re.search(r'\{"upload_id".*?\}', FIRST_JOB)[0])  # type: ignore[index]
    assert set(accepted) == set(shown)
    assert (accepted["bytes"], accepted["sha256"]) == (shown["bytes"], shown["sha256"])
    assert watched[0].split() == ["1", "job.created", "PENDING", "0%"]
    assert watched[-1].split()[1:] == ["job.completed", "COMPLETED", "100%"]
    assert [int(line.split()[0]) for line in watched] == list(range(1, len(watched) + 1))
    fields = re.findall(r'^    "(\w+)": (.*?),?$', FIRST_JOB, re.MULTILINE)
    assert [name for name, _ in fields] == list(job)
    assert re.findall(r'^            "(\w+)":', FIRST_JOB.split('"steps": [')[1], re.MULTILINE) == list(job["steps"][0])
    for name, value in fields:
        if name in ("workflow", "status", "progress_percent", "current_step", "step_message", "attempts"):
            assert json.dumps(job[name]) == value
    assert job["result"]["rows"] == 2_000_000
    assert len(job["result"]["columns"]) == 4


async def test_a_workflow_goes_as_the_readme_shows(tmp_path: Path) -> None:
    section = README.split("## A workflow of your own")[1].split("\n### ")[0]
    shown = "".join(text for kind, text in re.findall(r"```(\w*)\n(.*?)```", section, re.DOTALL) if not kind)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    async with running(tmp_path / ".millrace") as millrace:
        script = "\necho\n".join([PRELUDE, *commands(section)]).replace("http://127.0.0.1:8080", millrace.url)
        printed = await sh(script, tmp_path)
        schedules = README.split("### Schedules\n")[1].split("\n### ")[0]
        make, look = (
            f"{PRELUDE}\n{command}".replace("http://127.0.0.1:8080", millrace.url) for command in commands(schedules)
        )
        made = json.loads(await sh(make, tmp_path))
        looked = await sh(look, tmp_path)
    assert [line.rstrip() for line in printed.splitlines() if line] == shown.splitlines()
    its_json, its_end = re.findall(r"```(?:json)?\n(\{.*?)```", schedules, re.DOTALL)
    differ = ("id", "next_at", "created_at", "created_by", "updated_at")
    assert {**made, **dict.fromkeys(differ)} == {**json.loads(its_json), **dict.fromkeys(differ)}
    assert looked == its_end


async def test_a_service_of_your_own_does_a_step_as_the_readme_shows(tmp_path: Path, stack: Stack) -> None:
    section = README.split("### Steps that your own services do")[1].split("\n## ")[0]
    (command,) = commands(section)
    shown, *_ = re.findall(r"^```\n(.*?)```", section.split(command)[1].removeprefix("```\n"), re.DOTALL | re.MULTILINE)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / ".millrace").mkdir()
    (tmp_path / ".millrace" / "stack").symlink_to(stack.admin_key_file.parent)
    assert await sh(command.replace("http://127.0.0.1:8080", stack.base_url), tmp_path) == shown
    assert stat.S_IMODE(stack.broker_url_file.stat().st_mode) == 0o600


async def test_a_file_arrives_in_pieces_as_the_readme_shows(tmp_path: Path) -> None:
    section = README.split("### Files that arrive in pieces\n")[1].split("\n### ")[0]
    (command,) = commands(section)
    shown, *_ = re.findall(r"^```\n(.*?)```", section.split(command)[1].removeprefix("```\n"), re.DOTALL | re.MULTILINE)
    async with running(tmp_path / ".millrace") as millrace:
        assert await sh(f"{PRELUDE}\n{command}".replace("http://127.0.0.1:8080", millrace.url), tmp_path) == shown


async def test_the_commands_for_tickets_keys_and_people_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    async with running(tmp_path / ".millrace") as millrace:

        async def run(title: str) -> str:
            (command,) = commands(README.split(f"### {title}\n")[1].split("\n### ")[0])
            return await sh(f"{PRELUDE}\n{command}".replace("http://127.0.0.1:8080", millrace.url), tmp_path)

        assert json.loads(await run("WebSockets"))["ticket"].startswith("mr_tkt_")
        made = json.loads(await run("API keys"))
        assert made["key"].startswith(f"{made['prefix']}_")
        answers = json.JSONDecoder()
        me, end = answers.raw_decode(printed := await run("People and roles"))
        bob, more = answers.raw_decode(printed[end:])
        refreshed, _ = answers.raw_decode(printed[end + more :])
    assert (me["user"]["display_name"], me["role"]) == ("Ada", "admin")
    assert (bob["user"]["tenant"], bob["user"]["role"]) == (me["tenant"], "viewer")
    assert refreshed["access_token"]


def shapes(printed: str) -> list[str]:
    """The lines, with each id, number, time and age alike, and without what the doctor says: of a slow machine more."""
    masked = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{32}\b|\d[\d:.TZ-]*", "#", printed)
    lines = re.sub(r"#[smh]\b|# #", "#", re.sub(r"  (ok|warn) .*", "", masked)).splitlines()
    return [" ".join(line.split()) for line in lines]


def shown_after(command: str, section: str) -> str:
    """The block behind the command's."""
    return section.partition(f"{command}```\n```\n")[2].partition("```")[0]


async def test_what_an_operator_asks_is_answered_as_the_readme_shows(tmp_path: Path, stack: Stack) -> None:
    operator = operator_of(stack)
    async with Client(stack.base_url, stack.admin_key) as client:
        await client.watch((await client.upload(b"name,age\nAda,36\nGrace,45\n"))["job_id"])
    async with open_broker(stack.broker_url, name="somebody") as broker:
        await broker.publish(Exchange.INTAKE, Message("stray", b"no event", "upload.completed"))
    async with asyncio.timeout(60):
        while not await operator.asks("dead-letters", "list"):
            await asyncio.sleep(0.2)  # nobody tells when it has been parked

    metrics, command = (
        README.split(f"### {title}\n")[1].split("\n### ")[0] for title in ("Metrics", "The operator's command")
    )
    (ask,) = commands(metrics)
    answered = await sh(f"URL={stack.base_url} KEY={stack.admin_key_file}\n{ask}", tmp_path)
    assert set(shapes(shown_after(ask, metrics))) <= set(shapes(answered)), answered

    (lines,) = commands(command)
    said = ""
    for line in lines.splitlines():
        program, *words = shlex.split(line)
        assert program == ".venv/bin/millrace"
        said += (await operator.says(*("20" if word == "4" else word for word in words)))[1]  # a slow job tells more
    assert set(shapes(shown_after(lines, command))) - {"…"} <= set(shapes(said)), said


LINKS = sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README)))


@pytest.mark.parametrize("link", LINKS)
def test_what_the_readme_links_to_is_there(link: str) -> None:
    assert (ROOT / link).exists()


async def test_a_file_is_cleaned_as_the_readme_shows(tmp_path: Path) -> None:
    section = README.split("## Cleaning a file")[1].split("\n## ")[0]
    shown = "".join(text for kind, text in re.findall(r"```(\w*)\n(.*?)```", section, re.DOTALL) if not kind)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    async with running(tmp_path / ".millrace") as millrace:
        script = "\n".join([PRELUDE, *commands(section)]).replace("http://127.0.0.1:8080", millrace.url)
        printed = await sh(script, tmp_path)
    assert printed.replace("\r\n", "\n") == shown
