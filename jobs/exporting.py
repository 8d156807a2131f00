"""Export: entries to a file, in order, and an entry in the system ledger that it was done and by whom."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from consent.database import Database
from consent.entry import Entry, entry_json
from consent.kinds import SYSTEM, Kind
from consent.ledger import append, create_ledger, ledgers, newest_head, read_range
from consent.values import Record

_PAGE = 2_000


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries: None takes all."""

    organization: str | None = None
    lane: str | None = None
    kind: str | None = None
    #: Recorded at or after, before; microseconds since 1970.
    since: int | None = None
    until: int | None = None

    def match(self, entry: Entry) -> bool:
        """Tell whether an entry is meant."""
        return (
            self.lane in (None, entry.lane)
            and self.kind in (None, entry.kind)
            and (self.since is None or entry.recorded_at >= self.since)
            and (self.until is None or entry.recorded_at < self.until)
        )


def export_entries(database: Database, file: BinaryIO, filters: Filters, actor: str) -> int:
    """Write matching entries as canonical JSON, one a line, and return how many; what it reads stands still."""
    count = 0
    with database.read() as tx:
        sizes = [(name, newest_head(tx, name).size) for name in ledgers(tx)]
    for organization, size in sizes:
        if filters.organization in (None, organization):
            for entry in _entries(database, organization, size):
                if filters.match(entry):
                    file.write(entry_json(entry) + b"\n")
                    count += 1
    file.flush()
    now = time.time_ns() // 1000
    facts = {"operation": "export", "format": "jsonl", "entries": count, "actor": actor}
    if filters.organization is not None:
        facts["of"] = filters.organization
    with database.write() as tx:
        create_ledger(tx, SYSTEM)
        append(tx, SYSTEM, [Record(Kind.ACCESS, now, facts, {})], now)
    return count


def _entries(database: Database, organization: str, size: int) -> Iterator[Entry]:
    for first in range(0, size, _PAGE):
        with database.read() as tx:
            page = read_range(tx, organization, first, min(_PAGE, size - first))
        yield from page
