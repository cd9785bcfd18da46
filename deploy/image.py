"""Makes the environment that is in the image, from nothing but a python3 with its standard library.

    python3 deploy/image.py dependencies /opt/millrace      what our packages need, as requirements.lock pins it
    python3 deploy/image.py packages /opt/millrace          our packages themselves
    python3 deploy/image.py sbom /opt/millrace 0.1.0        all that is in there and below it, as CycloneDX

requirements.lock pins what tests and linters need, too. Who needs what stands in its comments.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from bootstrap import LOCK, PACKAGES, ROOT, find_uv, run_uv

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==", re.MULTILINE)
_OURS = "millrace-"
_SBOMS = uuid.UUID("6f0d3a52-8a5c-5c39-9d6f-5d2c53f2f0d4")  # the namespace of our documents' serial numbers


def runtime_pins(lock: str) -> dict[str, str]:
    """By name, the pins that our packages need themselves, directly or not."""
    starts = [match.start() for match in _PIN.finditer(lock)]
    pins: dict[str, str] = {}
    for start, end in zip(starts, [*starts[1:], len(lock)], strict=True):
        name = _PIN.match(lock, start)["name"].lower()  # type: ignore[index]  # there it begins
        pins[name] = (
            pins.get(name, "") + lock[start:end].rstrip() + "\n"
        )  # it may have another version for another Python
    needed_by = {name: set(_asked_for_by(block)) for name, block in pins.items()}
    needed: set[str] = set()
    while True:
        more = {
            name
            for name, parents in needed_by.items()
            if name not in needed and any(parent.startswith(_OURS) or parent in needed for parent in parents)
        }
        if not more:
            return {name: pins[name] for name in sorted(needed)}
        needed |= more


def _asked_for_by(block: str) -> Iterator[str]:
    """The names in the pins' comments: `# via` with one name behind it, or several on the lines below it."""
    for line in block.splitlines():
        name = line.strip().removeprefix("#").strip().removeprefix("via").strip() if line.startswith("    #") else ""
        if re.fullmatch(r"[A-Za-z0-9._-]+", name):  # `millrace (pyproject.toml:dev)` is no package of ours that runs
            yield name.lower()


def install_dependencies(target: Path) -> None:
    uv = find_uv()
    run_uv(uv, "venv", "--quiet", "--python", sys.executable, str(target))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write("".join(runtime_pins(LOCK.read_text()).values()))
        pins.flush()
        run_uv(uv, "pip", "sync", *_into(target), "--require-hashes", pins.name)


def install_packages(target: Path) -> None:
    run_uv(find_uv(), "pip", "install", *_into(target), "--no-deps", *(str(ROOT / package) for package in PACKAGES))


def _into(target: Path) -> tuple[str, ...]:
    return ("--quiet", "--python", str(target / "bin" / "python"), "--link-mode=copy", "--compile-bytecode")


def sbom(packages: Iterable[Distribution], system: Iterable[str], version: str) -> dict[str, Any]:
    """A CycloneDX document. The same contents give the same bytes: it has no time and no random number."""
    components = [*_python_components(packages), *system_components(system)]
    components.sort(key=lambda component: str(component["purl"]))
    contents = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SBOMS, version + contents)}",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": "millrace", "name": "millrace", "version": version}
        },
        "components": components,
    }


def _python_components(packages: Iterable[Distribution]) -> Iterator[dict[str, Any]]:
    for package in packages:
        name = re.sub(r"[-_.]+", "-", package.name).lower()
        purl = f"pkg:pypi/{name}@{package.version}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": package.version, "purl": purl} | _licence(
            package.metadata.json
        )


def _licence(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What the package says of its licence: an SPDX expression, or the first line of whatever else it calls it."""
    if expression := metadata.get("license_expression"):
        return {"licenses": [{"expression": expression}]}
    of_licence = [
        line.rpartition(" :: ")[2] for line in metadata.get("classifier", ()) if line.startswith("License ::")
    ]
    named = of_licence or [line for line in str(metadata.get("license", "")).strip().splitlines()[:1] if line]
    return {"licenses": [{"license": {"name": name}} for name in named]} if named else {}


def system_components(listing: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Of lines `name version architecture`, as dpkg has them."""
    for line in listing:
        name, version, architecture = line.split()
        purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={architecture}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _debian_packages() -> list[str]:
    program = shutil.which("dpkg-query")
    if program is None:
        return []
    form = "--showformat=${Package} ${Version} ${Architecture}\n"
    return subprocess.run([program, "--show", form], capture_output=True, text=True, check=True).stdout.splitlines()


def main(arguments: list[str]) -> int:
    match arguments:
        case ["dependencies", target]:
            install_dependencies(Path(target))
        case ["packages", target]:
            install_packages(Path(target))
        case ["sbom", target, version]:
            (site,) = Path(target).glob("lib/python*/site-packages")
            json.dump(sbom(distributions(path=[str(site)]), _debian_packages(), version), sys.stdout, indent=1)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
