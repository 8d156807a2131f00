"""JSON lines, exactly as `/v1/entries` gives entries, and mails in a ZIP."""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from consent.canonical import timestamp
from consent.entry import Entry, entry_json
from jobs.exporting.heading import CHECK, Heading, Tally, asked_of

_READ_ME = "README.txt"


def write_jsonl(file: BinaryIO, entries: Iterator[Entry], _heading: Heading, _tally: Tally) -> None:
    """Write an entry a line as canonical JSON."""
    file.writelines(entry_json(entry) + b"\n" for entry in entries)


def write_eml(file: BinaryIO, entries: Iterator[Entry], heading: Heading, tally: Tally) -> None:
    """Write a ZIP with one mail (RFC 5322) an entry, what it is about, and SHA-256 sums for `sha256sum -c`."""
    from connectors.archive.eml import eml

    sums = []
    # The same time on every member: the bytes follow from what was exported.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as pack:
        for entry in entries:
            name, mail = f"eml/{entry.id}.eml", eml(entry)
            _write(pack, name, mail)
            sums.append(f"{hashlib.sha256(mail).hexdigest()}  {name}\n")
        read_me = [*heading.told(), *tally.told(), *(("How to check", one) for one in CHECK)]
        _write(pack, _READ_ME, "".join(f"{name}: {value}\n" for name, value in read_me).encode())
        about = {
            "asked": asked_of(heading.filters),
            "actor": heading.actor,
            "made_at": timestamp(heading.made_at),
            "volume": heading.volume,
            "entries": tally.entries,
            "kinds": dict(sorted(tally.kinds.items())),
        }
        _write(pack, "manifest.json", json.dumps(about, ensure_ascii=False, indent=2).encode() + b"\n")
        _write(pack, "SHA256SUMS", "".join(sums).encode())


def _write(pack: zipfile.ZipFile, name: str, data: bytes) -> None:
    member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o600 << 16
    pack.writestr(member, data)
