"""The archive as a destination: batches become segments that nobody writes again, runs end with a manifest.

Each position is held once. What is there already is read, compared and settled, never overwritten; another
content under the same position is an alarm.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge

import structlog

from connectors.archive.directory import Directory
from connectors.archive.evidence import EvidenceError, read_entry
from connectors.archive.lane import ArchivedLane, Kept, damaged, read_seq
from connectors.archive.manifest import (
    LaneTail,
    Listed,
    draft_manifest,
    list_segment,
    newest_manifest,
    write_manifest,
)
from connectors.archive.segments import Header, head_segment, read_header, write_segment
from consent.canonical import canonical
from consent.entry import Entry, entry_json
from consent.kinds import Lane
from sync.port import Batch, Capacity, Finding, Held, Outcome, Receipt, Refusal, Statement, TransientError

log = structlog.get_logger()

#: Bytes of entries in one segment: whoever reads one needs no more memory than that (a single longer entry aside).
_SEGMENT_BYTES = 32 * 1024 * 1024

#: Tries to write a manifest while other processes write one too.
_ATTEMPTS = 5

_SPOILED = bytes(16)  # the digest of nothing: a line that can't be what was pushed

_TAMPER = Refusal(
    "tamper",
    "The archive holds something else under this entry's position, and keeps it: run `assent verify --archive` "
    "and find out which of the two is true, before anything else is done.",
)


class ArchiveConnector:
    """Delivers to a write-once directory. One push at a time per lane; any number of processes may try."""

    def __init__(self, directory: Directory, *, batch: int = 2000) -> None:
        self._directory = directory
        self._capacity = Capacity(batch=batch, in_flight=len(Lane), ordered=True)
        self._lock = threading.Lock()
        self._lanes: dict[tuple[str, str], ArchivedLane] = {}
        #: Ledgers with a run that has no manifest yet, and how to say that nobody is at work in them.
        self._at_work: dict[str, Callable[[], None]] = {}

    @property
    def capacity(self) -> Capacity:
        """Large batches: a segment costs two fsyncs, however many entries it holds."""
        return self._capacity

    def prepare(self) -> None:
        """Make the archive's directory. Only where nothing was ever delivered to it: later it is an outage."""
        self._directory.prepare()

    def push(self, batch: Batch) -> Sequence[Outcome]:
        """Write a segment of what isn't held yet, and settle what is.

        A batch that isn't late is settled up to where held and new entries meet, so that a retry with other
        bounds settles exactly what the segment there holds.
        """
        if not batch.entries:
            return []
        lane = self._lane(batch.organization, batch.lane)
        with lane.lock:
            self._directory.make(lane.folder)
            self._start_work(batch.organization)
            with self._directory.locked(lane.folder):
                lane.refresh()
                return self._settle(lane, batch)

    def find(self, organization: str, lane: str, first: int, last: int) -> Iterator[Held]:
        """Read back what the segments hold, each line checked against its leaf hash, in order of position."""
        folder = f"{organization}/{lane}"
        if not self._directory.names(folder):
            return
        # An index of its own: a long read must not hold up a push.
        archived = ArchivedLane(self._directory, organization, lane)
        archived.refresh()
        late = sorted(archived.late(first, last), key=_by_position)
        for kept in merge(archived.in_order(first, last), late, key=_by_position):
            held = _hold(organization, lane, kept)
            if held is not None:
                yield held

    def check(self) -> Sequence[Finding]:
        """Look whether the directory takes files as we write them."""
        return self._directory.check()

    def close(self, statement: Statement) -> None:
        """Write the ledger's next manifest, unless it would say the same as the newest of the same day."""
        organization = statement.organization
        self._directory.make(organization)
        self._directory.sweep(organization)
        for _ in range(_ATTEMPTS):
            if self._close(statement):
                break
        else:
            raise TransientError("archive_busy", "Other processes close this ledger all the time: try again.")
        self._end_work(organization)

    def shut(self) -> None:
        """Let go of the folders."""
        for organization in list(self._at_work):
            self._end_work(organization)

    def _settle(self, lane: ArchivedLane, batch: Batch) -> Sequence[Outcome]:
        entries = batch.entries
        lines = [entry_json(entry) for entry in entries]
        kept = lane.held([entry.pos for entry in entries])
        end = _fitting(lines)
        if not batch.late:
            end = min(end, _leading_run(entries, kept))
        entries, lines = entries[:end], lines[:end]
        fresh = [at for at, entry in enumerate(entries) if entry.pos not in kept] if kept else range(end)
        name = self._write(lane, [entries[at] for at in fresh], [lines[at] for at in fresh], batch) if fresh else ""
        if not kept:
            return [Receipt(name, _digest(line)) for line in lines]
        return [
            _compare(entry, line, kept[entry.pos]) if entry.pos in kept else Receipt(name, _digest(line))
            for entry, line in zip(entries, lines, strict=True)
        ]

    def _write(self, lane: ArchivedLane, entries: Sequence[Entry], lines: Sequence[bytes], batch: Batch) -> str:
        lane.must_be_sound()
        number, previous = (lane.tail.number + 1, lane.tail.link) if lane.tail else (0, None)
        late = batch.late or entries[0].pos < lane.next
        header = head_segment(entries, number, previous, late=late)
        sealed = write_segment(header, lines)
        lane.forget()  # until we know how it ended
        if not self._directory.create(header.name, sealed.data):
            # Somebody without our lock, on another machine: what they wrote is read and compared next time.
            raise TransientError("archive_busy", "Another process wrote this segment just now: try again.")
        lane.add(header, sealed.sha256)
        log.info("segment.written", organization=header.organization, lane=header.lane, first=header.first,
                 count=header.count, late=header.late)  # fmt: skip
        return header.name

    def _close(self, statement: Statement) -> bool:
        """Write the next manifest, if there is something to say; False where another process did so just now."""
        organization = statement.organization
        try:
            before = newest_manifest(self._directory, organization)
        except ValueError as error:
            raise damaged(str(error)) from error
        tails = before[0].tails if before else {}
        written = [one for lane in Lane for one in self._written_since(tails.get(lane), organization, lane.value)]
        manifest = draft_manifest(statement, before, written)
        if before is not None and manifest.says_the_same_as(before[0]):
            return True
        sealed = write_manifest(manifest, [listed for _, listed in written])
        if not self._directory.create(manifest.name, sealed.data):
            return False
        log.info("manifest.written", organization=organization, number=manifest.number, segments=manifest.segments)
        return True

    def _written_since(self, listed: LaneTail | None, organization: str, lane: str) -> Sequence[tuple[Header, Listed]]:
        """Walk the chain back from a lane's newest segment to the last one that a manifest lists."""
        names = self._directory.names(f"{organization}/{lane}")
        if not names and listed is None:
            return []
        self._directory.make(f"{organization}/{lane}")
        archived = self._lane(organization, lane)
        with archived.lock:
            archived.refresh()
            archived.must_be_sound()
            link = archived.tail.link if archived.tail else None
        # Read again: the newest segment may be newer than the first listing.
        there = set(self._directory.names(f"{organization}/{lane}"))
        written = []
        until = listed.link if listed else None
        while link != until:
            if link is None or link.name.rpartition("/")[2] not in there:
                raise damaged(f"{link.name} is missing" if link else "a segment that its manifests list was replaced")
            try:
                header = read_header(self._directory.head(link.name))
            except ValueError as error:
                raise damaged(f"{link.name} {error}") from error
            written.append((header, list_segment(header, link, self._directory.size(link.name))))
            link = header.previous
        return written[::-1]

    def _start_work(self, organization: str) -> None:
        with self._lock:
            if organization not in self._at_work:
                self._at_work[organization] = self._directory.hold(organization)

    def _end_work(self, organization: str) -> None:
        with self._lock:
            release = self._at_work.pop(organization, None)
        if release is not None:
            release()

    def _lane(self, organization: str, lane: str) -> ArchivedLane:
        with self._lock:
            return self._lanes.setdefault((organization, lane), ArchivedLane(self._directory, organization, lane))


