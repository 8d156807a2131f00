"""A segment packed for an archive vendor: a ZIP with a mail for each entry, and the manifest that completes it.

The same segment gives the same bytes, so that a retry after a crash finds its own file: names in order of position,
one fixed time, nothing compressed (a level of compression is a matter of the library's version).
"""

from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import orjson

from connectors.archive.eml import Form, eml_of, message_id
from connectors.archive.names import PACKED_SEGMENT
from connectors.archive.sealed import unseal
from connectors.archive.segments import Header, read_header
from connectors.archive.stored import store
from consent.canonical import canonical

_FORMAT = "assent-batch/1"
_SUMS = "SHA256SUMS"


_MAILS, _MAIL = "eml/", ".eml"


class _File(NamedTuple):
    name: str
    bytes: int
    #: In hex.
    sha256: str


class Completed(NamedTuple):
    """What the manifest of a batch says."""

    #: The segment's own first line.
    head: bytes
    segment_bytes: int
    zip_sha256: str


def pack(segment: bytes, form: Form) -> tuple[bytes, bytes]:
    """Return the ZIP of a segment, and the manifest that says that it is complete and how to check it.

    The ZIP holds a mail for each entry, the segment itself, and the hashes that `sha256sum -c` checks.
    """
    mails = []
    for line in segment.split(b"\n")[1:-2]:
        entry = orjson.loads(line)
        mails.append((f"{_MAILS}{entry['id']}{_MAIL}", eml_of(line, entry, form)))
    listed = [_list(name, mail) for name, mail in mails]
    held = _list(PACKED_SEGMENT, segment)
    sums = "".join([f"{one.sha256}  {one.name}\n" for one in [*listed, held]])
    packed = store([*mails, (PACKED_SEGMENT, segment), (_SUMS, sums.encode())])
    return packed, _write_manifest(segment, held, packed, listed, form)


def unpack(packed: bytes) -> bytes:
    """Return the segment in a ZIP, all of whose files have the hashes it lists; ValueError with the reason if not."""
    try:
        with ZipFile(BytesIO(packed)) as archive:
            listed = (line.partition("  ") for line in archive.read(_SUMS).decode().splitlines())
            sums = {name: digest for digest, _, name in listed}
            names = set(archive.namelist()) - {_SUMS}
            if names != sums.keys() or any(sha256(archive.read(name)).hexdigest() != sums[name] for name in names):
                raise ValueError(f"holds other files than its {_SUMS} says")
            return archive.read(PACKED_SEGMENT)
    except (BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        raise ValueError("can't be read as a batch") from error


def segment_in(packed: bytes) -> bytes:
    """Return the segment in a ZIP that is known to be the one that was written; ValueError where there is none."""
    try:
        with ZipFile(BytesIO(packed)) as archive:
            return archive.read(PACKED_SEGMENT)
    except (BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        raise ValueError("can't be read as a batch") from error


def head_of(segment: bytes) -> Header:
    """Return a whole segment's first line, read; raise ValueError with what is wrong with it."""
    return read_header(unseal(segment).sound()[0])


def complete(segment: bytes, packed: bytes, form: Form) -> bytes:
    """Return the manifest of a ZIP that is there already, and holds this segment."""
    with ZipFile(BytesIO(packed)) as archive:
        listed = [_list(name, archive.read(name)) for name in archive.namelist() if name.startswith(_MAILS)]
    return _write_manifest(segment, _list(PACKED_SEGMENT, segment), packed, listed, form)


def _list(name: str, data: bytes) -> _File:
    return _File(name, len(data), sha256(data).hexdigest())


def _write_manifest(segment: bytes, held: _File, packed: bytes, files: Sequence[_File], form: Form) -> bytes:
    first = segment[: segment.index(b"\n")]
    head = read_header(first)
    stem = head.name.removesuffix(".jsonl")
    entries = [one.name.removeprefix(_MAILS).removesuffix(_MAIL) for one in files]
    return canonical(
        {
            "batch": stem,
            "count": head.count,
            "files": [
                {"bytes": one.bytes, "entry": entry, "message_id": message_id(entry, form), "name": one.name,
                 "sha256": one.sha256}
                for entry, one in zip(entries, files, strict=True)
            ],
            "format": _FORMAT,
            "head": orjson.loads(first),
            "segment": held._asdict(),
            "zip": {"bytes": len(packed), "name": f"{stem.rpartition('/')[2]}.zip",
                    "sha256": sha256(packed).hexdigest()},
        }
    ) + b"\n"  # fmt: skip


def read_batch_manifest(data: bytes) -> Completed:
    """Read a batch's manifest; raise ValueError where it can't be one."""
    try:
        found: dict[str, Any] = orjson.loads(data)
        if found["format"] != _FORMAT:
            raise ValueError(f"isn't of the format {_FORMAT}")
        return Completed(canonical(found["head"]), found["segment"]["bytes"], found["zip"]["sha256"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError("can't be read as a batch's manifest") from error
