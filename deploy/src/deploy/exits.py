"""How `millrace` ends, for scripts that look at it."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import asyncpg
import click

from events.database import database_gone
from events.errors import MillraceError, StartupError


class Exit(IntEnum):
    FINE = 0
    WRONG = 1  # it has found something wrong, or could not do it
    USAGE = 2  # wrong arguments, or settings
    UNREACHABLE = 3  # the database, the broker or the gateway does not answer
    REFUSED = 4  # there is no such thing, it is in the wrong state, or our role or key may not do it
    BUG = 70
    INTERRUPTED = 130
    READER_GONE = 141  # as the shell tells of programs that a broken pipe has ended


class WrongSettings(StartupError):
    code, title = "wrong_settings", "Wrong settings"


class Unreachable(StartupError):
    code, title = "unreachable", "Not reachable"


_NO_SCHEMA = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError)


@contextmanager
def sentences(*, trace: bool = False, as_json: bool = False) -> Iterator[None]:
    """Whatever goes wrong becomes one sentence on stderr and an exit code; a traceback only for who asks for it."""
    try:
        yield
    except BaseException as error:
        told = _told(error)
        if told is None or trace:
            raise
        sentence, code = told
        click.echo(sentence, err=True)
        if as_json and code is not Exit.INTERRUPTED:
            print_failure(error.code if isinstance(error, MillraceError) else code.name.lower(), sentence, code)
        raise SystemExit(code) from None


def print_failure(name: str, sentence: str, code: int) -> None:
    """For programs that were promised JSON."""
    click.echo(json.dumps({"error": {"code": name, "detail": sentence, "exit_code": code}}, ensure_ascii=False))


def _told(error: BaseException) -> tuple[str, Exit] | None:
    """None for what is not ours to tell."""
    error = _original(error)
    match error:
        case WrongSettings():
            return error.detail, Exit.USAGE
        case Unreachable():
            return error.detail, Exit.UNREACHABLE
        case StartupError():
            return error.detail, Exit.WRONG
        case MillraceError() if error.retryable:
            return error.detail, Exit.UNREACHABLE
        case MillraceError():
            return error.detail, Exit.REFUSED
        case asyncpg.InsufficientPrivilegeError():
            advice = "Give MILLRACE_DATABASE_URL of the role that owns the schemas (millrace_owner)."
            return f"The database does not let this role do that: {error}. {advice}", Exit.REFUSED
        case _ if isinstance(error, _NO_SCHEMA):
            return f"This database is not as this release expects it: {error}. Run `millrace migrate`.", Exit.WRONG
        case BrokenPipeError():  # before what is said of the database: it is an OSError, and who reads us has gone
            return None
        case PermissionError() | OSError(filename=str() | bytes() | Path()):
            return f"Cannot use {error.filename or 'a file'}: {error.strerror}.", Exit.WRONG
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EIO):
            return f"Cannot write what there is to say: {error.strerror}.", Exit.WRONG
        case Exception() if database_gone(error):
            return f"The database does not answer: {str(error) or type(error).__name__}.", Exit.UNREACHABLE
        case KeyboardInterrupt():
            return "Interrupted.", Exit.INTERRUPTED
        case click.exceptions.Exit() | click.ClickException() | click.Abort():
            return None
        case Exception():
            advice = "MILLRACE_LOG_LEVEL=DEBUG shows where."
            return f"This is a bug of ours: {type(error).__name__}: {error}. {advice}", Exit.BUG
    return None


def _original(error: BaseException) -> BaseException:
    """Alembic's driver wraps what PostgreSQL says."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, asyncpg.PostgresError):
        cause = cause.__cause__
    return error if cause is None or isinstance(error, MillraceError) else cause
