"""The tree over a ledger's leaves, as in RFC 9162 (2.1), kept as a frontier so that a commit costs one hash an entry.

The frontier of a tree of `size` leaves holds the root of each perfect subtree, largest first:
one for every bit that is set in `size`.
"""

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()


def node(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def extend(frontier: Sequence[bytes], size: int, leaves: Iterable[bytes]) -> list[bytes]:
    """Return the frontier after `leaves` (32 bytes each) were appended to a tree of `size` leaves."""
    grown = list(frontier)
    for leaf in leaves:
        top, bits = leaf, size
        while bits & 1:
            top = hashlib.sha256(b"\x01" + grown.pop() + top).digest()
            bits >>= 1
        grown.append(top)
        size += 1
    return grown


def root(frontier: Sequence[bytes]) -> bytes:
    """Return the tree's root, 32 bytes."""
    if not frontier:
        return EMPTY_ROOT
    top = frontier[-1]
    for left in reversed(frontier[:-1]):
        top = node(left, top)
    return top


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaves in order of their seq."""
    return root(extend((), 0, leaves))


def siblings(index: int, size: int) -> list[tuple[int, int]]:
    """Return the ranges of leaves, first and end, whose roots are a leaf's inclusion proof, lowest first.

    RFC 9162, 2.1.3.1: a tree of `size` leaves splits at the largest power of two below its size.
    """
    first, end, found = 0, size, list[tuple[int, int]]()
    while end - first > 1:
        split = first + (1 << (end - first - 1).bit_length() - 1)
        if index < split:
            found.append((split, end))
            end = split
        else:
            found.append((first, split))
            first = split
    return found[::-1]


def packed(frontier: Sequence[bytes]) -> bytes:
    """Return a frontier as one run of bytes, 32 for each subtree."""
    return b"".join(frontier)


def unpacked(data: bytes) -> list[bytes]:
    """Return the frontier that `packed` made these bytes of."""
    return [data[at : at + 32] for at in range(0, len(data), 32)]
