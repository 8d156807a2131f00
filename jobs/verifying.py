"""Check ledgers against themselves: every number, leaf, commitment and head again, the first difference named.

An archive is checked by its connector's own verification, alone or against the ledgers.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from consent import merkle
from consent.canonical import commitment, entry_id, from_base64url
from consent.checkpoints import open_note
from consent.database import Database, run
from consent.entry import Entry, leaf_of
from consent.kinds import LANE_OF, Kind, Lane
from consent.ledger import ledgers, newest_head, read_lane, read_range
from consent.notes import NoteError

if TYPE_CHECKING:
    from connectors.archive.store import Store

_PAGE = 5_000
_LANES = {kind.value: LANE_OF[kind].value for kind in Kind}


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found."""

    subject: str
    entries: int
    #: Each difference: of a ledger the first, of an archive all; empty where there is none.
    problems: tuple[str, ...] = ()
    #: Worth knowing, and nothing wrong.
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Say whether all is as it was written."""
        return not self.problems

    @property
    def problem(self) -> str:
        """The first difference."""
        return self.problems[0] if self.problems else ""

    def told(self) -> dict[str, Any]:
        """Return it as `verify --json` prints it."""
        return {
            "subject": self.subject,
            "entries": self.entries,
            "ok": self.ok,
            "problem": self.problem,
            "problems": list(self.problems),
            "notes": list(self.notes),
        }


class _DifferenceError(Exception):
    pass


def verify_ledgers(database: Database) -> Iterator[Verified]:
    """Verify every ledger of a database, one after the other, each to its first difference."""
    with database.read() as tx:
        names = ledgers(tx)
    for name in names:
        yield _verify_ledger(database, name)


def verify_archive(
    archive: "Store", database: Database | None = None, progress: Callable[[int], None] | None = None,
    keys: Sequence[str] = (),
) -> Verified:  # fmt: skip
    """Verify an archive by itself; with a database, compare it with the ledgers there.

    `progress` is told how many entries were looked at; `keys` are those whose signatures are trusted. Raises
    TransientError or SuspendedError where the archive can't be read.
    """
    from connectors.archive.verify import verify_store

    def read(organization: str, lane: str, first: int, last: int) -> Iterator[Entry]:
        assert database is not None
        for at in range(first, last + 1, _PAGE):
            with database.read() as tx:
                page = read_lane(tx, organization, lane, at, min(_PAGE, last + 1 - at))
            yield from page

    try:
        report = verify_store(
            archive, ledger=read if database is not None else None, progress=progress, keys=keys,
            processes=os.cpu_count() or 1,
        )  # fmt: skip
    finally:
        archive.shut()
    return Verified("archive", report.entries, tuple(map(str, report.flaws)), tuple(map(str, report.notes)))


def _verify_ledger(database: Database, organization: str) -> Verified:
    with database.read() as tx:
        size = newest_head(tx, organization).size
    walk = _Walk(organization)
    try:
        for first in range(0, size, _PAGE):
            # A short read a page: a long snapshot would keep the database from tidying up behind it.
            with database.read() as tx:
                entries = read_range(tx, organization, first, min(_PAGE, size - first))
                heads = dict(_heads(tx, organization, first, first + _PAGE))
            walk.check(entries, heads)
        if walk.seq != size:
            walk.differ(f"has no entry {walk.seq}, but a head of {size}")
        walk.check_gone()
        with database.read() as tx:
            beyond = run(
                tx, "SELECT 1 FROM entry WHERE organization = ? AND seq >= ? LIMIT 1", [organization, size]
            ).first()
            grown = newest_head(tx, organization).size
        if beyond is not None and grown == size:
            walk.differ("has entries beyond its newest head")
    except _DifferenceError as error:
        return Verified(f"ledger {organization}", walk.seq, (str(error),))
    return Verified(f"ledger {organization}", walk.seq)


class _Walk:
    """Where a verification stands: the next numbers, and the tree so far."""

    def __init__(self, organization: str) -> None:
        self.organization = organization
        self.seq = 0
        self.lanes = {lane.value: 0 for lane in Lane}
        self.frontier: list[bytes] = []
        #: The tree's root at the newest head that was reached.
        self._root = merkle.root([])
        #: Ranges of seqs whose bodies, or whose values or some of them, are gone; and those that entries say so of.
        self._gone: dict[str, list[list[int]]] = {"disposal": [], "erasure": []}
        self._told: dict[str, list[list[int]]] = {"disposal": [], "erasure": []}

    def check(self, entries: list[Entry], heads: Mapping[int, tuple[Mapping[str, int], list[bytes]]]) -> None:
        """Check the next entries, and the heads whose sizes they reach."""
        waiting: list[bytes] = []
        for entry in entries:
            self._check_entry(entry)
            waiting.append(entry.leaf)
            self.seq += 1
            self.lanes[entry.lane] += 1
            if (head := heads.get(self.seq)) is not None:
                self.frontier = merkle.extend(self.frontier, self.seq - len(waiting), waiting)
                waiting = []
                self._check_head(*head)
        self.frontier = merkle.extend(self.frontier, self.seq - len(waiting), waiting)

    def check_gone(self) -> None:
        """Check that each entry without its body, or without all its values, was lawfully disposed of or erased."""
        for how, told in self._told.items():
            told.sort()
            reached, left = -1, iter(told)
            ahead = next(left, None)
            for first, last in self._gone[how]:
                at = first
                while at <= last:
                    while ahead is not None and ahead[0] <= at:
                        reached, ahead = max(reached, ahead[1]), next(left, None)
                    if reached < at:
                        lost = "body" if how == "disposal" else "values"
                        entry = entry_id(self.organization, at)
                        self.differ(f"has entry {entry} without its {lost}, and no {how} of it")
                    at = reached + 1

    def differ(self, what: str) -> None:
        """Stop with a difference."""
        raise _DifferenceError(f"ledger {self.organization} {what}")

    def _check_entry(self, entry: Entry) -> None:
        if entry.seq != self.seq:
            self.differ(f"has no entry {self.seq}")
        if _LANES.get(entry.kind) != entry.lane:
            self._differs(entry, "is of a kind that doesn't travel in its lane")
        if entry.pos != self.lanes[entry.lane]:
            self._differs(entry, "has another position in its lane than the one after its predecessor's")
        if entry.body is None:  # disposed of: its leaf stays, and the tree says whether it is true
            if entry.values is not None:
                self._differs(entry, "has values and no body")
            self._note_gone("disposal", entry.seq)
            return
        if leaf_of(entry) != entry.leaf:
            self._differs(entry, "has a leaf hash that isn't that of its members")
        if entry.kind == Kind.RETENTION and (facts := entry.facts()).get("retention") in self._told:
            # What is gone was there before: an entry can't speak of those that come after it.
            self._told[facts["retention"]] += [one for one in facts["seqs"] if one[1] < entry.seq]
        if entry.kind == Kind.CHECKPOINT:
            self._check_checkpoint(entry)
        if entry.values is None:
            self._note_gone("erasure", entry.seq)
        else:
            self._check_values(entry, entry.body, entry.values)

    def _check_checkpoint(self, entry: Entry) -> None:
        """Check that a checkpoint is signed by the key it names, and signs the tree of all entries before it."""
        facts = entry.facts()
        try:
            signed = open_note(facts["checkpoint"], facts["key"])
        except NoteError as error:
            self._differs(entry, f"is a checkpoint that doesn't hold: {error}")
        if signed.origin.rpartition("/")[2] != self.organization:
            self._differs(entry, "is a checkpoint of another ledger")
        if (signed.size, signed.root) != (entry.seq, self._root):
            self._differs(entry, "is a checkpoint that signs another tree than that of the entries before it")

    def _note_gone(self, how: str, seq: int) -> None:
        gone = self._gone[how]
        if gone and gone[-1][1] == seq - 1:
            gone[-1][1] = seq
        else:
            gone.append([seq, seq])

    def _check_values(self, entry: Entry, body: bytes, values: bytes) -> None:
        facts = orjson.loads(body)
        try:
            held = orjson.loads(values)
            true = all(
                facts[name]["commit"] == commitment(from_base64url(one["salt"]), name, one["value"])
                for name, one in held.items()
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            true = False
        committed = {name for name, fact in facts.items() if isinstance(fact, dict) and fact.keys() == {"commit"}}
        if not true:
            self._differs(entry, "has values that aren't what its body committed to")
        if held.keys() != committed:  # some may be erased: what named a contact in an entry about another
            self._note_gone("erasure", entry.seq)

    def _check_head(self, lanes: Mapping[str, int], frontier: list[bytes]) -> None:
        if frontier != list(self.frontier):
            self.differ(f"has a head of size {self.seq} whose tree isn't that of its entries")
        self._root = merkle.root(frontier)
        if lanes != self.lanes:
            self.differ(f"has a head of size {self.seq} with other sizes of its lanes")

    def _differs(self, entry: Entry, what: str) -> NoReturn:
        raise _DifferenceError(f"entry {entry.id} {what}")


def _heads(
    tx: Any, organization: str, after: int, until: int
) -> Iterator[tuple[int, tuple[dict[str, int], list[bytes]]]]:
    rows = run(
        tx,
        """SELECT size, consent, messages, audit, frontier FROM head
        WHERE organization = ? AND size > ? AND size <= ? ORDER BY size""",
        [organization, after, until],
    )
    for row in rows:
        lanes = {"consent": row.consent, "messages": row.messages, "audit": row.audit}
        yield row.size, (lanes, merkle.unpacked(bytes(row.frontier)))
