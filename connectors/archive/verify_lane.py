"""One lane of an archive, verified: each entry, each segment, the chain of segments, the positions."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from typing import NamedTuple

from connectors.archive.flaws import Cause, Flaws
from connectors.archive.names import SegmentName, is_part, read_segment_name
from connectors.archive.proving import Helpers, Line, Proof, prove_all
from connectors.archive.segments import Header, read_header, segment_path
from connectors.archive.store import Store
from consent.canonical import entry_id
from consent.entry import Entry

#: Gives a ledger's entries of a lane between two positions, both included: (organization, lane, first, last).
LedgerReader = Callable[[str, str, int, int], Iterable[Entry]]


class Proven(NamedTuple):
    """One entry's place in its lane and ledger, and its leaf hash; None where the entry is spoiled."""

    pos: int
    seq: int
    leaf: bytes | None
    file: str


class Seen(NamedTuple):
    """One segment that was read whole."""

    header: Header
    sha256: str
    bytes: int


class LaneCheck:
    """Verifies a lane while its entries stream by, holding a few segments (and the late entries' hashes) in memory."""

    def __init__(
        self, store: Store, organization: str, lane: str, flaws: Flaws, ledger: LedgerReader | None,
        helpers: Helpers,
    ) -> None:  # fmt: skip
        self._helpers = helpers
        self._store, self._flaws, self._ledger = store, flaws, ledger
        self.organization, self.lane = organization, lane
        self.folder = f"{organization}/{lane}"
        #: Segments by where they stand.
        self.seen: dict[str, Seen] = {}
        #: The position after the last one held, and the file that holds that.
        self.next = 0
        self.last_file = self.folder
        self.count = 0

    def entries(self) -> Iterator[Proven]:
        """Give the lane's entries in order of position, each verified; then look at the chain."""
        in_order, late = self._names()
        held_late = sorted(self._segments(late), key=_by_position)
        stream = merge(self._segments(in_order), held_late, key=_by_position)
        seq = -1
        for one in stream:
            if self.count == 0 and one.pos > 0:
                told = f"begins at position {one.pos}: the destination was set up to take entries from then on"
                self._flaws.note(self.folder, Cause.PARTIAL, told)
                self.next = one.pos
            if one.pos < self.next:
                told = f"holds position {one.pos}, which another segment holds too"
                self._flaws.add(one.file, Cause.REPEATED, told)
                continue
            self.close_gap(one.pos)
            if one.leaf is not None and one.seq <= seq:
                told = "has a seq that doesn't rise with its position"
                self._flaws.add(one.file, Cause.CHANGED, told, entry_id(self.organization, one.seq))
                one = one._replace(leaf=None)  # noqa: PLW2901
            self.next, self.last_file, seq = one.pos + 1, one.file, max(seq, one.seq)
            self.count += 1
            yield one
        self._check_chain()

    def close_gap(self, until: int) -> None:
        """Say which positions are missing up to (and not including) this one."""
        if self.next < until:
            which = f"positions {self.next} to {until - 1}" if until - self.next > 1 else f"position {self.next}"
            self._flaws.add(
                self.last_file,
                Cause.GAP,
                f"after it, {which} of the {self.lane} lane aren't in the archive: lost, or not delivered",
            )

    def _names(self) -> tuple[Sequence[SegmentName], Sequence[SegmentName]]:
        in_order: list[SegmentName] = []
        late: list[SegmentName] = []
        for text in self._store.names_unmarked(self.folder):
            path = f"{self.folder}/{text}"
            name = read_segment_name(text)
            if is_part(text):
                self._flaws.note(path, Cause.LEFTOVER, "was left by a write that was cut; it is swept in time")
            elif name is None or self._store.is_folder(path):
                self._flaws.add(path, Cause.FOREIGN, "doesn't belong in an archive")
            else:
                (in_order if name.late is None else late).append(name)
        note_blemishes(self._store, self.folder, self._flaws)
        return sorted(in_order), sorted(late)

    def _segments(self, names: Sequence[SegmentName]) -> Iterator[Proven]:
        for name, proof in prove_all(self._store, self.organization, self.lane, names, self._helpers):
            yield from self._segment(segment_path(self.organization, self.lane, name), proof)

    def _segment(self, path: str, proof: Proof) -> Iterator[Proven]:
        header = self._header(path, proof)
        if header is not None:
            if header.name != path:
                self._flaws.add(path, Cause.RENAMED, f"holds what {header.name} should hold")
                return
            self.seen[path] = Seen(header, proof.sha256, proof.size)
        for entry, problem in proof.faults:
            self._flaws.add(path, Cause.CHANGED, problem, entry)
        if header is not None and proof.problem is None:
            self._compare_with_header(path, header, proof)
        if self._ledger is not None and proof.lines:
            self._compare_with_ledger(path, proof.lines)
        for pos, seq, leaf, _ in proof.lines:
            yield Proven(pos, seq, leaf, path)

    def _header(self, path: str, proof: Proof) -> Header | None:
        if proof.problem is not None:
            cause = Cause.TRUNCATED if "cut short" in proof.problem else Cause.CHANGED
            self._flaws.add(path, cause, proof.problem)
        try:
            return read_header(proof.head)
        except ValueError as error:
            self._flaws.add(path, Cause.CHANGED, str(error))
            return None

    def _compare_with_header(self, path: str, header: Header, proof: Proof) -> None:
        positions = [pos for pos, *_ in proof.lines]
        if proof.following != header.count:
            told = f"holds {proof.following} entries where its first line says {header.count}"
            self._flaws.add(path, Cause.CHANGED, told)
        elif not proof.faults:
            if (positions[:1], positions[-1:]) != ([header.first], [header.last]) or positions != sorted(
                set(positions)
            ):
                self._flaws.add(path, Cause.CHANGED, "holds other positions than its first line says")
            if Counter([kind for *_, kind in proof.lines]) != header.kinds:
                self._flaws.add(path, Cause.CHANGED, "holds other kinds of entries than its first line says")

    def _compare_with_ledger(self, path: str, lines: Sequence[Line]) -> None:
        assert self._ledger is not None
        first, last = lines[0][0], lines[-1][0]
        leaves = {entry.pos: entry.leaf for entry in self._ledger(self.organization, self.lane, first, last)}
        for pos, seq, leaf, _ in lines:
            if leaf is not None and leaves.get(pos) != leaf:
                told = "isn't as in the ledger" if pos in leaves else "isn't in the ledger"
                self._flaws.add(path, Cause.DIFFERENT, told, entry_id(self.organization, seq))

    def _check_chain(self) -> None:
        numbered: dict[int, str] = {}
        for path, seen in self.seen.items():
            other = numbered.setdefault(seen.header.number, path)
            if other != path:
                self._flaws.add(path, Cause.EXTRA, f"says it was written in the place of {other}")
        for number, path in numbered.items():
            previous = self.seen[path].header.previous
            if (previous is None) != (number == 0):
                self._flaws.add(path, Cause.CHANGED, "names a segment before it where there is none, or none")
            elif previous is not None:
                self._follow(path, number, previous.name, previous.sha256)

    def _follow(self, path: str, number: int, name: str, sha256: str) -> None:
        before = self.seen.get(name)
        if before is None:
            if not self._flaws.spoils(name):
                self._flaws.add(name, Cause.MISSING, f"is missing: {path} was written after it")
        elif (before.sha256 != sha256 or before.header.number != number - 1) and not self._flaws.spoils(name):
            self._flaws.add(name, Cause.REPLACED, f"isn't the file that {path} was written after")


def note_blemishes(store: Store, folder: str, flaws: Flaws) -> None:
    """Note what the store itself says of the files of a folder."""
    for name, cause, problem in store.blemishes(folder):
        if cause is Cause.LEFTOVER:
            flaws.note(name, cause, problem)
        else:
            flaws.add(name, cause, problem)


def _by_position(one: Proven) -> int:
    return one.pos
