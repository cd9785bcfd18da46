"""What `make run` and `make stack` say when they start."""

import shlex
from importlib.metadata import version
from pathlib import Path

from deploy.printing import note
from deploy.settings import DeploySettings, unknown_settings


def settings_told() -> DeploySettings:
    """The settings, and a remark on each variable that looks like one."""
    for sentence in unknown_settings():
        note(sentence)
    return DeploySettings.from_environment()


def welcome(url: str, admin_key_file: Path) -> None:
    authorization = f'"Authorization: Bearer $(cat {quoted(admin_key_file)})"'
    body = "\"$(printf 'name,age\\nAda,36\\nGrace,45\\n')\""
    upload = f"'{url}/api/v1/uploads?workflow=csv-profile&filename=people.csv'"
    print(f"Millrace {version('millrace-deploy')} is ready at {url}. Upload a first file:\n")
    print(f"  curl -H {authorization} -H 'Content-Type: text/csv' --data-binary {body} {upload}\n", flush=True)


def quoted(file: Path) -> str:
    return shlex.quote(str(file))
