"""What the image and a release are made of, out of a lock that pins what tests need, too."""

import re
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def deploy_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "deploy"))


def test_all_that_our_packages_need_is_in_the_image_and_nothing_else() -> None:
    """As the packages themselves say it, which the comments in the lock only repeat."""
    from image import runtime_pins
    from packaging.requirements import Requirement

    needed: set[tuple[str, str]] = set()
    asking = [(f"millrace-{name}", "") for name in ("deploy", "events", "gateway", "ingest", "notifier", "processor")]
    while asking:
        name, extra = asking.pop()
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            for wanted in ("", *requirement.extras):
                found = (re.sub(r"[-_.]+", "-", requirement.name).lower(), wanted)
                if found not in needed:
                    needed.add(found)
                    asking.append(found)
    theirs = {name for name, _ in needed if not name.startswith("millrace-")}
    pinned = set(runtime_pins((ROOT / "requirements.lock").read_text()))
    # Of what only other systems or Pythons need, nothing is installed here that could tell.
    assert theirs == {name for name in pinned if any(True for _ in distributions(name=name))}


def test_a_package_with_a_version_for_each_python_keeps_all_of_them() -> None:
    """The image on Python 3.11 had no numpy: of its two pins only the one for 3.12 and later was handed on."""
    from image import runtime_pins

    lock = (
        "numpy==2.3.5 ; python_full_version < '3.12' \\\n    --hash=sha256:00\n    # via millrace-processor\n"
        "numpy==2.5.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:11\n    # via\n    #   millrace-processor\n"
        "pytest==9.0.0 \\\n    --hash=sha256:22\n    # via millrace (pyproject.toml:dev)\n"
    )
    (pins,) = runtime_pins(lock).values()
    assert ("numpy==2.3.5" in pins, "numpy==2.5.0" in pins) == (True, True)
