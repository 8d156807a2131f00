"""A segment: a batch of one lane as one file of JSON lines, naming the one that was written before it.

First line: what it holds and the segment before. Then one entry a line, in canonical JSON, as `/v1/entries`
shows it. Last line: the hash of the bytes above.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.archive.names import SegmentName
from connectors.archive.sealed import Link, Sealed, read_object, seal_lines
from consent.canonical import canonical
from consent.entry import Entry

_FORMAT = "assent-segment/1"
_MEMBERS = frozenset(
    {"count", "first", "format", "kinds", "lane", "last", "late", "number", "organization", "previous"}
)


@dataclass(frozen=True, slots=True)
class Header:
    """A segment's first line."""

    organization: str
    lane: str
    #: Which segment of its lane it is, by order of writing, from 0.
    number: int
    #: Positions, both held.
    first: int
    last: int
    count: int
    #: True where positions may have gaps, and stand below those written before.
    late: bool
    #: Entries by kind.
    kinds: Mapping[str, int]
    #: The segment written before it in its lane, as `acme/consent/….segment.jsonl`.
    previous: Link | None

    @property
    def name(self) -> str:
        """Where this segment stands in the archive."""
        return segment_path(self.organization, self.lane, SegmentName(self.first, self.number if self.late else None))


def segment_path(organization: str, lane: str, name: SegmentName) -> str:
    """Return a segment's place in the archive."""
    return f"{organization}/{lane}/{name}"


def head_segment(entries: Sequence[Entry], number: int, previous: Link | None, *, late: bool) -> Header:
    """Describe the segment of these entries, in order of position."""
    first, last = entries[0], entries[-1]
    kinds = Counter([entry.kind for entry in entries])
    return Header(first.organization, first.lane, number, first.pos, last.pos, len(entries), late, kinds, previous)


def write_segment(header: Header, lines: Sequence[bytes]) -> Sealed:
    """Return a segment's bytes; `lines` are its entries."""
    first = {
        "count": header.count,
        "first": header.first,
        "format": _FORMAT,
        "kinds": dict(header.kinds),
        "lane": header.lane,
        "last": header.last,
        "late": header.late,
        "number": header.number,
        "organization": header.organization,
        "previous": header.previous and header.previous._asdict(),
    }
    return seal_lines([canonical(first), *lines])


def read_header(line: bytes) -> Header:
    """Read a segment's first line; raise ValueError with the reason where it can't be one."""
    found = read_object(line, _MEMBERS, _FORMAT)
    try:
        header = Header(
            found["organization"], found["lane"], found["number"], found["first"], found["last"], found["count"],
            found["late"], dict(found["kinds"]), found["previous"] and Link(**found["previous"]),
        )  # fmt: skip
        numbers = [header.count, header.first, header.last, header.number, *header.kinds.values()]
        sensible = all(type(number) is int and number >= 0 for number in numbers) and type(header.late) is bool
    except (TypeError, ValueError):
        sensible = False
    if not sensible:
        raise ValueError("has a first line with a member that can't be")
    return header
