"""API keys: `mr_live_<id>_<secret><crc>`, all base62.

The CRC tells a mistyped key, and a scanner's find, from a wrong one without asking anybody.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

from events.errors import Unauthenticated

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH = 12
_SECRET_LENGTH = 32  # 190 bits: an HMAC is enough at rest, there is nothing to guess
_CRC_LENGTH = 6
_FORMAT = re.compile(
    rf"mr_live_([0-9A-Za-z]{{{_ID_LENGTH}}})_[0-9A-Za-z]{{{_SECRET_LENGTH}}}([0-9A-Za-z]{{{_CRC_LENGTH}}})"
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: str  # public: it may be logged and listed
    text: str = field(repr=False)


def new_key() -> str:
    return _key(_random(_ID_LENGTH), _random(_SECRET_LENGTH)).text


def derive_key(secret: bytes, purpose: bytes) -> ApiKey:
    """The one key that belongs to a purpose, for who has the secret."""
    id_, body = (hmac.digest(secret, label + purpose, hashlib.sha512) for label in (b"id ", b"secret "))
    return _key(_digits(int.from_bytes(id_), _ID_LENGTH), _digits(int.from_bytes(body), _SECRET_LENGTH))


def parse_key(text: str) -> ApiKey:
    """The key, if it is well-formed. Raises Unauthenticated, and never repeats what was given."""
    found = _FORMAT.fullmatch(text)
    if found is None:
        raise Unauthenticated("The credential is not an API key of the form mr_live_…")
    if not hmac.compare_digest(found[2], _crc(text[:-_CRC_LENGTH])):
        raise Unauthenticated("The API key is mistyped: its checksum does not fit.")
    return ApiKey(found[1], text)


def hash_key(key: str, pepper: bytes) -> bytes:
    """What is kept of a key, and compared in equal time."""
    return hmac.digest(pepper, key.encode(), hashlib.sha256)


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def _key(id_: str, secret: str) -> ApiKey:
    body = f"mr_live_{id_}_{secret}"
    return ApiKey(id_, body + _crc(body))


def _crc(body: str) -> str:
    return _digits(zlib.crc32(body.encode()), _CRC_LENGTH)


def _digits(number: int, length: int) -> str:
    """The last digits of the number in base 62."""
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits
