"""`make release`, on a copy of this repository."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = "0.1.0"
PACKAGES = ("deploy", "events", "gateway", "ingest", "notifier", "processor")

Git = Callable[..., None]


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, Git]:
    """A commit of what is here, with a small changelog."""
    folder = tmp_path / "millrace"
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".", ":!tests"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    if (ROOT / ".tools").exists():  # else uv is on the PATH
        shutil.copytree(ROOT / ".tools", folder / ".tools", ignore=shutil.ignore_patterns("linters"))
    sections = (
        f"## Unreleased\n\n- Next.\n\n## {VERSION} – 2026-11-22\n\n### Added\n- Everything.\n\n## 0.0.9\n\nOld.\n"
    )
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n{sections}")

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "A commit")
    return folder, git


def release(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKER_HOST": f"unix://{folder}/no-engine"}
    return subprocess.run(
        [sys.executable, "deploy/release.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_release_has_all_that_a_version_is_and_the_same_commit_gives_the_same_bytes(
    repository: tuple[Path, Git],
) -> None:
    folder, git = repository
    first = release(folder)
    assert first.returncode == 0, first.stderr
    made = folder / "build" / "release" / VERSION
    files = {file.name: file.read_bytes() for file in made.iterdir()}
    assert set(files) == {
        *(f"millrace_{package}-{VERSION}-py3-none-any.whl" for package in PACKAGES),
        *(f"millrace_{package}-{VERSION}.tar.gz" for package in PACKAGES),
        f"millrace-{VERSION}-manifests.tar.gz",
        f"millrace-{VERSION}.cdx.json",
        "requirements.txt",
        "RELEASE_NOTES.md",
        "SHA256SUMS",
    }
    assert files["RELEASE_NOTES.md"].decode() == "### Added\n- Everything.\n"
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "SHA256SUMS"}
    assert sorted(files["SHA256SUMS"].decode().splitlines()) == sorted(
        f"{digest}  {name}" for name, digest in sums.items()
    )
    with tarfile.open(made / f"millrace-{VERSION}-manifests.tar.gz") as archive:
        names = archive.getnames()
    assert {f"millrace-{VERSION}/compose.yaml", f"millrace-{VERSION}/kubernetes/base/kustomization.yaml"} <= set(names)
    components = json.loads(files[f"millrace-{VERSION}.cdx.json"])["components"]
    pinned = {line.split("==")[0] for line in files["requirements.txt"].decode().splitlines() if "==" in line}
    listed = {component["name"] for component in components}
    assert {f"millrace-{package}" for package in PACKAGES} <= listed
    assert "asyncpg" in listed & pinned
    assert "pytest" not in listed | pinned, "what only tests need is no part of a release"

    git("tag", f"v{VERSION}")
    assert release(folder).returncode == 0, "the workflow that a tag starts builds what is tagged"
    assert {file.name: file.read_bytes() for file in made.iterdir()} == files


def test_the_changelog_has_a_section_for_the_version_and_one_for_what_comes() -> None:
    first, second, *_ = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first == "Unreleased"
    assert re.fullmatch(rf"{re.escape(VERSION)} – \d{{4}}-\d\d-\d\d", second)


def test_what_is_in_no_commit_or_in_no_changelog_or_was_released_before_is_not_released(
    repository: tuple[Path, Git],
) -> None:
    folder, git = repository
    (folder / "libs" / "events" / "stray.txt").touch()
    refused = release(folder)
    assert (refused.returncode, refused.stderr) == (
        1,
        "The tree has changes that are in no commit: libs/events/stray.txt.\n",
    )

    git("tag", "--annotate", f"v{VERSION}", "--message", "As hosts make them, too")
    git("add", ".")
    git("commit", "--quiet", "--message", "Another")
    refused = release(folder)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"v{VERSION} is the tag of another commit already: give the packages the next version.\n",
    )
    git("tag", "--delete", f"v{VERSION}")

    for name, image in (("operator.yaml", "millrace:"), ("overlays/small/kustomization.yaml", "newTag: ")):
        file = folder / "deploy" / "kubernetes" / name
        file.write_text(file.read_text().replace(f"{image}{VERSION}", f"{image}0.0.9"))
        git("commit", "--quiet", "--all", "--message", "An old tag")
        refused = release(folder)
        assert (refused.returncode, refused.stderr) == (
            1,
            f"deploy/kubernetes/{name} names the image 0.0.9, not {VERSION}.\n",
        )
        file.write_text(file.read_text().replace(f"{image}0.0.9", f"{image}{VERSION}"))
    git("commit", "--quiet", "--all", "--message", "The tags as they were")

    changelog = folder / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace(f"## {VERSION} ", "## 0.0.8 "))
    git("commit", "--quiet", "--all", "--message", "A changelog without a section")
    refused = release(folder)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"CHANGELOG.md has no section for {VERSION}: what is under Unreleased belongs there.\n",
    )
