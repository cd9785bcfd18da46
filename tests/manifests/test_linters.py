"""Others look at the image and the manifests: hadolint, checkov, Kubernetes' own schemas."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests.conftest import LINTERS, OVERLAYS, ROOT

_DOCKERFILE = ROOT / "deploy" / "Dockerfile"
_CHECKOV = ROOT / "deploy" / "linters" / "checkov.yaml"
_SCHEMAS: Mapping[str, Any] = yaml.safe_load((ROOT / "deploy" / "linters" / "custom_resources.yaml").read_text())
_OLDEST, _NEWEST = "1.30", "1.34"  # of Kubernetes


def lint(program: str, *arguments: object) -> str:
    """What it complains about."""
    command = [str(LINTERS / program), *map(str, arguments)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return "" if outcome.returncode == 0 else outcome.stdout + outcome.stderr


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    assert lint("hadolint", _DOCKERFILE) == ""


def test_checkov_finds_nothing_in_the_dockerfile() -> None:
    assert lint("checkov", "--config-file", _CHECKOV, "--framework=dockerfile", "--file", _DOCKERFILE) == ""


def test_checkov_finds_nothing_in_the_manifests(rendered_files: Mapping[str, Path]) -> None:
    files = [argument for file in rendered_files.values() for argument in ("--file", file)]
    assert lint("checkov", "--config-file", _CHECKOV, "--framework=kubernetes", *files) == ""


@pytest.mark.parametrize("version", [_OLDEST, _NEWEST])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_own_objects_fit_its_schemas(
    overlay: str, version: str, rendered_files: Mapping[str, Path], tmp_path: Path
) -> None:
    objects = yaml.safe_load_all(rendered_files[overlay].read_text())
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump_all(found for found in objects if found["kind"] not in _SCHEMAS))
    assert lint("kubernetes-validate", "--strict", "--version", version, own) == ""
