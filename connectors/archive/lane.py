"""What the archive holds of one lane: its segments by position, and the one written last.

The store is the only truth; what is remembered here is read anew when the store has changed.
"""

import threading
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from connectors.archive.evidence import claimed
from connectors.archive.manifest import newest_manifest
from connectors.archive.names import SegmentName, read_segment_name
from connectors.archive.sealed import Link, unseal
from connectors.archive.segments import Header, read_header, segment_path
from connectors.archive.store import Stamp, Store
from consent.canonical import entry_id
from sync.port import SuspendedError

log = structlog.get_logger()


class Kept(NamedTuple):
    """One entry as the archive keeps it."""

    pos: int
    #: Where it stands, `acme/consent/….segment.jsonl`.
    segment: str
    line: bytes


@dataclass(frozen=True, slots=True)
class Tail:
    """The segment written last in a lane."""

    number: int
    link: Link


class ArchivedLane:
    """One lane of one ledger in the archive. Call it with `lock` held."""

    def __init__(self, store: Store, organization: str, lane: str, keys: Sequence[str] = ()) -> None:
        self.lock = threading.Lock()
        self.folder = f"{organization}/{lane}"
        self._store, self._organization, self._lane, self._keys = store, organization, lane, keys
        self._stamp: Stamp | None = None
        #: First positions of the segments that came in order.
        self._firsts: list[int] = []
        #: Segments of late entries with the positions they lie between, by order of writing. A file never changes.
        self._late: dict[SegmentName, tuple[int, int]] = {}
        #: The position after the last one that came late, and after the last one that came in order.
        self._late_end = 0
        self.next = 0
        self.tail: Tail | None = None
        #: Why nothing may be written after what is there: it would bless the damage.
        self._damage: str | None = None

    def refresh(self) -> None:
        """Read the folder anew, if anything in it changed since."""
        if self._store.stamp(self.folder) != self._stamp:
            self._store.sweep(self.folder)
            # Taken before the listing: a file that comes in between is read twice, never missed.
            stamp = self._store.stamp(self.folder)
            self._stamp = None
            self._load()
            self._stamp = stamp

    def must_be_sound(self) -> None:
        """Raise SuspendedError where the newest segments are damaged or gone, so that none is written on top."""
        if self._damage is not None:
            raise damaged(self._damage)

    def held(self, positions: Sequence[int]) -> tuple[dict[int, Kept], Counter[int]]:
        """Read what is held of these positions, given in order; only the segments that may hold one are read.

        Beside it: how often each that is not held was sent in vain.
        """
        wanted = set(positions)
        first, last = positions[0], positions[-1]
        found: dict[int, Kept] = {}
        vain: Counter[int] = Counter()
        for name in self.holding(positions):
            for kept in self._read(name, first, last, vain):
                if kept.pos in wanted:
                    found[kept.pos] = kept
        return found, vain

    def holding(self, positions: Sequence[int]) -> list[SegmentName]:
        """Return the segments that may hold one of these positions, given in order."""
        names: dict[SegmentName, None] = {}
        for name, (lowest, highest) in self._late.items() if positions[0] < self._late_end else ():
            at = bisect_left(positions, lowest)
            if at < len(positions) and positions[at] <= highest:
                names[name] = None
        # Last, so that these win where a position is held twice.
        for pos in positions if positions[0] < self.next else ():
            at = bisect_right(self._firsts, pos)
            if pos < self.next and at:
                names[SegmentName(self._firsts[at - 1], None)] = None
        return list(names)

    def spans(self) -> Iterator[tuple[SegmentName, int, int]]:
        """Give each segment with the positions it lies between, both included."""
        for at, first in enumerate(self._firsts):
            end = self._firsts[at + 1] if at + 1 < len(self._firsts) else self.next
            yield SegmentName(first, None), first, end - 1
        for name, (lowest, highest) in self._late.items():
            yield name, lowest, highest

    def lacking(self) -> Iterator[int]:
        """Give the positions in segments that the archive did not take whole, as far as it did not take them."""
        for name, first, last in self.spans():
            vain: Counter[int] = Counter()
            if self._store.lacking(segment_path(self._organization, self._lane, name)) != ():
                for _ in self._read(name, first, last, vain):
                    pass
            yield from vain

    def in_order(self, first: int, last: int) -> Iterator[Kept]:
        """Read what came in order and lies between two positions, both included."""
        if first < self.next:
            at = bisect_right(self._firsts, first) - 1
            for start in self._firsts[max(at, 0) :]:
                if start > last:
                    break
                yield from self._read(SegmentName(start, None), first, last)

    def late(self, first: int, last: int) -> Iterator[Kept]:
        """Read the late entries that lie between two positions, both included, by order of writing."""
        for name, (lowest, highest) in self._late.items():
            if lowest <= last and highest >= first:
                yield from self._read(name, first, last)

    def add(self, header: Header, sha256: str) -> None:
        """Take note of a segment that was just written."""
        if header.late:
            self._late[SegmentName(header.first, header.number)] = header.first, header.last
            self._late_end = max(self._late_end, header.last + 1)
        else:
            insort(self._firsts, header.first)
            self.next = header.last + 1
        self.tail = Tail(header.number, Link(header.name, sha256))
        self._stamp = self._store.stamp(self.folder)

    def forget(self) -> None:
        """Read the folder anew next time."""
        self._stamp = None

    def _read(self, name: SegmentName, first: int, last: int, vain: Counter[int] | None = None) -> Iterator[Kept]:
        path = segment_path(self._organization, self._lane, name)
        lacking = self._store.lacking(path)
        for pos, line in self._lines(path, name):
            if first <= pos <= last:
                # Looked up only where the archive may say no: most never do.
                if lacking == () or entry_id(self._organization, claimed(line, "seq") or 0) not in lacking:
                    yield Kept(pos, path, line)
                elif vain is not None:
                    vain[pos] += 1

    def _lines(self, path: str, name: SegmentName) -> Iterator[tuple[int, bytes]]:
        lines = unseal(self._store.read(path)).lines[1:]
        if name.late is None:
            # By place, so that a line which can't be read any more still stands for its position.
            yield from enumerate(lines, name.first)
        else:
            yield from ((told, line) for line in lines if (told := claimed(line, "pos")) is not None)

    def _load(self) -> None:
        names = [name for text in self._store.names(self.folder) if (name := read_segment_name(text))]
        self._firsts = sorted(name.first for name in names if name.late is None)
        late = sorted((name.late, name) for name in names if name.late is not None)
        self._late = {name: self._late.get(name) or self._span(name) for _, name in late}
        self._late_end = max((last + 1 for _, last in self._late.values()), default=0)
        self.next, self.tail, self._damage = 0, None, None
        if self._firsts:
            self._look_at(SegmentName(self._firsts[-1], None))
        if late and not self._damage and (self.tail is None or late[-1][0] > self.tail.number):
            self._look_at(late[-1][1])
        self._compare_with_manifest()

    def _look_at(self, name: SegmentName) -> None:
        path = segment_path(self._organization, self._lane, name)
        read = unseal(self._store.read(path))
        if name.late is None:
            self.next = name.first + max(len(read.lines) - 1, 0)
        try:
            header = read_header(read.sound()[0])
            problem = None if header.name == path else "was renamed"
        except ValueError as error:
            header, problem = None, str(error)
        if header is None or problem is not None:
            self._damage = f"{path} {problem}"
            log.error("archive.damaged", organization=self._organization, lane=self._lane, segment=path)
        else:
            self.tail = Tail(header.number, Link(path, read.sha256))

    def _span(self, name: SegmentName) -> tuple[int, int]:
        try:
            header = read_header(self._store.head(segment_path(self._organization, self._lane, name)))
        except ValueError:
            return name.first, 10**12  # unreadable: it may hold anything from its first position on
        return header.first, header.last

    def _compare_with_manifest(self) -> None:
        try:
            newest = newest_manifest(self._store, self._organization, self._keys)
        except ValueError as error:
            self._damage = str(error)
            return
        listed = newest and newest.manifest.tails.get(self._lane)
        if listed and not self._damage and (self.tail is None or self.tail.number < listed.number):
            self._damage = f"{listed.link.name}, which the newest manifest lists, is missing"
            log.error("archive.damaged", organization=self._organization, lane=self._lane, segment=listed.link.name)


def damaged(what: str) -> SuspendedError:
    """Return the error that makes a destination wait for a person; `what` names the file."""
    return SuspendedError(
        "archive_damaged",
        f"The archive is damaged: {what}. Run `assent verify --archive`, restore the files it names from a copy, "
        "then run `assent sync`.",
    )
