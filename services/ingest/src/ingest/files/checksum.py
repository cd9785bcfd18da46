"""What a client says that a body's checksum is."""

import base64
import binascii
import hashlib
import hmac

from events.body.fields import wrong_header
from events.errors import FieldError, MillraceError

ALGORITHMS = ("sha1", "sha256")

_HEADER = "upload-checksum"


class ChecksumMismatch(MillraceError):
    code, status, title, retryable = "checksum_mismatch", 460, "Checksum mismatch", True


class Checksum:
    def __init__(self, algorithm: str, expected: bytes) -> None:
        self._expected = expected
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    def update(self, data: bytes, /) -> None:
        self._hash.update(data)

    def verify(self) -> None:
        if not hmac.compare_digest(self._hash.digest(), self._expected):
            detail = "The body does not have the checksum that Upload-Checksum says. It is not stored."
            raise ChecksumMismatch(detail, errors=[FieldError(f"header.{_HEADER}", "checksum", detail)])


def parse_checksum(header: str) -> Checksum:
    algorithm, _, encoded = header.partition(" ")
    if algorithm not in ALGORITHMS:
        raise wrong_header(_HEADER, "unknown_algorithm", f"The checksum algorithms are {' and '.join(ALGORITHMS)}.")
    try:
        expected = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        expected = b""
    if len(expected) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise wrong_header(_HEADER, "malformed", f"A checksum looks like `{algorithm} <base64 of the digest>`.")
    return Checksum(algorithm, expected)
