"""What a file of the archive is, by its name; nothing personal stands in one.

assent-archive.json                                  says that this is an archive
acme/000000000000.manifest.jsonl                     a ledger's manifests, numbered from 0
acme/consent/000000000000.segment.jsonl              a lane's segments, named by the first position they hold
acme/consent/000000000123.late-00000007.segment.jsonl
                                                     late entries: the 8th segment written in this lane, so
                                                     that no two of them share a name
.000000000000.segment.jsonl.1f….part                 what a crash left; swept when it is an hour old
"""

import re
from typing import NamedTuple

MARKER = "assent-archive.json"

#: A segment inside the ZIP of its batch.
PACKED_SEGMENT = "segment.jsonl"

_SEGMENT = re.compile(r"(\d{12})(?:\.late-(\d{8}))?\.segment\.jsonl", re.ASCII)
_MANIFEST = re.compile(r"(\d{12})\.manifest\.jsonl", re.ASCII)
_PART = re.compile(r"\..+\.[0-9a-f]{16}\.part", re.ASCII)
_ORGANIZATION = re.compile(r"[a-z0-9-]{2,32}", re.ASCII)


class SegmentName(NamedTuple):
    """A segment's name, read."""

    first: int
    #: For late entries: which segment of the lane this is, by order of writing, from 0.
    late: int | None

    def __str__(self) -> str:
        mark = "" if self.late is None else f".late-{self.late:08d}"
        return f"{self.first:012d}{mark}.segment.jsonl"


def read_segment_name(name: str) -> SegmentName | None:
    """Return what a file's name says of a segment; None where it is none."""
    match = _SEGMENT.fullmatch(name)
    return match and SegmentName(int(match[1]), None if match[2] is None else int(match[2]))


def manifest_name(number: int) -> str:
    """Return the name of a ledger's manifest."""
    return f"{number:012d}.manifest.jsonl"


def read_manifest_name(name: str) -> int | None:
    """Return the number of a manifest; None where the name is of something else."""
    match = _MANIFEST.fullmatch(name)
    return match and int(match[1])


def part_name(name: str, token: str) -> str:
    """Return the name under which a file is written before it gets its own; `token` is 16 hex digits."""
    return f".{name}.{token}.part"


def is_part(name: str) -> bool:
    """Say whether a file is what a crash left of a write."""
    return _PART.fullmatch(name) is not None


def is_organization(name: str) -> bool:
    """Say whether a folder can be a ledger's."""
    return _ORGANIZATION.fullmatch(name) is not None
