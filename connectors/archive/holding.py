"""What stands at a position in the archive, compared with what is pushed there, and told to whoever reconciles."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import orjson
import structlog

from connectors.archive.evidence import EvidenceError, claimed, read_entry
from connectors.archive.lane import Kept
from consent.canonical import CANONICAL, canonical
from consent.entry import Entry
from sync.port import Held, Outcome, Receipt, Refusal

log = structlog.get_logger()

_SPOILED = bytes(16)  # the digest of nothing: a line that can't be what was pushed

_TAMPER = Refusal(
    "tamper",
    "The archive holds something else under this entry's position, and keeps it: run `assent verify --archive` "
    "and find out which of the two is true, before anything else is done.",
)


def settle(segment: str, entries: Sequence[Entry]) -> list[Outcome]:
    """Return the receipts of entries that stand in a segment just as they are."""
    return [Receipt(segment, _digest(entry.leaf, entry.body, entry.values)) for entry in entries]


def compare(entry: Entry, line: bytes, kept: Kept) -> Outcome:
    """Return how a push of an entry ends whose position is held: settled, or an alarm where it is another."""
    if kept.line == line:
        return settle(kept.segment, [entry])[0]
    if (found := _before_erasure(entry, line, kept.line)) is not None:
        return Receipt(kept.segment, _digest_of(found))
    # No word of what is held: it may be anything. The position and the file's name lead there.
    log.error("archive.tampered", organization=entry.organization, lane=entry.lane, segment=kept.segment, seq=entry.seq)
    return _TAMPER


def _before_erasure(entry: Entry, line: bytes, kept: bytes) -> dict[str, Any] | None:
    """Return the archive's line where it is this entry, before ours lost its values (and body) lawfully."""
    if entry.values is not None:
        return None
    try:
        found = read_entry(kept)
    except EvidenceError:
        return None
    gone = {"values": None} if entry.body is not None else {"values": None, "body": None}
    return found if canonical(found | gone) == line else None


def hold(organization: str, lane: str, kept: Kept) -> Held | None:
    """Return what a line says is held; None where it doesn't even say of which entry."""
    try:
        found = read_entry(kept.line)
    except EvidenceError:
        seq = claimed(kept.line, "seq")
        return None if seq is None else Held(organization, seq, lane, kept.pos, kept.segment, _SPOILED)
    return Held(organization, found["seq"], lane, kept.pos, kept.segment, _digest_of(found))


def _digest_of(found: dict[str, Any]) -> bytes:
    body, values = found["body"], found["values"]
    told = None if values is None else orjson.dumps(values, option=CANONICAL)
    return _digest(bytes.fromhex(found["leaf_hash"]), body, told)


def _digest(leaf: bytes, body: object, values: bytes | None) -> bytes:
    """Return the digest that receipts keep of an entry, 16 bytes.

    Its leaf hash, which a line's other members were proven by, stands for all but the values; a line without them, or
    without the body, is another one.
    """
    # Ours alone, so the quicker hash (RFC 7693): it is made of every entry that is delivered and read back.
    return blake2b(leaf + (values or (b"" if body is None else b"null")), digest_size=16).digest()
