"""Files of JSON lines that end with the hash of their own bytes, so that no bit of the newest can flip unseen.

The last line is `{"sha256":"…"}` over all bytes before it. Beside it, each file names the hash of the whole
file before it, this last line included.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from consent.canonical import canonical

#: Bytes of the last line: {"sha256":"64 hex digits"} and a line end.
_TRAILER = 78


class Link(NamedTuple):
    """Another file, and the SHA-256 of all its bytes, in hex."""

    name: str
    sha256: str


class Sealed(NamedTuple):
    """A file's bytes, and the SHA-256 of all of them, in hex."""

    data: bytes
    sha256: str


class Unsealed(NamedTuple):
    """A file read back: its lines without the last, and what is wrong with it as a whole, if anything."""

    lines: list[bytes]
    sha256: str
    problem: str | None

    def sound(self) -> list[bytes]:
        """Return the lines of a whole file; raise ValueError with what is wrong with it otherwise."""
        if self.problem is not None:
            raise ValueError(self.problem)
        return self.lines


def seal_lines(lines: Iterable[bytes]) -> Sealed:
    """Join lines (none of which holds a line end) to a file's bytes."""
    told = [*lines]
    # Put together twice: where the first is gone, the second takes its place, and a copy of both together takes more.
    hashed = hashlib.sha256(b"\n".join([*told, b""]))
    last = b'{"sha256":"%b"}' % hashed.hexdigest().encode()
    hashed.update(last + b"\n")
    return Sealed(b"\n".join([*told, last, b""]), hashed.hexdigest())


def unseal(data: bytes) -> Unsealed:
    """Split a file's bytes into lines, and compare them with the hash that they end with."""
    content, trailer = data[:-_TRAILER], data[-_TRAILER:]
    hashed = hashlib.sha256(content)
    expected = b'{"sha256":"%b"}\n' % hashed.hexdigest().encode()
    hashed.update(trailer)
    whole = hashed.hexdigest() if len(data) >= _TRAILER else hashlib.sha256(data).hexdigest()
    if trailer == expected and content.endswith(b"\n"):
        return Unsealed(content[:-1].split(b"\n"), whole, None)
    if not trailer.startswith(b'{"sha256":"') or not trailer.endswith(b'"}\n'):
        return Unsealed(_whole_lines(data), whole, "is cut short: the hash that it ends with is missing or incomplete")
    return Unsealed(_whole_lines(content), whole, "was changed: its bytes don't give the hash that it ends with")


def _whole_lines(data: bytes) -> list[bytes]:
    """Return the lines of a damaged file, without what is left of its last one."""
    lines = data.split(b"\n")[:-1]
    # An entry is longer than any remains of a last line with a hash.
    return lines[:-1] if len(lines) > 1 and len(lines[-1]) < _TRAILER else lines


def read_object(line: bytes, members: frozenset[str], form: str) -> dict[str, Any]:
    """Return a first line as an object of exactly these members and this format; raise ValueError with the reason."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise ValueError("has no readable first line") from None
    if not isinstance(found, dict) or found.get("format") != form:
        raise ValueError(f"isn't of the format {form}")
    if found.keys() != members or canonical(found) != line:
        raise ValueError(f"has a first line that isn't as {form} writes it")
    return found
