"""Where the client of a socket is, sealed for the service behind it. What the service asks for the client counts for
that address then: else all its clients shared the service's own, and a few could use it up.

Only gateways can read it: where a client is, is no service's business.
"""

import os
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.auth.derived import derived_key

HEADER = b"x-socket-client"

_NONCE = 12


class SealedAddresses:
    def __init__(self, pepper: str) -> None:
        self._seal = AESGCM(derived_key(pepper, "addresses of clients"))

    def seal(self, address: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return b64encode(nonce + self._seal.encrypt(nonce, address.encode(), None))

    def open(self, sealed: bytes) -> str | None:
        """None for what no gateway has sealed."""
        try:
            raw = b64decode(sealed, validate=True)
            return self._seal.decrypt(raw[:_NONCE], raw[_NONCE:], None).decode()
        except (ValueError, InvalidTag):
            return None
