"""Signed checkpoints: a ledger's size and root in a signed note (https://c2sp.org/tlog-checkpoint)."""

import base64
import binascii
from dataclasses import dataclass

from sqlalchemy import Connection

from consent.database import fetch
from consent.entry import Entry
from consent.kinds import Kind
from consent.ledger import read_range
from consent.notes import NoteError, Signer, signed_text

#: Along an index of their own, which the databases take where the kind stands in the statement.
SEQS_OF_CHECKPOINTS = f"SELECT seq FROM entry WHERE organization = ? AND kind = '{Kind.CHECKPOINT}' ORDER BY pos"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a note says."""

    origin: str
    size: int
    #: 32 bytes.
    root: bytes


def sign_head(signer: Signer, organization: str, size: int, root: bytes) -> str:
    """Return the note of a ledger's head."""
    return signer.sign(f"{signer.name}/{organization}\n{size}\n{base64.b64encode(root).decode()}\n")


def open_note(note: str, verifier: str) -> Checkpoint:
    """Return what a note says, where it is signed by this key; NoteError otherwise."""
    return _read_text(signed_text(note, verifier, "the checkpoint"))


def newest_checkpoint(tx: Connection, organization: str, *, covering: int = 0) -> Entry | None:
    """Return the newest checkpoint of a ledger that covers at least so many entries; None where there is none."""
    # The number is compared here: asked about it, SQLite would go through the whole ledger by it.
    rows = fetch(tx, f"{SEQS_OF_CHECKPOINTS} DESC LIMIT 1", [organization])
    return read_range(tx, organization, rows[0][0], 1)[0] if rows and rows[0][0] >= covering else None


def verifiers(tx: Connection, organization: str) -> list[tuple[str, int, int]]:
    """Return the keys that signed checkpoints of a ledger: (key, first recorded, last recorded), microseconds."""
    found: dict[str, tuple[int, int]] = {}
    for (seq,) in fetch(tx, SEQS_OF_CHECKPOINTS, [organization]):
        entry = read_range(tx, organization, seq, 1)[0]
        first, _ = found.get(entry.facts()["key"], (entry.recorded_at, 0))
        found[entry.facts()["key"]] = (first, entry.recorded_at)
    return [(key, *between) for key, between in found.items()]


def _read_text(text: str) -> Checkpoint:
    lines = text.splitlines()
    if len(lines) < 3 or not lines[1].isdecimal():
        raise NoteError("the checkpoint has no origin, size and root")
    root = _decoded(lines[2])
    if len(root) != 32:
        raise NoteError("the checkpoint's root isn't 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
