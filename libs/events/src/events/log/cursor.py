"""Cursors that clients keep: `<epoch>.<n>`, where a bare `n` means the current epoch."""

from uuid import UUID

from events.errors import CursorExpired, FieldError, InvalidInput

_MAX = 2**63 - 1


def cursor_of(epoch: UUID, number: int) -> str:
    return f"{epoch}.{number}"


def after_of(cursor: str, epoch: UUID, *, field: str = "query.after") -> int:
    """The version or position after which to go on. Raise `CursorExpired` if it belongs to another log."""
    named, dot, number = cursor.rpartition(".")
    if not (number.isascii() and number.isdecimal()) or len(number) > 19 or int(number) > _MAX:
        raise _malformed(field)
    if dot:
        try:
            if UUID(named) != epoch:
                raise CursorExpired("This cursor belongs to another log. Read a snapshot and go on from there.")
        except ValueError:
            raise _malformed(field) from None
    return int(number)


def _malformed(field: str) -> InvalidInput:
    detail = "A cursor is a whole number, or <epoch>.<number> as it was given."
    return InvalidInput(detail, errors=[FieldError(field, "cursor", detail)])
