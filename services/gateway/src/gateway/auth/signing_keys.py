"""The Ed25519 keys that access tokens are signed with: made on a schedule, shared by all replicas through the database.

A key is published for a while before it signs, and verifies until its last token has expired. Private keys are sealed
with a key that is not in the database.
"""

import asyncio
import os
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from events.database import Pool, load_queries
from gateway.auth.derived import derived_key

# Longer than a replica or a reader of our JWKS may not have looked.
LEAD_SECONDS = 900.0
_UNKNOWN_KID_COOL_DOWN = 1.0
_NONCE_BYTES = 12


class SealedForAnother(Exception):
    """The operator's to mend, and none of a client's business."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    private: Ed25519PrivateKey
    public: Ed25519PublicKey

    @property
    def jwk(self) -> dict[str, Any]:
        x = urlsafe_b64encode(self.public.public_bytes_raw()).rstrip(b"=").decode()
        return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid, "x": x}


class SigningKeys:
    def __init__(self, pool: Pool, pepper: str, *, period: float, overlap: float) -> None:
        self._pool = pool
        self._seal = AESGCM(derived_key(pepper, "signing keys"))
        self._period = period  # seconds that a key signs
        self._overlap = overlap  # seconds that it verifies after that
        self._queries = load_queries("gateway.auth", "signing_keys.sql")
        self._known: Mapping[str, SigningKey] = {}
        self._current: SigningKey | None = None
        self._loading = asyncio.Lock()
        self._loaded_at = float("-inf")

    async def rotate(self) -> bool:
        """Make the next key if it is time, drop those that have had theirs, and learn what other replicas made."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(self._queries["lock_rotation"])
            signs_from = await connection.fetchval(self._queries["next_signs_from"], self._period, LEAD_SECONDS)
            if signs_from is not None:
                kid, private = os.urandom(12).hex(), Ed25519PrivateKey.generate()
                await connection.execute(self._queries["insert_key"], kid, self._sealed(kid, private), signs_from)
            await connection.execute(self._queries["remove_outlived"], self._overlap)
            self._learn(await connection.fetch(self._queries["keys"]))
        return False

    async def current(self) -> SigningKey:
        """The key to sign with."""
        if self._current is None:
            await self.rotate()
        assert self._current is not None
        return self._current

    async def find(self, kid: str) -> SigningKey | None:
        """The key to verify with. One that is not known may be another replica's news, so the database is asked, but
        not for every forgery."""
        if kid not in self._known:
            async with self._loading:
                clock = asyncio.get_running_loop()
                if kid not in self._known and clock.time() - self._loaded_at > _UNKNOWN_KID_COOL_DOWN:
                    self._learn(await self._pool.fetch(self._queries["keys"]))
        return self._known.get(kid)

    async def jwks(self) -> dict[str, Any]:
        await self.current()
        return {"keys": [key.jwk for key in self._known.values()]}

    def _learn(self, rows: list[asyncpg.Record]) -> None:
        known = {row["kid"]: self._known.get(row["kid"]) or self._unsealed(row) for row in rows}
        begun = [known[row["kid"]] for row in rows if row["has_begun"]]
        self._known, self._current = known, begun[-1] if begun else None
        self._loaded_at = asyncio.get_running_loop().time()

    def _sealed(self, kid: str, private: Ed25519PrivateKey) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._seal.encrypt(nonce, private.private_bytes_raw(), kid.encode())

    def _unsealed(self, row: asyncpg.Record) -> SigningKey:
        kid, sealed = row["kid"], row["sealed"]
        try:
            raw = self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], kid.encode())
        except InvalidTag:
            raise SealedForAnother(
                "The signing keys in the database were sealed with another MILLRACE_KEY_PEPPER. Set that one, or "
                "delete the rows of gateway.signing_keys, which ends every session."
            ) from None
        private = Ed25519PrivateKey.from_private_bytes(raw)
        return SigningKey(kid, private, private.public_key())
