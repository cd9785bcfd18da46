"""The README's example, run as it stands there, gives what the README shows."""

import asyncio
import json
import os
import re
from pathlib import Path

import pytest

from fixtures.millrace import running

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FIRST_JOB = README.split("## A first job")[1].split("\n## ")[0]


async def sh(command: str, folder: Path, environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, cwd=folder, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, command
    return printed.decode()


async def test_the_first_job_goes_as_the_readme_shows(tmp_path: Path) -> None:
    make, upload, watch, read = re.findall(r"```sh\n(.*?)```", FIRST_JOB, re.DOTALL)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    async with running(tmp_path / ".millrace") as millrace:
        environment = {"MILLRACE_URL": millrace.url}

        async def run(command: str) -> str:
            return await sh(command.replace("http://127.0.0.1:8080", millrace.url), tmp_path, environment)

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
    for name, value in re.findall(r'^    "(\w+)": (.*?),?$', FIRST_JOB, re.MULTILINE):
        assert name in job
        if name in ("workflow", "status", "progress_percent", "current_step", "step_message", "attempts"):
            assert json.dumps(job[name]) == value
    assert job["result"]["rows"] == 2_000_000
    assert len(job["result"]["columns"]) == 4


LINKS = sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README)))


@pytest.mark.parametrize("link", LINKS)
def test_what_the_readme_links_to_is_there(link: str) -> None:
    assert (ROOT / link).exists()
