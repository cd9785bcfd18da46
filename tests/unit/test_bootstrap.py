"""The way to uv that nobody's machine tests by itself: from the configured index, by the standard library alone."""

import hashlib
import importlib.util
import platform
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

_FILE = Path(__file__).parents[2] / "deploy" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, on an empty directory and an index of one wheel."""
    spec = importlib.util.spec_from_file_location("bootstrap", _FILE)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bootstrap", script)
    spec.loader.exec_module(script)

    folder = tmp_path / "index" / "uv"
    folder.mkdir(parents=True)
    libc = "manylinux_2_17" if platform.libc_ver()[0] == "glibc" else "musllinux_1_1"
    system = "macosx_11_0" if sys.platform == "darwin" else libc
    wheel = folder / f"uv-{script.UV_VERSION}-py3-none-{system}_{platform.machine()}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"uv-{script.UV_VERSION}.data/scripts/uv", "#!/bin/sh\necho it runs\n")
    other = f"uv-{script.UV_VERSION}-py3-none-win32.whl"
    (folder / "index.html").write_text(f'<a href="{other}">{other}</a><a href="{wheel.name}">{wheel.name}</a>')

    lock = tmp_path / "bootstrap.lock"
    lock.write_text(f"uv=={script.UV_VERSION} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    monkeypatch.setattr(script, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(script, "UV_LOCK", lock)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "index").as_uri())
    monkeypatch.setenv("HOME", str(tmp_path))
    return script


def test_uv_is_fetched_from_the_configured_index(bootstrap: ModuleType) -> None:
    uv = bootstrap._by_configured_index()
    assert bootstrap._succeeds(str(uv))


def test_a_wheel_whose_hash_is_not_pinned_is_refused(bootstrap: ModuleType) -> None:
    bootstrap.UV_LOCK.write_text("uv --hash=sha256:" + "0" * 64)
    with pytest.raises(bootstrap.WayClosed, match="hash"):
        bootstrap._by_configured_index()
    assert not (bootstrap.TOOLS / "wheel").exists()


def test_without_any_way_one_sentence_says_what_is_missing(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for way in ("_by_pip", "_by_venv", "_by_configured_index", "_by_apt"):
        monkeypatch.setattr(bootstrap, way, _closed(bootstrap))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(bootstrap.CannotBootstrap, match=r"^uv [\d.]+ is needed .* \(closed\): install python3-venv"):
        bootstrap.find_uv()


def _closed(bootstrap: ModuleType) -> object:
    def way() -> Path:
        raise bootstrap.WayClosed("closed")

    return way
