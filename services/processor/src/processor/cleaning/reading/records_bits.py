"""Sets of positions in a window of bytes, a bit for each: 64 of them are compared at once."""

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
Positions = NDArray[np.intp]

_ONE = np.uint64(1)
_TOP = np.uint64(63)


def bits_of(mask: NDArray[np.bool_]) -> Bits:
    packed = np.packbits(mask, bitorder="little")
    if len(packed) % 8:
        whole = np.zeros(-(-len(packed) // 8) * 8, np.uint8)
        whole[: len(packed)] = packed
        packed = whole
    return packed.view("<u8")


def positions_of(bits: Bits) -> Positions:
    return np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little").view(np.bool_))


def shifted_up(bits: Bits, *, first: bool) -> Bits:
    """Each position is in it if the one before was; the first if it is said so."""
    moved = bits << _ONE
    moved[1:] |= bits[:-1] >> _TOP
    moved[:1] |= np.uint64(first)
    return moved


def shifted_down(bits: Bits, length: int, *, last: bool) -> Bits:
    """Each position is in it if the one behind was; the last of `length` if it is said so."""
    moved = bits >> _ONE
    moved[:-1] |= bits[1:] << _TOP
    if last and length:
        moved[-1] |= _ONE << np.uint64((length - 1) % 64)
    return moved


def parity(bits: Bits) -> Bits:
    """The positions up to which, itself counted, an odd number of positions is in the set."""
    odd = bits.copy()
    for distance in (1, 2, 4, 8, 16, 32):
        odd ^= odd << np.uint64(distance)
    before = np.zeros_like(odd)
    np.bitwise_xor.accumulate(odd[:-1] >> _TOP, out=before[1:])
    odd ^= np.uint64(0) - before
    return odd


def bits_before(bits: Bits, position: int) -> Bits:
    """Those of the set that come before the position."""
    found = bits.copy()
    found[position // 64] &= (_ONE << np.uint64(position % 64)) - _ONE
    found[position // 64 + 1 :] = 0
    return found


def first_of(bits: Bits) -> int | None:
    words = np.flatnonzero(bits)
    if not len(words):
        return None
    word = int(bits[words[0]])
    return int(words[0]) * 64 + (word & -word).bit_length() - 1


def last_of(bits: Bits) -> int | None:
    words = np.flatnonzero(bits)
    return int(words[-1]) * 64 + int(bits[words[-1]]).bit_length() - 1 if len(words) else None


def count_until(bits: Bits, position: int) -> int:
    """How many of the set there are up to the position."""
    word = position // 64
    until = int(bits[word]) & ((2 << position % 64) - 1)
    return int(np.bitwise_count(bits[:word]).sum()) + until.bit_count()


def counts_before(bits: Bits, positions: Positions) -> NDArray[np.int32]:
    """How many of the set come before each position."""
    before = np.zeros(len(bits) + 1, np.int32)
    np.cumsum(np.bitwise_count(bits), dtype=np.int32, out=before[1:])
    words = positions >> 6
    below = (_ONE << (positions & 63).astype(np.uint64)) - _ONE
    counts: NDArray[np.int32] = before[words] + np.bitwise_count(bits[words] & below)
    return counts
