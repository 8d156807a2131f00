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


def packed(frontier: Sequence[bytes]) -> bytes:
    """Return a frontier as one run of bytes, 32 for each subtree."""
    return b"".join(frontier)


def unpacked(data: bytes) -> list[bytes]:
    """Return the frontier that `packed` made these bytes of."""
    return [data[at : at + 32] for at in range(0, len(data), 32)]
