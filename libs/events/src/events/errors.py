"""Errors that carry a code, a status and whether a retry helps.

Whatever reaches a client is one of these, or becomes an `InternalError` that says nothing of its cause.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of a request: where it is (`query.after`, `body.options.workflow`) and what is wrong."""

    field: str
    code: str
    detail: str


class MillraceError(Exception):
    code = "internal"
    status = 500
    title = "Internal error"
    retryable = False
    problem_type: str | None = None  # a registered one; None for our own, which is named after the code

    def __init__(
        self, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    @property
    def members(self) -> Mapping[str, object]:
        """What its problem says besides."""
        return {}


class InternalError(MillraceError):
    pass


class InvalidInput(MillraceError):
    code, status, title = "invalid_input", 422, "Invalid input"


class IdempotencyKeyReused(InvalidInput):
    code, title = "idempotency_key_reused", "Idempotency key reused"

    def __init__(self) -> None:
        detail = "This Idempotency-Key was used for another request. Use a new key for a new request."
        super().__init__(detail, errors=[FieldError("header.idempotency-key", "reused", detail)])


class BadRequest(MillraceError):
    code, status, title = "bad_request", 400, "Bad request"


class Unauthenticated(MillraceError):
    code, status, title = "unauthenticated", 401, "Authentication required"


class Forbidden(MillraceError):
    code, status, title = "forbidden", 403, "Not allowed"


class NotFound(MillraceError):
    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(MillraceError):
    code, status, title = "method_not_allowed", 405, "Method not allowed"


class NotAcceptable(MillraceError):
    code, status, title = "not_acceptable", 406, "Not acceptable"


class RequestTimeout(MillraceError):
    code, status, title, retryable = "request_timeout", 408, "Request timed out", True


class Conflict(MillraceError):
    code, status, title = "conflict", 409, "Conflict"


class Gone(MillraceError):
    code, status, title = "gone", 410, "Deleted"


class CursorExpired(MillraceError):
    """The cursor belongs to another epoch of the log, or lies beyond its head: start over from a snapshot."""

    code, status, title = "cursor_expired", 410, "Cursor expired"


class TooLarge(MillraceError):
    code, status, title = "too_large", 413, "Too large"


class UnsupportedMedia(MillraceError):
    code, status, title = "unsupported_media_type", 415, "Unsupported media type"


class QuotaExceeded(MillraceError):
    code, status, title, retryable = "quota_exceeded", 429, "Quota exceeded", True
    problem_type = "https://iana.org/assignments/http-problem-types#quota-exceeded"

    def __init__(
        self, detail: str, *, policies: Sequence[str], retry_after: int, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after), **(headers or {})})
        self.policies = tuple(policies)
        self.retry_after = retry_after  # seconds

    @property
    def members(self) -> Mapping[str, object]:
        return {"violated-policies": self.policies}


class Unavailable(MillraceError):
    """A part that we depend on does not answer now: the same request may succeed later."""

    code, status, title, retryable = "unavailable", 503, "Temporarily unavailable", True


class BrokerUnavailable(Unavailable):
    code, title = "broker_unavailable", "Broker unavailable"


class PartlyConfirmed(BrokerUnavailable):
    """Of many messages that were published in order, `confirmed` of the first are the broker's. Each of the others may
    have arrived or not."""

    def __init__(self, detail: str, *, confirmed: int) -> None:
        super().__init__(detail)
        self.confirmed = confirmed


class Unroutable(MillraceError):
    """The broker has no queue for a message that must not be lost."""

    code, title, retryable = "unroutable", "Message not routable", True


class UpstreamUnavailable(Unavailable):
    code, status, title = "upstream_unavailable", 502, "Upstream unavailable"


class UpstreamTimeout(Unavailable):
    code, status, title = "upstream_timeout", 504, "Upstream timed out"


class LogHole(MillraceError):
    """A position is missing from the log. Writers make no holes, so this is corruption: readers halt."""

    code, title = "log_hole", "Hole in the event log"


class WrongEpoch(MillraceError):
    """The log is not the one that the reader's cursor or checkpoint belongs to."""

    code, title = "wrong_epoch", "Another log"


class Fenced(MillraceError):
    """Somebody else has taken over: what a zombie writes after that is refused."""

    code, status, title = "fenced", 409, "Taken over"


class StartupError(MillraceError):
    """Why the program cannot start, in one sentence that its user can act on."""

    code, title = "startup", "Cannot start"
