"""What destinations hold that this database doesn't know of: the sign that it is older than what was delivered.

To number on from there would give new entries the ids of others that are out already. So a restored database is
compared with every destination before anything is written to it, and what an archive holds is brought back.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from consent.canonical import entry_id
from consent.database import Database, run
from consent.ledger import newest_head
from sync import findings
from sync.bringing_back import Library, OtherLedgerError, bring_back
from sync.clock import database_now
from sync.destinations import Destination
from sync.port import SuspendedError, TransientError

log = structlog.get_logger()

_BEHIND_ALL = 2**53 - 1
#: Ledgers that a quick look asks for: those that were written to last. A database that is older lacks some of each.
_QUICK = 20


@dataclass(frozen=True, slots=True)
class Beyond:
    """An entry that a destination holds behind the end of our ledger."""

    entry: str
    organization: str
    lane: str
    pos: int
    destination: str


@dataclass(slots=True)
class Compared:
    """What a comparison of a database with its destinations found."""

    beyond: list[Beyond] = field(default_factory=list)
    #: By destination: why it couldn't be asked.
    unreachable: dict[str, str] = field(default_factory=dict)
    #: By organization: how many entries were brought back.
    brought_back: dict[str, int] = field(default_factory=dict)
    #: Why what an archive holds can't be brought back.
    refused: list[str] = field(default_factory=list)

    @property
    def entries(self) -> int:
        """How many entries are out there and unknown here."""
        return len({one.entry for one in self.beyond})


def compare(database: Database, destinations: Sequence[Destination], *, quick: bool = False) -> Compared:
    """Ask every destination what it holds behind the ends of our ledgers; `quick` asks for the newest ledgers only."""
    found = Compared()
    for destination in destinations:
        try:
            found.beyond += _behind(database, destination, quick=quick)
        except (TransientError, SuspendedError) as error:
            found.unreachable[destination.name] = error.advice
    return found


def quick_look(database: Database, destinations: Sequence[Destination], seconds: float) -> Compared:
    """Compare as a process does that starts: all destinations at once, and who doesn't answer isn't waited for."""
    parts = {destination.name: Compared() for destination in destinations}

    def ask(destination: Destination) -> None:
        try:
            parts[destination.name] = compare(database, [destination], quick=True)
        except Exception as error:
            log.exception("restore.look_failed", destination=destination.name)
            parts[destination.name].unreachable[destination.name] = type(error).__name__

    # Daemons: a remote that stays mute must not keep texts from being taken.
    asking = [threading.Thread(target=ask, args=(destination,), daemon=True) for destination in destinations]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(seconds)
    found = Compared()
    for destination, thread in zip(destinations, asking, strict=True):
        if thread.is_alive():
            found.unreachable[destination.name] = "it gave no answer in time"
            continue
        found.beyond += parts[destination.name].beyond
        found.unreachable |= parts[destination.name].unreachable
    return found


def catch_up(
    database: Database, destinations: Sequence[Destination], progress: Callable[[str, int], None] | None = None
) -> Compared:
    """Bring back what archives hold behind our ledgers' ends, and say what is left; safe to repeat.

    Only while nothing else writes to this database. The mark of a restored database is taken away where nothing is
    left and every destination could be asked.
    """
    brought: dict[str, int] = {}
    refused: list[str] = []
    for destination in destinations:
        library = destination.connector
        if not isinstance(library, Library):
            continue
        try:
            for name in filter(destination.takes, library.organizations()):
                tell = None if progress is None else _telling(progress, name)
                if count := bring_back(database, library, name, tell):
                    brought[name] = brought.get(name, 0) + count
        except OtherLedgerError as error:
            refused.append(str(error))
        except (TransientError, SuspendedError):
            continue  # the comparison says so
    found = compare(database, destinations)
    found.brought_back, found.refused = brought, refused
    if not (found.beyond or found.refused or found.unreachable):
        with database.write() as tx:
            findings.forget(tx, findings.RESTORE, findings.DATABASE)
    return found


def mark_restored(tx: Connection) -> None:
    """Mark a database as restored, in the transaction that restores it."""
    findings.note(tx, findings.RESTORE, findings.DATABASE, database_now(tx), 1)


def is_to_be_compared(database: Database) -> bool:
    """Tell whether this database was restored and not compared with all destinations since."""
    with database.read() as tx:
        sql = "SELECT 1 FROM finding WHERE look = ? AND subject = ?"
        return run(tx, sql, [findings.RESTORE, findings.DATABASE]).first() is not None


def _behind(database: Database, destination: Destination, *, quick: bool) -> Iterator[Beyond]:
    names = _ledgers(database, destination, quick=quick)
    library = destination.connector
    if isinstance(library, Library) and not quick:  # it may hold ledgers that we don't know of
        names += [name for name in library.organizations() if name not in names and destination.takes(name)]
    for name in names:
        for lane in destination.lanes:
            with database.read() as tx:
                first = newest_head(tx, name).lanes[lane]
            held = list(library.find(name, lane, first, _BEHIND_ALL))
            # Read after that: what it took meanwhile was in the ledger before.
            with database.read() as tx:
                end = newest_head(tx, name).lanes[lane]
            for one in held:
                if one.pos >= end and one.seq >= 0:
                    yield Beyond(entry_id(name, one.seq), name, lane.value, one.pos, destination.name)


def _ledgers(database: Database, destination: Destination, *, quick: bool) -> list[str]:
    """Return the ledgers that a destination takes, those that were written to last first."""
    newest = "SELECT h.recorded_at FROM head h WHERE h.organization = l.organization ORDER BY h.size DESC LIMIT 1"
    sql = f"SELECT l.organization FROM ledger l ORDER BY coalesce(({newest}), 0) DESC, 1"
    with database.read() as tx:
        names = [row[0] for row in run(tx, sql) if destination.takes(row[0])]
    return names[:_QUICK] if quick else names


def _telling(progress: Callable[[str, int], None], name: str) -> Callable[[int], None]:
    return lambda count: progress(name, count)
