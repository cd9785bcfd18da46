"""The image, really built, and the compose file's topology, really run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from images.debian import base_image, build_secrets
from images.engine import Engine, NoEngine, open_engine

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "images"
VERSION = "0.0.0-test"
IMAGE = f"millrace:{VERSION}"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    (CACHE / "docker").mkdir(parents=True, exist_ok=True)
    try:
        with open_engine(CACHE / "docker", tmp_path_factory.mktemp("docker")) as opened:
            yield opened
    except NoEngine as sentence:
        pytest.exit(str(sentence), returncode=1)


@pytest.fixture(scope="session")
def base(engine: Engine) -> str:
    return base_image(engine, CACHE)


@pytest.fixture(scope="session")
def image(engine: Engine, base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    arguments = [f"--build-arg=BASE={base}", f"--build-arg=VERSION={VERSION}", f"--tag={IMAGE}", "--network=host"]
    secrets = build_secrets(tmp_path_factory.mktemp("secrets"))
    engine("build", *arguments, *secrets, f"--file={ROOT / 'deploy' / 'Dockerfile'}", ROOT)
    return IMAGE
