"""Signed checkpoints: a ledger's size and root under an Ed25519 key, as C2SP's signed notes.

https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note; anyone verifies one with a few lines of their own.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection

from consent.database import fetch
from consent.entry import Entry
from consent.kinds import Kind, Lane
from consent.ledger import read_range

_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "


class NoteError(ValueError):
    """A note that isn't what it says; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a note says."""

    origin: str
    size: int
    #: 32 bytes.
    root: bytes


@dataclass(frozen=True, slots=True)
class Signer:
    """A name and its private key."""

    name: str
    seed: bytes

    @classmethod
    def read(cls, name: str, text: str) -> "Signer":
        """Read what `new_key` made; ValueError where it is no key."""
        seed = base64.b64decode(text, validate=True)
        if len(seed) != 32:
            raise ValueError("a key is the base64 of 32 bytes")
        return cls(name, seed)

    @property
    def verifier(self) -> str:
        """The public key with its name, as signed notes write it: `name+hash+base64`."""
        public = _ED25519 + self._private.public_key().public_bytes_raw()
        return f"{self.name}+{_key_hash(self.name, public).hex()}+{base64.b64encode(public).decode()}"

    def sign(self, organization: str, size: int, root: bytes) -> str:
        """Return the note of a ledger's head."""
        text = f"{self.name}/{organization}\n{size}\n{base64.b64encode(root).decode()}\n"
        public = _ED25519 + self._private.public_key().public_bytes_raw()
        signature = _key_hash(self.name, public) + self._private.sign(text.encode())
        return f"{text}\n{_DASH}{self.name} {base64.b64encode(signature).decode()}\n"

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def new_key() -> str:
    """Return a new private key, as it stands in its file."""
    return base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()


def open_note(note: str, verifier: str) -> Checkpoint:
    """Return what a note says, where it is signed by this key; NoteError otherwise."""
    name, public = _read_verifier(verifier)
    text, _, signatures = note.partition("\n\n")
    text += "\n"
    wanted = _key_hash(name, public)
    for line in signatures.splitlines():
        signer, _, encoded = line.removeprefix(_DASH).rpartition(" ")
        signature = _decoded(encoded)
        if line.startswith(_DASH) and signer == name and signature[:4] == wanted:
            try:
                Ed25519PublicKey.from_public_bytes(public[1:]).verify(signature[4:], text.encode())
            except InvalidSignature:
                raise NoteError("the checkpoint's signature isn't that of its text") from None
            return _read_text(text)
    raise NoteError("the checkpoint isn't signed by this key")


def newest_checkpoint(tx: Connection, organization: str, *, covering: int = 0) -> Entry | None:
    """Return the newest checkpoint of a ledger that covers at least so many entries; None where there is none."""
    # The number is compared here: asked about it, SQLite would go through the whole ledger by it.
    sql = "SELECT seq FROM entry WHERE organization = ? AND lane = ? AND kind = ? ORDER BY pos DESC LIMIT 1"
    rows = fetch(tx, sql, [organization, Lane.AUDIT.value, Kind.CHECKPOINT.value])
    return read_range(tx, organization, rows[0][0], 1)[0] if rows and rows[0][0] >= covering else None


def verifiers(tx: Connection, organization: str) -> list[tuple[str, int, int]]:
    """Return the keys that signed checkpoints of a ledger: (key, first recorded, last recorded), microseconds."""
    found: dict[str, tuple[int, int]] = {}
    sql = "SELECT seq FROM entry WHERE organization = ? AND lane = ? AND kind = ? ORDER BY pos"
    for (seq,) in fetch(tx, sql, [organization, Lane.AUDIT.value, Kind.CHECKPOINT.value]):
        entry = read_range(tx, organization, seq, 1)[0]
        first, _ = found.get(entry.facts()["key"], (entry.recorded_at, 0))
        found[entry.facts()["key"]] = (first, entry.recorded_at)
    return [(key, *between) for key, between in found.items()]


def _read_verifier(verifier: str) -> tuple[str, bytes]:
    name, _, rest = verifier.partition("+")
    told, _, encoded = rest.partition("+")
    public = _decoded(encoded)
    if len(public) != 33 or public[:1] != _ED25519 or _key_hash(name, public).hex() != told:
        raise NoteError("the key isn't one: `name+hash+base64` of an Ed25519 key, as `assent keys list` prints")
    return name, public


def _read_text(text: str) -> Checkpoint:
    lines = text.splitlines()
    if len(lines) < 3 or not lines[1].isdecimal():
        raise NoteError("the checkpoint has no origin, size and root")
    root = _decoded(lines[2])
    if len(root) != 32:
        raise NoteError("the checkpoint's root isn't 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def _key_hash(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