def _fitting(lines: Sequence[bytes]) -> int:
    """Return how many of these lines go into one segment: at least one."""
    total = 0
    for count, line in enumerate(lines):
        total += len(line)
        if total > _SEGMENT_BYTES and count:
            return count
    return len(lines)


def _leading_run(entries: Sequence[Entry], kept: Mapping[int, Kept]) -> int:
    """Return how many entries from the first on are all held or all new, without a gap in their positions."""
    start = entries[0].pos
    if not kept and entries[-1].pos == start + len(entries) - 1:
        return len(entries)
    held = start in kept
    for count, entry in enumerate(entries):
        if entry.pos != start + count or (entry.pos in kept) != held:
            return count
    return len(entries)


def _compare(entry: Entry, line: bytes, kept: Kept) -> Outcome:
    if kept.line == line or _was_erased_since(entry, line, kept.line):
        return Receipt(kept.segment, _digest(kept.line))
    # No word of what is held: it may be anything. The position and the file's name lead there.
    log.error("archive.tampered", organization=entry.organization, lane=entry.lane, segment=kept.segment, seq=entry.seq)
    return _TAMPER


def _was_erased_since(entry: Entry, line: bytes, kept: bytes) -> bool:
    """Say whether the archive's line is this entry, before its values (and body) were lawfully destroyed in ours."""
    if entry.values is not None:
        return False
    try:
        found = read_entry(kept)
    except EvidenceError:
        return False
    gone = {"values": None} if entry.body is not None else {"values": None, "body": None}
    return canonical(found | gone) == line


def _hold(organization: str, lane: str, kept: Kept) -> Held | None:
    try:
        found = read_entry(kept.line)
    except EvidenceError:
        seq = read_seq(kept.line)
        return None if seq is None else Held(organization, seq, lane, kept.pos, kept.segment, _SPOILED)
    return Held(organization, found["seq"], lane, kept.pos, kept.segment, _digest(kept.line))


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()[:16]


def _by_position(kept: Kept) -> int:
    return kept.pos
