"""The directory that one Millrace keeps everything in."""

import json
from pathlib import Path

from deploy.data_directory import open_data_directory


def test_an_older_directory_gets_the_secrets_that_it_lacks_and_keeps_the_others(tmp_path: Path) -> None:
    with open_data_directory(tmp_path) as data:
        first = data.secrets
    file = tmp_path / "secrets.json"
    file.write_text(
        json.dumps({name: kept for name, kept in json.loads(file.read_text()).items() if name != "key_pepper"})
    )
    with open_data_directory(tmp_path) as data:
        second = data.secrets
    assert second.key_pepper != first.key_pepper
    assert (second.principal, second.postgres, second.roles) == (first.principal, first.postgres, first.roles)
    assert file.stat().st_mode & 0o777 == 0o600
    with open_data_directory(tmp_path) as data:
        assert data.secrets == second
