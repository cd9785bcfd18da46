"""A Debian to build on where no registry can be reached, and this machine's own way to packages."""

import subprocess
from pathlib import Path

from deploy.packages import debian_program
from images.engine import Engine

PUBLISHED = "python:3.12-slim-bookworm"  # the Dockerfile's own
OWN = "millrace-debian"
_PACKAGES = "ca-certificates,python3,python3-venv"
_RELEASE = "bookworm"


def base_image(engine: Engine, folder: Path) -> str:
    """The Dockerfile's own base if the engine can get it, else a Debian of ours."""
    if engine.can_get(PUBLISHED):
        return PUBLISHED
    if not engine.has(OWN):
        root = folder / "debian"
        if not (root / "etc" / "debian_version").exists():
            program = debian_program("debootstrap", "debootstrap")
            subprocess.run([program, "--variant=minbase", f"--include={_PACKAGES}", _RELEASE, root], check=True)
        tar = subprocess.run(["tar", "--create", f"--directory={root}", "."], stdout=subprocess.PIPE, check=True)
        engine("import", "-", OWN, given=tar.stdout)
    return OWN


def build_secrets(folder: Path) -> list[str]:
    """How this machine is configured to get packages, as secrets of a build."""
    ours = folder / "uv.toml"
    ours.write_text("native-tls = true\n")
    files = {
        "uv": next(
            (path for path in (Path.home() / ".config/uv/uv.toml", Path("/etc/uv/uv.toml")) if path.exists()), ours
        ),
        "pip": next(
            (path for path in (Path.home() / ".config/pip/pip.conf", Path("/etc/pip.conf")) if path.exists()), None
        ),
        "certificates": Path("/etc/ssl/certs/ca-certificates.crt"),
    }
    return [f"--secret=id={name},src={path}" for name, path in files.items() if path is not None and path.exists()]
