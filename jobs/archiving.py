"""What archives need beside deliveries, each safe to repeat, from any host.

Locks that last as long as what they lock is kept, legal holds on the files that hold what is held, and once more
what an archive didn't acknowledge.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from connectors.archive.connector import ArchiveConnector
from connectors.archive.store import Protection
from consent.database import Database
from consent.holds import Holds, is_any_held
from consent.ledger import ledgers
from consent.retention import kept_until
from consent.tags import Tags
from sync.destinations import Destination
from sync.late import owe_again
from sync.migrate import tag_key
from sync.port import Delay, SuspendedError, TransientError

log = structlog.get_logger()

_UNACKNOWLEDGED = Delay(
    "unacknowledged",
    "The archive didn't say by the deadline that it took this entry, or said that it didn't: it is sent again.",
)

#: Positions that are looked up at one time.
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Protected:
    """What was done at one destination."""

    destination: str
    #: Files whose lock or hold was changed.
    changed: int
    #: Why not all of it was done, and what to do; empty where it was.
    advice: str = ""


def protect_archives(
    database: Database, destinations: Sequence[Destination], *, organization: str | None = None,
    stop: threading.Event | None = None,
) -> list[Protected]:  # fmt: skip
    """Lock and hold the files of each archive that can, in every ledger or one, as retention and holds say now."""
    done = []
    for destination, archive in _archives(destinations):
        if not archive.locks:
            continue
        changed, advice = 0, ""
        try:
            for name in _ledgers(database, destination, organization):
                if stop is None or not stop.is_set():
                    changed += _protect(database, destination, archive, name)
        except (TransientError, SuspendedError) as error:
            advice = error.advice
            log.warning("archive.unprotected", destination=destination.name, code=error.code, advice=advice)
        if changed:
            log.info("archive.protected", destination=destination.name, files=changed)
        done.append(Protected(destination.name, changed, advice))
    return done


def send_again(database: Database, destinations: Sequence[Destination], stop: threading.Event | None = None) -> int:
    """Set aside what archives didn't acknowledge, so that delivery sends it again; return how many entries that is."""
    total = 0
    for destination, archive in _archives(destinations):
        try:
            for name in _ledgers(database, destination, None):
                for lane in destination.lanes:
                    if stop is not None and stop.is_set():
                        return total
                    positions = archive.unacknowledged(name, lane.value)
                    for at in range(0, len(positions), _PAGE):
                        page = positions[at : at + _PAGE]
                        total += owe_again(database, destination.name, name, lane.value, page, _UNACKNOWLEDGED)
        except (TransientError, SuspendedError) as error:
            log.warning("archive.unread", destination=destination.name, code=error.code, advice=error.advice)
    if total:
        log.warning("archive.unacknowledged", entries=total)
    return total


def _protect(database: Database, destination: Destination, archive: ArchiveConnector, name: str) -> int:
    with database.read() as tx:
        holds = Holds(tx, Tags(tag_key(tx)), name)
    changed, longest = 0, datetime.fromtimestamp(0, UTC)
    for lane in destination.lanes:

        def ask(first: int, last: int, lane: str = lane.value) -> Protection:
            with database.read() as tx:
                until = kept_until(tx, name, lane, first, last)
                return Protection(_at(until), is_any_held(tx, holds, name, lane, first, last))

        more, until = archive.protect(name, lane.value, ask)
        changed, longest = changed + more, max(longest, until)
    # What proves that nothing is missing stays as long as anything that it lists.
    return changed + archive.protect_manifests(name, Protection(longest, bool(holds.names)))


def _archives(destinations: Sequence[Destination]) -> Iterator[tuple[Destination, ArchiveConnector]]:
    for destination in destinations:
        if isinstance(destination.connector, ArchiveConnector):
            yield destination, destination.connector


def _ledgers(database: Database, destination: Destination, organization: str | None) -> list[str]:
    with database.read() as tx:
        return [name for name in ledgers(tx) if destination.takes(name) and organization in (None, name)]


def _at(microseconds: int) -> datetime:
    # Rounded up: S3 keeps seconds, and what was asked for would be longer for ever.
    return datetime.fromtimestamp(-(-microseconds // 1_000_000), UTC)
