"""What an answer says of the limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10)."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.limits.policy import Limit, RouteClass

# Of answers that cost nobody anything: to a health check, or to what is not a request.
UNLIMITED = b'ratelimit-policy: "unlimited";q=1000000;w=1\r\nratelimit: "unlimited";r=1000000;t=0\r\n'

_SECOND = 1_000_000_000  # ns


@dataclass(frozen=True, slots=True)
class Bucket:
    """One of the buckets that a request spends from."""

    name: str  # in the database
    policy: str  # in headers
    limit: Limit

    def remaining(self, owed: int) -> int:
        """How many requests it still holds when it is `owed` ns from being full."""
        return (self.limit.capacity - owed) // self.limit.interval

    def wait(self, owed: int) -> int:
        """Whole seconds until it holds a request again."""
        return _seconds(owed + self.limit.interval - self.limit.capacity)


def policy_line(limited: RouteClass) -> bytes:
    policies = [
        b'"%b-%b";q=%d;w=%d' % (limited.name.encode(), per.encode(), limit.burst, limit.window)
        for per, limit in limited.limits.items()
    ]
    return b"ratelimit-policy: %b\r\n" % b", ".join(policies)


def limit_line(buckets: Sequence[Bucket], owed: Sequence[int]) -> bytes:
    """Of the bucket that will be empty first: how many requests are left in it for the next so many seconds."""
    left = [bucket.remaining(debt) for bucket, debt in zip(buckets, owed, strict=True)]
    least = min(left)
    place = left.index(least)
    bucket, debt = buckets[place], owed[place]
    seconds = _seconds(debt) if least else bucket.wait(debt)
    return b'ratelimit: "%b";r=%d;t=%d\r\n' % (bucket.policy.encode(), least, seconds)


def _seconds(ns: int) -> int:
    return max(0, -(-ns // _SECOND))
