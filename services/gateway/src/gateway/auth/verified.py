"""Credentials that were found good, remembered until they expire or something ends them."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable

from gateway.auth.credentials import Identity

_MOST = 10_000


class Verified:
    """Known by their hashes only. Relies on hearing every revocation: while that can't be, it knows nothing."""

    def __init__(self, hears_all: Callable[[], bool], *, most: int = _MOST) -> None:
        self._hears_all = hears_all
        self._most = most
        self._identities: dict[bytes, Identity] = {}
        self._by_end: defaultdict[str, set[bytes]] = defaultdict(set)
        self.heard = 0  # revocations so far: who looked before one must not remember after it

    def find(self, credential: str) -> Identity | None:
        if not self._hears_all():
            return None
        digest = _digest(credential)
        identity = self._identities.get(digest)
        if identity is not None and _expired(identity):
            self._forget(digest)
            return None
        return identity

    def remember(self, credential: str, identity: Identity, *, heard: int) -> None:
        """Unless something was revoked since `heard` was read: it may have been this."""
        if heard != self.heard or not self._hears_all():
            return
        digest = _digest(credential)
        if digest not in self._identities and len(self._identities) >= self._most:
            self._forget(next(iter(self._identities)))
        self._identities[digest] = identity
        for name in identity.ended_by:
            self._by_end[name].add(digest)

    def ended(self, name: str) -> None:
        self.heard += 1
        if name == "*":
            self._identities.clear()
            self._by_end.clear()
        for digest in tuple(self._by_end.get(name, ())):
            self._forget(digest)

    def _forget(self, digest: bytes) -> None:
        for name in self._identities.pop(digest).ended_by:
            self._by_end[name].discard(digest)
            if not self._by_end[name]:
                del self._by_end[name]


def _digest(credential: str) -> bytes:
    return hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()


def _expired(identity: Identity) -> bool:
    expires_at = identity.principal.expires_at
    return expires_at is not None and expires_at <= time.time()
