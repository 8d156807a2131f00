"""The three destinations against the ledger: read back, hashed again, counted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from connectors.archive.verify import verify_archive
from consent.database import Database
from consent.entry import Entry
from consent.kinds import Kind
from consent.ledger import ledgers, newest_head, read_lane, walk
from jobs.build import Parts
from jobs.demo.programs import package
from jobs.verifying import Verified, verify_ledgers
from sync.destinations import Destination
from sync.reconcile import Difference, Problem, Reconciled, reconcile
from sync.status import status

#: A receipt that one of these contradicts is worth nothing.
_BROKEN = (Problem.MISSING, Problem.DRIFTED)


@dataclass(frozen=True, slots=True)
class CheckedDestination:
    """One destination at the end."""

    name: str
    owed: int
    delivered: int
    refused: int
    #: Entries that it holds as the ledger has them.
    verified: int
    #: What was looked at.
    how: str
    problems: Sequence[str]

    @property
    def agrees(self) -> bool:
        """True where it holds all that it should, and nothing else."""
        return not self.problems

    def told(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            "name": self.name, "owed": self.owed, "delivered": self.delivered, "refused": self.refused,
            "verified": self.verified, "ok": self.agrees, "problems": list(self.problems),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checked:
    """All that was checked."""

    ledgers: Sequence[Verified]
    destinations: Sequence[CheckedDestination]
    #: The id of an entry that records a STOP.
    stop: str
    #: The Salesforce package's folder.
    package: Path


def check_all(parts: Parts, archive: Path) -> Checked:
    """Verify the ledgers, read back all destinations, and verify the archive's files against the ledger."""
    rows = {row["name"]: row for row in status(parts.database, parts.destinations)["destinations"]}
    checked = []
    for destination in parts.destinations:
        row = rows[destination.name]
        found = reconcile(parts.database, destination)
        expected = _expected(parts.database, destination)
        held = _held(parts.database, destination)
        problems = [f"{_name(one)} is {one.problem.value}" for one in found.differences[:5]]
        if found.more or len(found.differences) > 5:
            problems.append("and more")
        if held != expected:
            problems.append(f"holds {held} entries where the ledger has {expected}")
        how = f"{held} entries read back, the same as in the ledger"
        if destination.name == "archive":
            told, flaws = _check_archive(parts.database, archive)
            how, problems = f"{how}; {told}", problems + flaws
        checked.append(
            CheckedDestination(
                destination.name, row["owed"], row["delivered"], row["refused"], _agreeing(found), how, problems
            )
        )
    return Checked(list(verify_ledgers(parts.database)), checked, _a_stop(parts.database), package())


def _agreeing(found: Reconciled) -> int:
    """Count the receipts that what was read back bears out."""
    wrong = {(one.organization, one.lane, one.pos) for one in found.differences if one.problem in _BROKEN}
    return max(0, found.checked - len(wrong) - found.more)


def _name(difference: Difference) -> str:
    return difference.entry or f"{difference.organization} {difference.lane} {difference.pos}"


def _expected(database: Database, destination: Destination) -> int:
    """Return how many entries of the ledgers belong to a destination."""
    with database.read() as tx:
        heads = [newest_head(tx, name) for name in ledgers(tx) if destination.takes(name)]
    return sum(head.lanes[lane] for head in heads for lane in destination.lanes)


def _held(database: Database, destination: Destination) -> int:
    """Count what a destination holds, by its own word."""
    with database.read() as tx:
        heads = [newest_head(tx, name) for name in ledgers(tx) if destination.takes(name)]
    return sum(
        sum(1 for _ in destination.connector.find(head.organization, lane, 0, head.size))
        for head in heads
        for lane in destination.lanes
    )


def _check_archive(database: Database, archive: Path) -> tuple[str, list[str]]:
    def read(organization: str, lane: str, first: int, last: int) -> Iterable[Entry]:
        with database.read() as tx:
            return read_lane(tx, organization, lane, first, last - first + 1)

    report = verify_archive(archive, ledger=read)
    told = f"{report.segments} segments and {report.manifests} manifests whole, {report.roots} roots computed again"
    return told, [str(flaw) for flaw in report.flaws[:5]]


def _a_stop(database: Database) -> str:
    with database.read() as tx:
        for name in ledgers(tx):
            for entry in walk(tx, name):
                if entry.kind == Kind.DECISION and entry.body and orjson.loads(entry.body)["after"] == "opted_out":
                    return entry.id
    raise AssertionError("the sample holds opt-outs")
