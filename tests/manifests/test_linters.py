"""Others look at the image and the manifests: hadolint, checkov, Kubernetes' own schemas."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from manifests.conftest import LINTERS, OVERLAYS, ROOT, Object

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


def test_the_operators_objects_have_the_fields_that_we_have_read_of(objects: Sequence[Object]) -> None:
    of_operators = [found for found in objects if found["kind"] in _SCHEMAS]
    assert {found["kind"] for found in of_operators} == set(_SCHEMAS)
    for found in of_operators:
        validator = jsonschema_rs.validator_for({"type": "object", **_SCHEMAS[found["kind"]]})
        assert [f"{found['metadata']['name']}: {error}" for error in validator.iter_errors(found["spec"])] == []


def test_no_waiver_lacks_its_reason() -> None:
    waivers = re.findall(r"^  - (CKV\w+)(.*)$", _CHECKOV.read_text(), re.MULTILINE)
    assert len(waivers) == len(yaml.safe_load(_CHECKOV.read_text())["skip-check"])
    ignored = re.findall(r"^# hadolint (ignore=\S+)(.*)$", _DOCKERFILE.read_text(), re.MULTILINE)
    assert [name for name, reason in [*waivers, *ignored] if not re.fullmatch(r"  # .{20,}", reason)] == []
    elsewhere = [
        file
        for file in (ROOT / "deploy" / "kubernetes").rglob("*.yaml")
        if "checkov" in file.read_text() or "hadolint" in file.read_text()
    ]
    assert elsewhere == []
