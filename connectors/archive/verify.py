"""An archive verified without the database: every entry, segment, chain, manifest and root, and nothing else there.

What no archive can say by itself: that its newest files were all removed together. That says the head at the
other destinations, or the ledger.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from pathlib import Path

from connectors.archive.directory import Directory
from connectors.archive.flaws import Cause, Flaw, Flaws
from connectors.archive.manifest import Manifest, Stated
from connectors.archive.names import MARKER, is_organization, is_part, read_manifest_name
from connectors.archive.proving import Helpers
from connectors.archive.signature import Signature
from connectors.archive.store import Store
from connectors.archive.verify_lane import LaneCheck, LedgerReader, Proven, Seen, note_blemishes
from connectors.archive.verify_manifests import check_listing, check_signatures, read_manifests
from consent.kinds import Lane
from consent.merkle import EMPTY_ROOT, extend, root

#: Leaves that enter the tree together.
_RUN = 4096

_LANES = frozenset(lane.value for lane in Lane)


@dataclass(frozen=True, slots=True)
class Report:
    """What an archive holds, and what is wrong with it."""

    flaws: Sequence[Flaw]
    #: Worth knowing, and nothing wrong.
    notes: Sequence[Flaw]
    ledgers: int
    segments: int
    manifests: int
    entries: int
    #: Manifests whose root was computed again from the entries, and those that a trusted key signed.
    roots: int
    signed: int

    @property
    def ok(self) -> bool:
        """Say whether all is as it was written."""
        return not self.flaws


def verify_archive(
    path: Path, *, ledger: LedgerReader | None = None, progress: Callable[[int], None] | None = None,
    keys: Sequence[str] = (),
) -> Report:  # fmt: skip
    """Verify the archive under a directory: see `verify_store`."""
    return verify_store(Directory(path), ledger=ledger, progress=progress, keys=keys)


def verify_store(
    store: Store, *, ledger: LedgerReader | None = None, progress: Callable[[int], None] | None = None,
    keys: Sequence[str] = (), processes: int = 1,
) -> Report:  # fmt: skip
    """Verify an archive, comparing with `ledger` where given; `progress` gets the number of entries done so far.

    Of `keys`, the public keys that are trusted (`consent.notes`), one must have signed each ledger's newest manifest.
    More than one of `processes` share the work on a large archive. Raises TransientError or SuspendedError where the
    store or a file can't be read.
    """
    flaws = Flaws()
    organizations = _check_top(store, flaws)
    entries = 0
    with Helpers(processes) as helpers:
        ledgers = [_LedgerCheck(store, organization, flaws, ledger, keys, helpers) for organization in organizations]
        for one in ledgers:
            for _ in one.entries():
                entries += 1
                if progress is not None and entries % _RUN == 0:
                    progress(entries)
    return Report(
        flaws=flaws.told(),
        notes=flaws.notes,
        ledgers=len(ledgers),
        segments=sum(len(one.seen) for one in ledgers),
        manifests=sum(len(one.stated) for one in ledgers),
        entries=entries,
        roots=sum(one.roots for one in ledgers),
        signed=sum(stated.signature is Signature.TRUSTED for one in ledgers for stated in one.stated),
    )


def _check_top(store: Store, flaws: Flaws) -> Sequence[str]:
    organizations = []
    for name in store.names_unmarked():
        if is_organization(name) and store.is_folder(name):
            organizations.append(name)
        elif is_part(name):
            flaws.note(name, Cause.LEFTOVER, "was left by a write that was cut; it is swept in time")
        elif name != MARKER:
            flaws.add(name, Cause.FOREIGN, "doesn't belong in an archive")
    note_blemishes(store, "", flaws)
    if not store.is_marked():
        flaws.add(MARKER, Cause.MISSING, "is missing or isn't as written: it says that this is an archive")
    return organizations


class _LedgerCheck:
    """Verifies one ledger's folder; its lanes stream side by side in order of seq, and grow the tree again."""

    def __init__(
        self, store: Store, organization: str, flaws: Flaws, ledger: LedgerReader | None, keys: Sequence[str],
        helpers: Helpers,
    ) -> None:  # fmt: skip
        self._store, self._organization, self._flaws, self._ledger = store, organization, flaws, ledger
        self._keys, self._helpers = keys, helpers
        self.stated: list[Stated] = []
        self.seen: dict[str, Seen] = {}
        self.roots = 0

    def entries(self) -> Iterator[Proven]:
        """Give every entry in order of seq, and verify all on the way."""
        numbers, lanes = self._look_around()
        self.stated = list(read_manifests(self._store, self._organization, numbers, self._keys, self._flaws))
        check_signatures(self.stated, self._keys, self._flaws)
        checks = [
            LaneCheck(self._store, self._organization, lane, self._flaws, self._ledger, self._helpers)
            for lane in lanes
        ]  # fmt: skip
        yield from self._grow(merge(*(check.entries() for check in checks), key=_by_seq))
        for check in checks:
            self.seen |= check.seen
        whole = numbers == list(range(len(self.stated)))
        in_use = self._store.in_use(self._organization)
        check_listing(self._organization, self.stated, self.seen, self._flaws, whole=whole, in_use=in_use)
        if self.stated:
            self._compare_with_statement({check.lane: check for check in checks})

    def _look_around(self) -> tuple[list[int], list[str]]:
        numbers, lanes = [], []
        for name in self._store.names_unmarked(self._organization):
            path = f"{self._organization}/{name}"
            folder = self._store.is_folder(path)
            number = read_manifest_name(name)
            if folder and name in _LANES:
                lanes.append(name)
            elif number is not None and not folder:
                numbers.append(number)
            elif is_part(name):
                self._flaws.note(path, Cause.LEFTOVER, "was left by a write that was cut; it is swept in time")
            else:
                self._flaws.add(path, Cause.FOREIGN, "doesn't belong in an archive")
        note_blemishes(self._store, self._organization, self._flaws)
        return sorted(numbers), lanes

    def _grow(self, entries: Iterator[Proven]) -> Iterator[Proven]:
        """Grow the tree entry by entry as far as it goes, and compare the root of each manifest on the way."""
        heads = defaultdict(list)
        for manifest, *_ in self.stated:
            heads[manifest.size].append(manifest)
        self._compare_roots(heads.pop(0, []), EMPTY_ROOT)
        frontier: list[bytes] = []
        grown, leaves, unbroken = 0, list[bytes](), True
        for one in entries:
            size = grown + len(leaves)
            if unbroken and one.seq == size and one.leaf is not None:
                leaves.append(one.leaf)
                if len(leaves) == _RUN or size + 1 in heads:
                    frontier, grown = extend(frontier, grown, leaves), size + 1
                    leaves.clear()
                    self._compare_roots(heads.pop(grown, []), root(frontier))
            else:
                unbroken = False
            yield one
        for manifests in heads.values():
            for manifest in manifests:
                told = "has a root that can't be computed: the archive hasn't all entries up to its size"
                self._flaws.note(manifest.name, Cause.PARTIAL, told)

    def _compare_roots(self, manifests: Sequence[Manifest], computed: bytes) -> None:
        for manifest in manifests:
            self.roots += 1
            if manifest.root != computed.hex():
                told = f"says another root than the {manifest.size} entries up to it give"
                self._flaws.add(manifest.name, Cause.ROOT, told)

    def _compare_with_statement(self, checks: dict[str, LaneCheck]) -> None:
        newest = self.stated[-1].manifest
        for lane, (_, settled) in newest.lanes.items():
            check = checks.get(lane)
            if check is not None and check.count:
                check.close_gap(settled)
            elif settled:
                told = f"says that {settled} positions of the {lane} lane are settled, and none is here"
                self._flaws.note(newest.name, Cause.PARTIAL, told)


def _by_seq(one: Proven) -> int:
    return one.seq
