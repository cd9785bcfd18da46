"""What the door asks before a request goes on: whether its sender has asked too much already."""

import asyncio
import math
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from events.errors import QuotaExceeded, Unavailable
from events.identity import Principal
from events.telemetry import Telemetry
from gateway.limits.address import Addresses
from gateway.limits.headers import Bucket, limit_line, policy_line
from gateway.limits.limiter import Limiter
from gateway.limits.policy import RouteClass, classes
from gateway.settings import GatewaySettings
from gateway.wire.goodbye import can_be_accepted
from gateway.wire.requests import Request

_KNOWN_SENDERS = 10_000
_MOST_GUESSERS = 10_000
_LONGEST_NAME = 500


class Admission:
    def __init__(self, settings: GatewaySettings, limiter: Limiter, telemetry: Telemetry) -> None:
        self._classes = classes(settings.limits, settings.limits_connects)
        self._policies = {name: policy_line(limited) for name, limited in self._classes.items()}
        self._addresses = Addresses(settings.trusted_proxies)
        self._limiter = limiter
        self._buckets = lru_cache(_KNOWN_SENDERS)(self._buckets_of)
        self._guessers: dict[str, float] = {}  # address → until when nothing that it shows is even looked at
        self._limited = telemetry.counter(
            "millrace_gateway_limit_decisions_total",
            "What the limiter has decided of requests.",
            {"limited_as": [*self._classes], "outcome": ["admitted", "refused", "uncounted", "unavailable"]},
        )
        self._admitted = {name: self._limited.labels(name, "admitted") for name in self._classes}

    def locate(self, peer: str, request: Request) -> None:
        request.address = self._addresses.of(peer, request.head)

    async def admit(self, request: Request, limited_as: str, principal: Principal | None) -> None:
        """Count the request, or refuse it. Its answer says what is left."""
        if principal is None:
            buckets = self._buckets(limited_as, None, None, request.address)
        else:
            buckets = self._buckets(limited_as, principal.tenant, principal.subject, request.address)
        await self._spend(request, limited_as, buckets)

    async def connect(self, request: Request, limited_as: str | None, principal: Principal | None) -> int:
        """Count a connect, where connects are limited: for how many seconds it came too early, to be told politely.

        What can't be told by a close code, and too many altogether, are refused."""
        limit = self._classes[limited_as].connects if limited_as is not None else None
        if limited_as is None or limit is None or principal is None:
            return 0
        # Not the path itself: what stands in it is the client's, and may be a secret by mistake.
        path = blake2b(request.head.path.encode(), digest_size=16).hexdigest()
        place = _name(limited_as, principal.tenant, principal.subject, path)
        counted = await self._limiter.connect(place, seconds=limit.seconds, free=limit.free, most=limit.most)
        if counted is None:
            self._uncounted(self._classes[limited_as])
            return 0
        count, wait = counted
        if count > limit.most or (count > limit.free and not can_be_accepted(request.head)):
            raise self._refusal(limited_as, [f"{limited_as}-connects"], wait)
        return math.ceil(wait)

    async def failed(self, request: Request) -> None:
        """Count a request whose credential is missing or wrong. Who makes too many is not even heard for a while."""
        try:
            await self._spend(request, "guess", self._buckets("guess", None, None, request.address))
        except QuotaExceeded as refused:
            if len(self._guessers) >= _MOST_GUESSERS:
                self._guessers.clear()
            self._guessers[request.address] = asyncio.get_running_loop().time() + refused.retry_after
            raise

    def refuse_guesser(self, request: Request) -> None:
        """Else the next guess would tell whether it is right."""
        if not self._guessers:
            return
        wait = self._guessers.get(request.address, 0.0) - asyncio.get_running_loop().time()
        if wait > 0:
            buckets = self._buckets("guess", None, None, request.address)
            empty = [bucket.limit.capacity for bucket in buckets]
            request.limits = self._policies["guess"] + limit_line(buckets, empty)
            raise self._refusal("guess", [bucket.policy for bucket in buckets], wait)
        self._guessers.pop(request.address, None)

    async def _spend(self, request: Request, limited_as: str, buckets: Sequence[Bucket]) -> None:
        if not buckets:
            return
        verdict = await self._limiter.spend(buckets)
        if verdict is None:
            request.limits = self._policies[limited_as] + limit_line(buckets, [0] * len(buckets))
            self._uncounted(self._classes[limited_as])
            return
        request.limits = self._policies[limited_as] + limit_line(buckets, verdict.owed)
        if not verdict.admitted:
            waits = {bucket.policy: bucket.wait(owed) for bucket, owed in zip(buckets, verdict.owed, strict=True)}
            raise self._refusal(limited_as, [policy for policy, wait in waits.items() if wait], max(waits.values()))
        self._admitted[limited_as].inc()

    def _uncounted(self, limited: RouteClass) -> None:
        if limited.passes_uncounted:
            self._limited.labels(limited.name, "uncounted").inc()
            return
        self._limited.labels(limited.name, "unavailable").inc()
        detail = "Requests like this can't be counted now, and are not let through uncounted. Try again."
        raise Unavailable(detail, headers={"Retry-After": "1"})

    def _refusal(self, limited_as: str, policies: Sequence[str], wait: float) -> QuotaExceeded:
        self._limited.labels(limited_as, "refused").inc()
        seconds = max(1, math.ceil(wait))
        return QuotaExceeded(f"Too many requests. Try again in {seconds} s.", policies=policies, retry_after=seconds)

    def _buckets_of(self, limited_as: str, tenant: str | None, subject: str | None, address: str) -> tuple[Bucket, ...]:
        whom = {"subject": (tenant, subject), "tenant": (tenant,), "address": (address,)}
        return tuple(
            Bucket(_name(limited_as, per, *whom[per]), f"{limited_as}-{per}", limit)
            for per, limit in self._classes[limited_as].limits.items()
            if None not in whom[per]
        )


def _name(limited_as: str, *parts: str | None) -> str:
    """What the database knows it as. Whatever is in the parts, two different lists of them never look the same."""
    name = " ".join([limited_as, *map(repr, parts)])
    if len(name) > _LONGEST_NAME:
        return f"{limited_as} {blake2b(name.encode(), digest_size=32).hexdigest()}"
    return name
