"""Bytes that arrive in very small pieces take no more memory than others."""

import tracemalloc

from events.blobs.chunk_work import CHUNK_BYTES, ChunkWork


async def test_pieces_of_two_bytes_take_the_memory_of_their_bytes() -> None:
    """Two bytes by themselves are an object of 35 and a place of 8 in a list: a client that dripped filled 30 MB with
    each MB that it sent, and kept them for an hour."""
    got: list[bytes] = []
    work = ChunkWork(got.extend)
    pieces = [b"%02d" % (number % 100) for number in range(CHUNK_BYTES // 2 - 1)]
    tracemalloc.start()
    try:
        for piece in pieces:
            await work.take(bytes(bytearray(piece)))  # an object of its own, as a socket gives it
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * CHUNK_BYTES
    await work.settle()
    assert b"".join(got) == b"".join(pieces)


async def test_small_and_large_pieces_stay_in_order() -> None:
    got: list[bytes] = []
    work = ChunkWork(got.extend)
    pieces = [bytes([number % 256]) * (1 if number % 3 else 5000) for number in range(1000)]
    for piece in pieces:
        await work.take(piece)
    await work.settle()
    assert b"".join(got) == b"".join(pieces)
