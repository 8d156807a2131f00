"""Inclusion proofs (RFC 9162, 2.1.3): that an entry is the one at its place in a ledger of a given size and root.

No tree is stored. Each head keeps the roots of the perfect subtrees before it, so the roots on an entry's way are found
in a few heads, by key; what lies inside one commit is hashed from its leaves.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from consent import merkle
from consent.database import fetch


def inclusion_path(tx: Connection, organization: str, seq: int, size: int) -> list[bytes]:
    """Return the siblings from leaf to root of entry `seq` in the tree of the first `size` entries, 32 bytes each.

    ValueError where there are fewer entries.
    """
    if not 0 <= seq < size:
        raise ValueError("the entry isn't among the first of that size")
    return [_root(tx, organization, first, end) for first, end in merkle.siblings(seq, size)]


def root_of_path(leaf: bytes, seq: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that a path leads to (RFC 9162, 2.1.3.2), None where the path isn't as long as it must be."""
    node, last, top = seq, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            top = merkle.node(sibling, top)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            top = merkle.node(top, sibling)
        node, last = node >> 1, last >> 1
    return top if last == 0 else None


def _root(tx: Connection, organization: str, first: int, end: int) -> bytes:
    """Return the root over the leaves from `first` to before `end`: a perfect subtree, or the rest of the tree."""
    level = (end - first).bit_length() - 1
    if end - first == 1 << level:
        return _perfect(tx, organization, first, level)
    middle = first + (1 << level)
    return merkle.node(_perfect(tx, organization, first, level), _root(tx, organization, middle, end))


def _perfect(tx: Connection, organization: str, first: int, level: int) -> bytes:
    """Return the root of a perfect subtree of 2 ** level leaves."""
    if level and first >> level & 1:
        # A right one is merged with its left one as soon as it is whole: only its halves stood in a frontier.
        half = 1 << level - 1
        left = _perfect(tx, organization, first, level - 1)
        return merkle.node(left, _perfect(tx, organization, first + half, level - 1))
    end = first + (1 << level)
    if level:
        sql = "SELECT size, frontier FROM head WHERE organization = ? AND size >= ? ORDER BY size LIMIT 1"
        [(size, packed)] = fetch(tx, sql, [organization, end])
        if size < end + (1 << level):
            # A frontier holds a subtree for each bit that is set in its size, largest first: this is that of `level`.
            return merkle.unpacked(packed)[(int(size) >> level + 1).bit_count()]
    # A leaf, or grown over inside one commit.
    rows = fetch(
        tx,
        "SELECT leaf FROM entry WHERE organization = ? AND seq >= ? AND seq < ? ORDER BY seq",
        [organization, first, end],
    )
    return merkle.root_of(bytes(row[0]) for row in rows)
