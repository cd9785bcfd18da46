"""How `millrace` ends when something is in its way."""

import errno

import pytest

from deploy.exits import Exit, sentences
from fixtures.operator import Operator


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/srv/secrets.json"),
            Exit.WRONG,
            "Cannot use /srv/secrets",
        ),
        (OSError(errno.ENOSPC, "No space left", "/srv/backup"), Exit.WRONG, "Cannot use /srv/backup: No space left."),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), Exit.UNREACHABLE, "The database does not answer"),
    ],
)
def test_a_file_that_may_not_be_used_is_no_database_that_does_not_answer(
    error: OSError, code: Exit, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them are OSErrors, and were told alike."""
    with pytest.raises(SystemExit) as ended, sentences():
        raise error
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(says)


def test_a_reader_that_goes_away_is_nothing_to_talk_about(capsys: pytest.CaptureFixture[str]) -> None:
    """It is an OSError, too, and click ends quietly by it."""
    with pytest.raises(BrokenPipeError), sentences():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert capsys.readouterr().err == ""


async def test_a_key_is_made_for_a_tenant_that_a_token_could_name_only() -> None:
    for tenant in ("a b", "", "x" * 65, "a/b"):
        code, out, err = await Operator({}).says("keys", "create", "one", "--scope", "ops", "--tenant", tenant)
        assert (code, out, "--tenant" in err) == (2, "", True), err
