r"""A manifest's signature: a signed note (https://c2sp.org/signed-note) in the line before the last.

    {"signature":"assent-manifest/1\nacme/000000000000.manifest.jsonl\n<SHA-256 of the lines above>\n\n— name …\n"}

As each manifest names the one before by its hash, a signature speaks for all before it, too. The same bytes and key
give the same signature, so that a retry gives the same file.
"""

from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256

import orjson

from consent.canonical import canonical
from consent.notes import NoteError, Signer, StrangerError, signed_text

_START = b'{"signature":'


class Signature(StrEnum):
    """Who signed a manifest."""

    NOBODY = "nobody"
    TRUSTED = "trusted"
    STRANGER = "stranger"


def sign_lines(form: str, name: str, lines: Sequence[bytes], signer: Signer) -> bytes:
    """Return the line that signs these lines as the file of this name."""
    return canonical({"signature": signer.sign(_text(form, name, lines))})


def part_signature(lines: Sequence[bytes]) -> tuple[Sequence[bytes], str | None]:
    """Return the lines that are signed, and the note that signs them; ValueError where it can't be one."""
    if not lines[-1].startswith(_START):
        return lines, None
    try:
        found = orjson.loads(lines[-1])
    except orjson.JSONDecodeError:
        found = None
    if found is None or found.keys() != {"signature"} or type(found["signature"]) is not str:
        raise ValueError("has a signature that can't be read")
    return lines[:-1], found["signature"]


def signed_by(form: str, name: str, lines: Sequence[bytes], note: str | None, keys: Sequence[str]) -> Signature:
    """Say whether one of these keys signed the lines; ValueError where it signed something else."""
    if note is None:
        return Signature.NOBODY
    for key in keys:
        try:
            signed = signed_text(note, key, "it")
        except StrangerError:
            continue
        except NoteError:
            signed = ""
        if signed != _text(form, name, lines):
            raise ValueError("was changed: it isn't what its signature is of")
        return Signature.TRUSTED
    return Signature.STRANGER


def _text(form: str, name: str, lines: Sequence[bytes]) -> str:
    digest = sha256(b"".join(line + b"\n" for line in lines))
    return f"{form}\n{name}\n{digest.hexdigest()}\n"
