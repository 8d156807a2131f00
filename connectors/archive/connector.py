"""The archive as a destination: batches become segments that nobody writes again, runs end with a manifest.

Each position is held once. What is there already is read, compared and settled, never overwritten; another
content under the same position is an alarm.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence, Set
from datetime import UTC, datetime
from heapq import merge

import structlog

from connectors.archive.evidence import EvidenceError, entry_of, prove_values, read_entry
from connectors.archive.holding import compare, hold, settle
from connectors.archive.journal import Journal
from connectors.archive.lane import ArchivedLane, Kept, damaged
from connectors.archive.manifest import (
    LaneTail,
    Listed,
    draft_manifest,
    list_segment,
    newest_manifest,
    write_manifest,
)
from connectors.archive.names import read_manifest_name
from connectors.archive.sealed import Sealed
from connectors.archive.segments import Header, head_segment, read_header, segment_path, write_segment
from connectors.archive.signature import Signature
from connectors.archive.store import Protection, Store
from consent.entry import Entry, entry_json
from consent.kinds import Lane
from consent.notes import Signer
from sync.port import (
    Batch,
    Capacity,
    Finding,
    Held,
    Outcome,
    Refusal,
    Statement,
    SuspendedError,
    TransientError,
)

log = structlog.get_logger()

#: Bytes of entries in one segment: whoever reads one needs no more memory than that (a single longer entry aside).
_SEGMENT_BYTES = 32 * 1024 * 1024

#: Behind the last position that any lane can have.
_ANY = 2**53

_ORGANIZATION = re.compile(r"[a-z0-9-]{2,32}")

#: Tries to write a manifest while other processes write one too.
_ATTEMPTS = 5

#: A batch that the archive doesn't acknowledge is sent again so often.
_RESENDS = 5

_PAST = datetime.fromtimestamp(0, UTC)

_UNACKNOWLEDGED = Refusal(
    "unacknowledged",
    f"The archive was sent this entry {_RESENDS + 1} times and never acknowledged it: ask whoever runs it to write the "
    "receipts, or set a longer `deadline_hours`, then `assent refused retry`.",
)


class ArchiveConnector:
    """Delivers to a write-once store. One push at a time per lane; any number of processes may try."""

    def __init__(
        self, store: Store, *, batch: int = 2000, read_back: float = 0.0, journal: Journal | None = None,
        signer: Signer | None = None,
    ) -> None:  # fmt: skip
        """`read_back` is the share of new files that are read again and compared, 0 to 1.

        With a `journal`, each entry goes there as a mail, and `store` keeps what the journal accepted. With a
        `signer`, manifests are signed.
        """
        self._signer, self._keys = signer, [signer.verifier] if signer is not None else []
        self._store, self._read_back, self._journal = store, read_back, journal
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
        """Make the archive. Only where nothing was ever delivered to it: later it is an outage."""
        self._store.prepare()

    def push(self, batch: Batch) -> Sequence[Outcome]:
        """Write a segment of what isn't held yet, and settle what is.

        A batch that isn't late is settled up to where held and new entries meet, so that a retry with other
        bounds settles exactly what the segment there holds.
        """
        if not batch.entries:
            return []
        lane = self._lane(batch.organization, batch.lane)
        with lane.lock:
            self._store.make(lane.folder)
            self._start_work(batch.organization)
            with self._store.locked(lane.folder):
                lane.refresh()
                return self._settle(lane, batch)

    def find(self, organization: str, lane: str, first: int, last: int) -> Iterator[Held]:
        """Read back what the segments hold, each line checked against its leaf hash, in order of position."""
        archived = self._archived(organization, lane)
        late = sorted(archived.late(first, last), key=_by_position)
        before: Kept | None = None
        for kept in merge(archived.in_order(first, last), late, key=_by_position):
            # What was sent again and acknowledged twice is one entry.
            twice = before is not None and (before.pos, before.line) == (kept.pos, kept.line)
            held = None if twice else hold(organization, lane, kept)
            before = kept
            if held is not None:
                yield held

    def organizations(self) -> Sequence[str]:
        """Return the names of the ledgers that the archive keeps something of."""
        return sorted(name for name in self._store.names("") if _ORGANIZATION.fullmatch(name))

    def entries(self, organization: str, lane: str, first: int) -> Iterator[Entry]:
        """Yield a lane's entries from a position on, whole and in order; what isn't proven by itself is left out."""
        if not self._store.names(f"{organization}/{lane}"):
            return
        archived = ArchivedLane(self._store, organization, lane, self._keys)
        archived.refresh()
        late = sorted(archived.late(first, _ANY), key=_by_position)
        before = first - 1
        for kept in merge(archived.in_order(first, _ANY), late, key=_by_position):
            if kept.pos == before:
                continue
            try:
                found = read_entry(kept.line)
                prove_values(found)
            except EvidenceError:
                log.warning("archive.damaged", organization=organization, lane=lane, segment=kept.segment, pos=kept.pos)
                continue
            before = kept.pos
            yield entry_of(found)

    def stated(self, organization: str) -> tuple[int, bytes] | None:
        """Return the ledger's size and root as the newest manifest says; None before the first."""
        try:
            newest = newest_manifest(self._store, organization, self._keys)
        except ValueError as error:
            raise damaged(str(error)) from error
        return None if newest is None else (newest.manifest.size, bytes.fromhex(newest.manifest.root))

    def check(self) -> Sequence[Finding]:
        """Look whether the archive takes what we bring as we bring it."""
        return [*self._store.check(), *(self._journal.check() if self._journal else ())]

    def close(self, statement: Statement) -> None:
        """Write the ledger's next manifest, unless it would say the same as the newest of the same day."""
        organization = statement.organization
        self._store.make(organization)
        self._store.sweep(organization)
        for _ in range(_ATTEMPTS):
            if self._close(statement):
                break
        else:
            raise TransientError("archive_busy", "Other processes close this ledger all the time: try again.")
        self._end_work(organization)

    def shut(self) -> None:
        """Let go of folders and connections."""
        for organization in list(self._at_work):
            self._end_work(organization)
        self._store.shut()

    @property
    def locks(self) -> bool:
        """Say whether `protect` does anything here."""
        return self._store.locks

    def protect(self, organization: str, lane: str, ask: Callable[[int, int], Protection]) -> tuple[int, datetime]:
        """Lock and hold each segment of a lane as `ask` says for the positions it lies between, both included.

        Returns how many were changed, and until when the longest is wanted. A segment holds others' entries too: its
        hold is lifted when none of them is under one.
        """
        changed, longest = 0, _PAST
        for name, first, last in self._archived(organization, lane).spans():
            wanted = ask(first, last)
            changed += self._store.protect(segment_path(organization, lane, name), wanted)
            longest = max(longest, wanted.until)
        return changed, longest

    def protect_manifests(self, organization: str, wanted: Protection) -> int:
        """Lock and hold a ledger's manifests, without which its segments prove less; return how many were changed."""
        names = [name for name in self._store.names(organization) if read_manifest_name(name) is not None]
        return sum(self._store.protect(f"{organization}/{name}", wanted) for name in names)

    def unacknowledged(self, organization: str, lane: str) -> list[int]:
        """Return the positions that were written and that the archive, by its word or its silence, did not take."""
        archived = self._archived(organization, lane)
        wanted = sorted(set(archived.lacking()))
        if not wanted:
            return []
        kept, _ = archived.held(wanted)
        return [pos for pos in wanted if pos not in kept]

    def _settle(self, lane: ArchivedLane, batch: Batch) -> Sequence[Outcome]:
        entries = batch.entries
        lines = [entry_json(entry) for entry in entries]
        kept, vain = lane.held([entry.pos for entry in entries])
        given_up = {pos for pos, times in vain.items() if times > _RESENDS}
        known = kept.keys() | given_up
        end = _fitting(lines)
        if not batch.late:
            end = min(end, _leading_run(entries, known))
        fresh = [at for at in range(end) if entries[at].pos not in known]
        last: Outcome | None = None
        if fresh and self._journal is not None:
            lane.must_be_sound()
            accepted, last = self._journal.send([entries[at] for at in fresh])
            if accepted < len(fresh):  # what stands behind is still owed
                end, fresh = fresh[accepted], fresh[:accepted]
        new = [entries[at] for at in fresh]
        name = self._write(lane, new, [lines[at] for at in fresh], batch) if fresh else ""
        outcomes = settle(name, new)
        if known:
            written = iter(outcomes)
            outcomes = [
                compare(entry, line, kept[entry.pos]) if entry.pos in kept
                else _UNACKNOWLEDGED if entry.pos in given_up
                else next(written)
                for entry, line in zip(entries[:end], lines, strict=False)
            ]  # fmt: skip
        return outcomes if last is None else [*outcomes, last]

    def _write(self, lane: ArchivedLane, entries: Sequence[Entry], lines: Sequence[bytes], batch: Batch) -> str:
        lane.must_be_sound()
        number, previous = (lane.tail.number + 1, lane.tail.link) if lane.tail else (0, None)
        late = batch.late or entries[0].pos < lane.next
        header = head_segment(entries, number, previous, late=late)
        sealed = write_segment(header, lines)
        lane.forget()  # until we know how it ended
        if not self._store.create(header.name, sealed.data):
            # Somebody without our lock, on another machine: what they wrote is read and compared next time.
            raise TransientError("archive_busy", "Another process wrote this segment just now: try again.")
        self._compare_back(header.name, sealed)
        lane.add(header, sealed.sha256)
        log.info("segment.written", organization=header.organization, lane=header.lane, first=header.first,
                 count=header.count, late=header.late)  # fmt: skip
        return header.name

    def _close(self, statement: Statement) -> bool:
        """Write the next manifest, if there is something to say; False where another process did so just now."""
        organization = statement.organization
        try:
            before = newest_manifest(self._store, organization, self._keys)
        except ValueError as error:
            raise damaged(str(error)) from error
        tails = before.manifest.tails if before else {}
        written = [one for lane in Lane for one in self._written_since(tails.get(lane), organization, lane.value)]
        manifest = draft_manifest(statement, before, written)
        is_signed = before is not None and before.signature is not Signature.NOBODY
        is_new = before is None or not manifest.says_the_same_as(before.manifest)
        if not is_new and (is_signed or self._signer is None):
            return True
        if is_signed and self._signer is None:
            raise _keyless()
        sealed = write_manifest(manifest, [listed for _, listed in written], self._signer)
        if self._journal is not None:
            self._journal.send_manifest(manifest.name, sealed.data, statement.recorded_at)
        if not self._store.create(manifest.name, sealed.data):
            return False
        self._compare_back(manifest.name, sealed)
        log.info("manifest.written", organization=organization, number=manifest.number, segments=manifest.segments)
        return True

    def _compare_back(self, name: str, sealed: Sealed) -> None:
        """Read a new file again, if it is of the share that is, and compare."""
        # By the file's own hash: a retry asks for the same ones.
        if int(sealed.sha256[:8], 16) < self._read_back * 2**32:
            found = hashlib.sha256(self._store.read(name)).hexdigest()
            if found != sealed.sha256:
                log.error("archive.damaged", segment=name)
                raise damaged(f"{name} was just written and reads back as something else")

    def _archived(self, organization: str, lane: str) -> ArchivedLane:
        """Return an index of its own for a long look: it must not hold up a push."""
        archived = ArchivedLane(self._store, organization, lane, self._keys)
        if self._store.names(archived.folder):
            archived.refresh()
        return archived

    def _written_since(self, listed: LaneTail | None, organization: str, lane: str) -> Sequence[tuple[Header, Listed]]:
        """Walk the chain back from a lane's newest segment to the last one that a manifest lists."""
        names = self._store.names(f"{organization}/{lane}")
        if not names and listed is None:
            return []
        self._store.make(f"{organization}/{lane}")
        archived = self._lane(organization, lane)
        with archived.lock:
            archived.refresh()
            archived.must_be_sound()
            link = archived.tail.link if archived.tail else None
        # Read again: the newest segment may be newer than the first listing.
        there = set(self._store.names(f"{organization}/{lane}"))
        written = []
        until = listed.link if listed else None
        while link != until:
            if link is None or link.name.rpartition("/")[2] not in there:
                raise damaged(f"{link.name} is missing" if link else "a segment that its manifests list was replaced")
            try:
                header = read_header(self._store.head(link.name))
            except ValueError as error:
                raise damaged(f"{link.name} {error}") from error
            written.append((header, list_segment(header, link, self._store.size(link.name))))
            link = header.previous
        return written[::-1]

    def _start_work(self, organization: str) -> None:
        with self._lock:
            if organization not in self._at_work:
                self._at_work[organization] = self._store.hold(organization)

    def _end_work(self, organization: str) -> None:
        with self._lock:
            release = self._at_work.pop(organization, None)
        if release is not None:
            release()

    def _lane(self, organization: str, lane: str) -> ArchivedLane:
        with self._lock:
            return self._lanes.setdefault(
                (organization, lane), ArchivedLane(self._store, organization, lane, self._keys)
            )


def _fitting(lines: Sequence[bytes]) -> int:
    """Return how many of these lines go into one segment: at least one."""
    total = 0
    for count, line in enumerate(lines):
        total += len(line)
        if total > _SEGMENT_BYTES and count:
            return count
    return len(lines)


def _leading_run(entries: Sequence[Entry], kept: Set[int]) -> int:
    """Return how many entries from the first on are all held or all new, without a gap in their positions."""
    start = entries[0].pos
    if not kept and entries[-1].pos == start + len(entries) - 1:
        return len(entries)
    held = start in kept
    for count, entry in enumerate(entries):
        if entry.pos != start + count or (entry.pos in kept) != held:
            return count
    return len(entries)


def _by_position(kept: Kept) -> int:
    return kept.pos


def _keyless() -> SuspendedError:
    return SuspendedError(
        "archive_key",
        "The archive's manifests are signed, and this process has no key to sign the next one: put the file of "
        "`evidence.key_file` in its place here too (where it is lost, `assent init` makes another), then run "
        "`assent sync`.",
    )
