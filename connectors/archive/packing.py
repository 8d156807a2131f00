"""A segment packed for an archive vendor: a ZIP with a mail for each entry, and the manifest that completes it.

The same segment gives the same bytes, so that a retry after a crash finds its own file: names in order of position,
one fixed time, nothing compressed (a level of compression is a matter of the library's version).
"""

from hashlib import sha256
from io import BytesIO
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile, ZipInfo

import orjson

from connectors.archive.eml import Form, eml, message_id
from connectors.archive.evidence import entry_of
from connectors.archive.names import PACKED_SEGMENT
from connectors.archive.sealed import unseal
from connectors.archive.segments import Header, read_header
from consent.canonical import canonical

_FORMAT = "assent-batch/1"
_SUMS = "SHA256SUMS"
_START = (1980, 1, 1, 0, 0, 0)  # no ZIP is older


class Completed(NamedTuple):
    """What the manifest of a batch says."""

    #: The segment's own first line.
    head: bytes
    segment_bytes: int
    zip_sha256: str


def pack(segment: bytes, form: Form) -> bytes:
    """Return the ZIP of a segment: its mails, the segment itself, and the hashes that `sha256sum -c` checks."""
    files = []
    for line in unseal(segment).sound()[1:]:
        entry = entry_of(orjson.loads(line))
        files.append((f"eml/{entry.id}.eml", eml(entry, form)))
    files.append((PACKED_SEGMENT, segment))
    sums = "".join(f"{sha256(data).hexdigest()}  {name}\n" for name, data in files)
    packed = BytesIO()
    with ZipFile(packed, "w") as archive:
        for name, data in [*files, (_SUMS, sums.encode())]:
            member = ZipInfo(name, _START)
            member.create_system, member.external_attr = 3, 0o100640 << 16
            archive.writestr(member, data)
    return packed.getvalue()


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


def write_batch_manifest(segment: bytes, packed: bytes, form: Form) -> bytes:
    """Return what says that a batch is complete, and how to check it: written last."""
    head = head_of(segment)
    stem = head.name.removesuffix(".jsonl")
    files = []
    with ZipFile(BytesIO(packed)) as archive:
        for name in archive.namelist():
            if name.startswith("eml/"):
                data = archive.read(name)
                entry = name.removeprefix("eml/").removesuffix(".eml")
                files.append(
                    {"bytes": len(data), "entry": entry, "message_id": message_id(entry, form), "name": name,
                     "sha256": sha256(data).hexdigest()}
                )  # fmt: skip
    return canonical(
        {
            "batch": stem,
            "count": head.count,
            "files": files,
            "format": _FORMAT,
            "head": orjson.loads(segment[: segment.index(b"\n")]),
            "segment": {"bytes": len(segment), "name": PACKED_SEGMENT, "sha256": sha256(segment).hexdigest()},
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
