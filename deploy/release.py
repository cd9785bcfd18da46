"""Builds what a version is, into build/release/<version>: `make release`.

The wheels and source archives of our packages, the pins of what they need, the manifests, a bill of materials, the
changelog's section, the image where a Docker engine is, and the checksums of all files. The same commit gives the same
bytes, but for the image, whose base is whatever its tag names on that day.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from bootstrap import LOCK, PACKAGES, ROOT, CannotBootstrap, find_uv
from image import runtime_pins, sbom

# What a machine that runs it in containers needs. What is not there is not in the archive.
MANIFESTS = ("deploy/compose.yaml", "deploy/kubernetes", "deploy/prometheus", "deploy/grafana")


class CannotRelease(Exception):
    """Why not, in one sentence."""


def release() -> Path:
    version = the_version()
    notes = notes_of(version, (ROOT / "CHANGELOG.md").read_text())
    if changed := _git("status", "--porcelain"):
        raise CannotRelease(f"The tree has changes that are in no commit: {', '.join(changed.split()[1::2])}.")
    _check_tag(version)
    _check_images(version)
    commit, epoch = _git("rev-parse", "HEAD"), int(_git("log", "-1", "--format=%ct"))
    folder = ROOT / "build" / "release" / version
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _build_packages(folder, epoch)
    pins = runtime_pins(LOCK.read_text())
    (folder / "requirements.txt").write_text("".join(pins.values()))
    (folder / f"millrace-{version}-manifests.tar.gz").write_bytes(archive(_manifests(), f"millrace-{version}", epoch))
    packages = [d for d in distributions() if d.name.lower() in pins or d.name.startswith("millrace-")]
    document = json.dumps(sbom(packages, (), version), indent=1)
    (folder / f"millrace-{version}.cdx.json").write_text(document + "\n")
    (folder / "RELEASE_NOTES.md").write_text(notes)
    (folder / "SHA256SUMS").write_text(checksums(folder))
    print(_image(version, commit))
    return folder


def the_version() -> str:
    """That of all our packages."""
    versions = {
        tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]["version"]
        for package in (".", *PACKAGES)
    }
    if len(versions) > 1:
        raise CannotRelease(f"The packages have several versions: {', '.join(sorted(versions))}.")
    return str(versions.pop())


def notes_of(version: str, changelog: str) -> str:
    """The version's section of the changelog, without its heading."""
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if re.match(rf"\[?{re.escape(version)}\]?(\s|$)", heading) and text.strip():
            return text.strip() + "\n"
    raise CannotRelease(f"CHANGELOG.md has no section for {version}: what is under Unreleased belongs there.")


def _check_tag(version: str) -> None:
    """A version is one commit for good. That one may be built again, as the workflow does that its tag starts."""
    tag = f"v{version}"
    if _git("tag", "--list", tag) and tag not in _git("tag", "--points-at=HEAD").splitlines():
        raise CannotRelease(f"{tag} is the tag of another commit already: give the packages the next version.")


def _check_images(version: str) -> None:
    for file in sorted((ROOT / "deploy" / "kubernetes").rglob("*.yaml")):
        named = set(re.findall(r"(?:newTag: |image: \S+/millrace:)([\w.-]+)", file.read_text()))
        if named - {version}:
            raise CannotRelease(f"{file.relative_to(ROOT)} names the image {', '.join(named)}, not {version}.")


def _build_packages(folder: Path, epoch: int) -> None:
    outcome = subprocess.run(
        [find_uv(), "build", "--quiet", "--all-packages", "--no-create-gitignore", f"--out-dir={folder}"],
        cwd=ROOT,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
        check=False,
    )
    if outcome.returncode != 0:
        raise CannotRelease("The packages cannot be built: uv's own message is above.")


def _manifests() -> list[Path]:
    return [ROOT / name for name in _git("ls-files", "--", *MANIFESTS).splitlines()]


def archive(files: list[Path], folder: str, epoch: int) -> bytes:
    """A tar.gz that depends on the files' names and contents alone."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=epoch) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for file in sorted(files):
            content = file.read_bytes()
            entry = tarfile.TarInfo(f"{folder}/{file.relative_to(ROOT / 'deploy')}")
            entry.size, entry.mtime, entry.mode = len(content), epoch, 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def checksums(folder: Path) -> str:
    """As `sha256sum --check` reads them."""
    return "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(folder.iterdir())
    )


def _image(version: str, commit: str) -> str:
    """Builds the image where a Docker engine is, and says what became of it."""
    if shutil.which("docker") is None or subprocess.run(["docker", "version"], capture_output=True).returncode != 0:
        return "No Docker engine answers here, so there is no image."
    tag = f"millrace:{version}"
    arguments = ["--file=deploy/Dockerfile", f"--build-arg=VERSION={version}", f"--build-arg=REVISION={commit}"]
    outcome = subprocess.run(["docker", "build", *arguments, f"--tag={tag}", "."], cwd=ROOT, check=False)
    if outcome.returncode != 0:
        raise CannotRelease("The image cannot be built: Docker's own message is above.")
    return f"The image is {tag}."


def _git(*arguments: str) -> str:
    outcome = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        raise CannotRelease(f"git {arguments[0]} failed: {outcome.stderr.strip()}")
    return outcome.stdout.strip()


if __name__ == "__main__":
    try:
        made = release()
    except (CannotRelease, CannotBootstrap) as sentence:
        sys.exit(str(sentence))
    print(f"{made.relative_to(ROOT)} has:")
    for file in sorted(made.iterdir()):
        print(f"  {file.stat().st_size:>9,}  {file.name}")
