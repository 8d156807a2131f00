"""What stands at a position in the archive, compared with what is pushed there, and told to whoever reconciles."""

import hashlib

import structlog

from connectors.archive.evidence import EvidenceError, claimed, read_entry
from connectors.archive.lane import Kept
from consent.canonical import canonical
from consent.entry import Entry
from sync.port import Held, Outcome, Receipt, Refusal

log = structlog.get_logger()

_SPOILED = bytes(16)  # the digest of nothing: a line that can't be what was pushed

_TAMPER = Refusal(
    "tamper",
    "The archive holds something else under this entry's position, and keeps it: run `assent verify --archive` "
    "and find out which of the two is true, before anything else is done.",
)


def compare(entry: Entry, line: bytes, kept: Kept) -> Outcome:
    """Return how a push of an entry ends whose position is held: settled, or an alarm where it is another."""
    if kept.line == line or _was_erased_since(entry, line, kept.line):
        return Receipt(kept.segment, digest_of(kept.line))
    # No word of what is held: it may be anything. The position and the file's name lead there.
    log.error("archive.tampered", organization=entry.organization, lane=entry.lane, segment=kept.segment, seq=entry.seq)
    return _TAMPER


def _was_erased_since(entry: Entry, line: bytes, kept: bytes) -> bool:
    """Say whether the archive's line is this entry, before its values (and body) were lawfully destroyed in ours."""
    if entry.values is not None:
        return False
    try:
        found = read_entry(kept)
    except EvidenceError:
        return False
    gone = {"values": None} if entry.body is not None else {"values": None, "body": None}
    return canonical(found | gone) == line


def hold(organization: str, lane: str, kept: Kept) -> Held | None:
    """Return what a line says is held; None where it doesn't even say of which entry."""
    try:
        found = read_entry(kept.line)
    except EvidenceError:
        seq = claimed(kept.line, "seq")
        return None if seq is None else Held(organization, seq, lane, kept.pos, kept.segment, _SPOILED)
    return Held(organization, found["seq"], lane, kept.pos, kept.segment, digest_of(kept.line))


def digest_of(line: bytes) -> bytes:
    """Return the digest that receipts keep of an entry, 16 bytes."""
    # Ours alone, so the quicker one (RFC 7693): it is made of every entry that is delivered and read back.
    return hashlib.blake2b(line, digest_size=16).digest()
