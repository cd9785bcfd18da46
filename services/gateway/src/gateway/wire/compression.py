"""Answers are made smaller where it pays: text, more than a packet of it, for who can read it.

Never what must not be stored: such answers hold secrets, and the size of a compressed one would tell of them.
"""

import re
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from gateway.wire.heads import Headers, RequestHead

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdCompressor
else:
    from backports.zstd import ZstdCompressor

_PAYS = 1400  # bytes; less than that fits into one packet anyway
_GZIP_LEVEL, _ZSTD_LEVEL = 4, 3
_TEXT = frozenset(
    {
        b"application/json",
        b"application/problem+json",
        b"application/x-ndjson",
        b"text/css",
        b"text/csv",
        b"text/html",
        b"text/javascript",
        b"text/plain",
    }
)
_TO_BE_LEFT = re.compile(rb"no-store|no-transform")
_LONGEST_WISH = 256  # bytes of Accept-Encoding; no client has that much to say
_WITHOUT = frozenset({101, 204, 206, 304})


class Encoder(Protocol):
    def compress(self, data: bytes) -> bytes: ...

    def so_far(self) -> bytes:
        """What makes all that was given readable now."""
        ...

    def end(self) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.compressobj(_GZIP_LEVEL, wbits=31)
        self.compress = self._stream.compress

    def so_far(self) -> bytes:
        return self._stream.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._stream.flush()


class _Zstd:
    def __init__(self) -> None:
        self._stream = ZstdCompressor(_ZSTD_LEVEL)
        self.compress = self._stream.compress

    def so_far(self) -> bytes:
        return self._stream.flush(ZstdCompressor.FLUSH_BLOCK)

    def end(self) -> bytes:
        return self._stream.flush(ZstdCompressor.FLUSH_FRAME)


_ENCODERS: Mapping[str, Callable[[], Encoder]] = {"zstd": _Zstd, "gzip": _Gzip}  # the better one first


class Compression:
    """Of one answer's payload."""

    def __init__(self, coding: str, *, at_once: bool) -> None:
        self.coding = coding
        self._encoder: Encoder = _ENCODERS[coding]()
        self._at_once = at_once  # a stream's reader waits for each piece

    def encode(self, payload: Sequence[bytes]) -> bytes:
        pieces = [self._encoder.compress(piece) for piece in payload]
        if self._at_once:
            pieces.append(self._encoder.so_far())
        return b"".join(pieces)

    def end(self) -> bytes:
        return self._encoder.end()


def compressible(request: RequestHead | None, status: int, headers: Headers, content_length: int | None) -> bool:
    """Whether an answer's size would gain from it, for a client that can read it."""
    if request is None or status in _WITHOUT or (content_length is not None and content_length < _PAYS):
        return False
    text = False
    for name, value in headers:
        if name in (b"content-encoding", b"content-range") or (name == b"cache-control" and _TO_BE_LEFT.search(value)):
            return False
        if name == b"content-type":
            text = value.partition(b";")[0].strip().lower() in _TEXT
    return text


def compression_for(request: RequestHead, content_length: int | None) -> Compression | None:
    accepted = b",".join([value for name, value in request.headers if name == b"accept-encoding"])
    readable = 0 < len(accepted) <= _LONGEST_WISH and request.method != b"HEAD"
    coding = _preferred(accepted) if readable else None
    return None if coding is None else Compression(coding, at_once=content_length is None)


@lru_cache(1000)
def _preferred(accepted: bytes) -> str | None:
    """Ours that the client likes best; the better one if it likes both alike."""
    weights: dict[str, float] = {}
    for each in accepted.decode("latin-1").lower().split(","):
        coding, _, weight = each.partition(";")
        try:
            weights[coding.strip()] = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    liked = {coding: weights.get(coding, weights.get("*", 0.0)) for coding in _ENCODERS}
    best = max(liked, key=lambda coding: liked[coding])
    return best if liked[best] > 0 else None
