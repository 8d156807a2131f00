"""Signed notes: a text with the Ed25519 signature of a named key under it.

https://c2sp.org/signed-note; anyone verifies one with a few lines of their own. The same text and key give the same
bytes (RFC 8032).
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "


class NoteError(ValueError):
    """A note that isn't what it says; the text is the reason."""


class StrangerError(NoteError):
    """A note that isn't signed by the key in question; another one may have."""


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

    def sign(self, text: str) -> str:
        """Return the note of a text, which ends with a line end and holds no empty line."""
        public = _ED25519 + self._private.public_key().public_bytes_raw()
        signature = _key_hash(self.name, public) + self._private.sign(text.encode())
        return f"{text}\n{_DASH}{self.name} {base64.b64encode(signature).decode()}\n"

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def new_key() -> str:
    """Return a new private key, as it stands in its file."""
    return base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()


def check_verifier(verifier: str) -> None:
    """Raise NoteError where this is no public key with its name."""
    _read_verifier(verifier)


def signed_text(note: str, verifier: str, what: str) -> str:
    """Return a note's text, where it is signed by this key; `what` is its name in what is told otherwise.

    Raises StrangerError where another key, or none, signed it, and NoteError where its text isn't what was signed.
    """
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
                raise NoteError(f"{what}'s signature isn't that of its text") from None
            return text
    raise StrangerError(f"{what} isn't signed by this key")


def _read_verifier(verifier: str) -> tuple[str, bytes]:
    name, _, rest = verifier.partition("+")
    told, _, encoded = rest.partition("+")
    public = _decoded(encoded)
    if len(public) != 33 or public[:1] != _ED25519 or _key_hash(name, public).hex() != told:
        raise NoteError("the key isn't one: `name+hash+base64` of an Ed25519 key, as `assent keys list` prints")
    return name, public


def _key_hash(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    # Decoders let stray trailing bits through: there is one form only.
    return data if base64.b64encode(data).decode() == text else b""
