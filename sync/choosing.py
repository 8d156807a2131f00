"""Which entries a resync brings again: all, a contact's, one, what was refused, what differs; page by page."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import groupby, islice
from threading import Event

import orjson
from sqlalchemy import Connection

from consent.database import Database
from consent.entry import Entry
from consent.ledger import ledgers, read_conversation, read_entry, read_lane, read_positions, seq_at
from sync import receipts
from sync.destinations import Destination
from sync.owed import aside_counts
from sync.reconcile import Difference, Problem, Reconciled, differences

_NOTHING = 2**62  # behind the end of any lane
#: What pushing again can mend.
_MENDABLE = (Problem.MISSING, Problem.DRIFTED, Problem.UNSETTLED)


class Only(StrEnum):
    """Which entries a resync brings again."""

    MISSING = "missing"
    DRIFTED = "drifted"
    UNSETTLED = "unsettled"
    #: Missing, drifted and unsettled at once: what a repair brings.
    DIFFERING = "differing"
    REFUSED = "refused"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Filters:
    """What to bring again."""

    only: Only = Only.ALL
    organization: str | None = None
    #: Recorded at or after, before: microseconds since 1970.
    since: int | None = None
    until: int | None = None
    #: A contact's conversations, by id.
    conversations: tuple[str, ...] | None = None
    #: One entry: (organization, seq).
    entry: tuple[str, int] | None = None
    #: Of what was refused: why.
    code: str | None = None

    def packed(self) -> bytes:
        """Return them as JSON, as a run keeps them."""
        return orjson.dumps(asdict(self))

    @staticmethod
    def unpacked(packed: bytes) -> "Filters":
        """Return what `packed` was called of."""
        kept = orjson.loads(packed)
        kept["only"] = Only(kept["only"])
        for name in ("conversations", "entry"):
            kept[name] = tuple(kept[name]) if kept[name] is not None else None
        return Filters(**kept)

    def match(self, entry: Entry) -> bool:
        """Tell whether an entry is meant."""
        if entry.body is None:  # disposed of, lawfully
            return False
        return (
            (self.since is None or entry.recorded_at >= self.since)
            and (self.until is None or entry.recorded_at < self.until)
            and (self.conversations is None or entry.conversation in self.conversations)
            and (self.entry is None or (entry.organization, entry.seq) == self.entry)
        )


class Choice:
    """The entries that are meant, and how far they were looked through."""

    def __init__(
        self, database: Database, destination: Destination, filters: Filters, size: int, stop: Event,
        *, found: Reconciled | None = None, after: tuple[str, str, int] = ("", "", -1),
    ) -> None:  # fmt: skip
        """Choose pages of up to `size` entries behind `after`; `found` saves reading the destination back once more."""
        self._database, self._destination, self._filters = database, destination, filters
        self._page, self._stop, self._found, self._after = size, stop, found, after
        #: Entries to look at in all, and those that were.
        self.total = self.seen = 0
        #: By problem, as they are found.
        self.differences: dict[str, int] = {}

    def pages(self) -> Iterator[list[Entry]]:
        """Yield matching entries, each page of one lane of one ledger, in order; a page may hold none."""
        if self._filters.only in (Only.MISSING, Only.DRIFTED, Only.UNSETTLED, Only.DIFFERING):
            yield from self._differing()
        elif self._filters.only is Only.REFUSED:
            yield from self._refused()
        else:
            yield from self._all()

    def _all(self) -> Iterator[list[Entry]]:
        if self._filters.entry is not None or self._filters.conversations is not None:
            yield from self._at(self._named())
            return
        with self._database.read() as tx:
            # By (ledger, lane): the first position to look at, and one past the last.
            ways = {
                (name, lane): (max(self._first(name, lane), since), min(self._end(tx, name, lane), until))
                for name in self._ledgers(tx) for lane in sorted(lane.value for lane in self._destination.lanes)
                for since, until in [self._span(tx, name, lane)]
            }  # fmt: skip
        self.total = sum(max(0, end - first) for first, end in ways.values())
        for (name, lane), (first, end) in ways.items():
            for start in range(first, end, self._page):
                with self._database.read() as tx:
                    page = read_lane(tx, name, lane, start, min(self._page, end - start))
                self.seen += len(page)
                yield [entry for entry in page if self._filters.match(entry)]

    def _named(self) -> dict[tuple[str, str], list[int]]:
        """Return the positions of one entry, or of a contact's conversations, by (organization, lane)."""
        lanes = {lane.value for lane in self._destination.lanes}
        positions: dict[tuple[str, str], list[int]] = {}
        with self._database.read() as tx:
            names = self._ledgers(tx)
            if self._filters.entry is not None:
                organization, seq = self._filters.entry
                one = read_entry(tx, organization, seq) if organization in names else None
                found = [one] if one is not None else []
            else:
                ids = self._filters.conversations or ()
                found = [one for name in names for id in ids for one in read_conversation(tx, name, id)]  # noqa: A001
            ends: dict[tuple[str, str], int] = {}
            for entry in found:
                key = (entry.organization, entry.lane)
                if entry.lane in lanes and key not in ends:
                    ends[key] = self._end(tx, *key)
                if entry.lane in lanes and entry.pos < ends[key]:
                    positions.setdefault(key, []).append(entry.pos)
        return {key: sorted(found) for key, found in positions.items()}

    def _ledgers(self, tx: Connection) -> list[str]:
        return [
            name for name in ledgers(tx)
            if self._destination.takes(name) and self._filters.organization in (None, name)
        ]  # fmt: skip

    def _end(self, tx: Connection, organization: str, lane: str) -> int:
        """Return where what is still owed begins: that is delivery's."""
        return receipts.cursor(tx, organization, self._destination.name, lane)

    def _span(self, tx: Connection, organization: str, lane: str) -> tuple[int, int]:
        """Return the positions between which the times lie that are asked for."""
        since, until = self._filters.since, self._filters.until
        return (
            0 if since is None else seq_at(tx, organization, since, lane=lane),
            _NOTHING if until is None else seq_at(tx, organization, until, lane=lane),
        )

    def _first(self, organization: str, lane: str) -> int:
        """Return the first position that an earlier run has left to do."""
        if (organization, lane) == self._after[:2]:
            return self._after[2] + 1
        return 0 if (organization, lane) > self._after[:2] else _NOTHING

    def _refused(self) -> Iterator[list[Entry]]:
        name, organization, code = self._destination.name, self._filters.organization, self._filters.code
        with self._database.read() as tx:
            of = None if organization is None else [organization]
            self.total = aside_counts(tx, self._destination, of, code=code).get("refused", 0)
        after = (self._after[0], name, *self._after[1:])
        while True:
            with self._database.read() as tx:
                letters = receipts.asides(tx, destination=name, organization=organization, state="refused", code=code,
                                          after=after, limit=self._page)  # fmt: skip
            if not letters:
                return
            after = letters[-1][:4]
            for (ledger, lane), some in groupby(letters, key=lambda letter: (letter.organization, letter.lane)):
                # What a destination takes no more isn't brought there again, whoever asks.
                if self._destination.takes(ledger) and lane in self._destination.lanes:
                    yield from self._read(ledger, lane, [letter.pos for letter in some])

    def _differing(self) -> Iterator[list[Entry]]:
        """Bring what differs, range by range as it is read back; what an earlier run mended differs no more."""
        only = self._filters.only.value
        wanted = _MENDABLE if self._filters.only is Only.DIFFERING else [one for one in _MENDABLE if one.value == only]
        told = self._found.differences if self._found is not None else self._read_back()
        for (ledger, lane), some in groupby(told, key=lambda difference: (difference.organization, difference.lane)):
            positions = self._positions(some, wanted)
            while page := list(islice(positions, self._page)):
                self.total += len(page)
                yield from self._read(ledger, lane, sorted(set(page)))

    def _positions(self, told: Iterable[Difference], wanted: Collection[Problem]) -> Iterator[int]:
        counts = self.differences
        for one in told:
            counts[one.problem.value] = counts.get(one.problem.value, 0) + 1
            if one.problem in wanted:
                yield one.pos

    def _read_back(self) -> Iterator[Difference]:
        with self._database.read() as tx:
            names = self._ledgers(tx)
        for name in names:
            yield from differences(
                self._database, self._destination, name, Reconciled(self._destination.name), self._stop
            )  # fmt: skip

    def _at(self, positions: dict[tuple[str, str], list[int]]) -> Iterator[list[Entry]]:
        left = {
            key: [pos for pos in wanted if pos >= self._first(*key)] for key, wanted in sorted(positions.items())
        }  # fmt: skip
        self.total = sum(map(len, left.values()))
        for (organization, lane), wanted in left.items():
            for at in range(0, len(wanted), self._page):
                yield from self._read(organization, lane, wanted[at : at + self._page])

    def _read(self, organization: str, lane: str, positions: Sequence[int]) -> Iterator[list[Entry]]:
        with self._database.read() as tx:
            page = read_positions(tx, organization, lane, positions)
        self.seen += len(page)
        yield [entry for entry in page if self._filters.match(entry)]
