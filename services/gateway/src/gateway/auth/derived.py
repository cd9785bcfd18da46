"""Keys for one purpose each, from the one secret that the gateway's replicas share."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derived_key(pepper: str, purpose: str) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=f"millrace {purpose}".encode()).derive(pepper.encode())
