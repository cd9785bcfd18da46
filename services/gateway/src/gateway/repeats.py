"""Requests that come again under the `Idempotency-Key` of the first get its answer, though no secret in it is kept.

What is made keeps the key and a hash of what was asked for; a secret in the answer is computed from the key again.
"""

import hashlib
import hmac
from typing import Annotated

from fastapi import Header

from events.envelope import encode_json
from events.errors import IdempotencyKeyReused
from events.identity import Principal
from events.web.shapes import IDEMPOTENCY_KEY

IdempotencyKey = Annotated[
    Annotated[str, IDEMPOTENCY_KEY] | None,
    Header(description="The same key and body again gives the first answer again."),
]


def known_as(idempotency_key: str | None) -> str | None:
    """What is kept of it. It is only ever compared, and a client may have sent a secret by mistake."""
    return None if idempotency_key is None else hashlib.sha256(idempotency_key.encode()).hexdigest()


def request_hash(*asked: object) -> bytes:
    return hashlib.sha256(encode_json(asked)).digest()


def check_same(kept: bytes, asked: bytes) -> None:
    """Raise IdempotencyKeyReused if it is another request under the same key."""
    if not hmac.compare_digest(kept, asked):
        raise IdempotencyKeyReused


def seed_of(maker: Principal, idempotency_key: str) -> bytes:
    """What a secret may be computed from, with a key of ours: nobody else's request has the same."""
    return encode_json((maker.tenant, maker.subject, idempotency_key))
