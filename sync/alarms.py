"""Alarms: what a person has to be told once when it begins and once when it is over, whoever notices it.

One row a trouble, kept after its end. That a trouble has one row while it lasts is a unique index's doing, so any
number of processes may notice it; who was told of what stands in the row.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from sqlalchemy import BigInteger, Column, Connection, Index, LargeBinary, String, Table, text

from consent.database import metadata, run

log = structlog.get_logger()

_OPEN = "ended_at IS NULL"

alarm_table = Table(
    "alarm",
    metadata,
    Column("id", String(16), primary_key=True),
    # A word of a closed list, and what it is about: a destination, a ledger, a disk.
    Column("kind", String(32), nullable=False),
    Column("subject", String(100), nullable=False),
    # Whose it is, where not everybody can see it: a host's, a process's. Empty: everybody's.
    Column("place", String(64), nullable=False),
    # The database's clock, microseconds since 1970.
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=True),
    # Canonical JSON: what is told of it.
    Column("told", LargeBinary, nullable=False),
    # Canonical JSON: the channels that were told of the start, and of the end.
    Column("start_told", LargeBinary, nullable=False),
    Column("end_told", LargeBinary, nullable=False),
    Index("alarm_open_ix", "kind", "subject", "place", unique=True,
          sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)),
    Index("alarm_ended_at_ix", "ended_at"),
)  # fmt: skip

#: A host or a process that has said nothing of its own trouble for so long is no more.
_GONE = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that a person should know now: of a kind, about a subject, in words."""

    kind: str
    subject: str
    #: What happened. Never a number, a name or a text.
    what: str
    #: What to do.
    advice: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alarm:
    """A trouble as it is kept."""

    id: str
    kind: str
    subject: str
    place: str
    started_at: int
    ended_at: int | None
    what: str
    advice: str
    facts: Mapping[str, Any]
    start_told: tuple[str, ...]
    end_told: tuple[str, ...]

    def untold(self, channels: Collection[str]) -> list[tuple[str, bool]]:
        """Return which channels have to be told of what: (channel, whether of the end), the start first."""
        starts = [(channel, False) for channel in channels if channel not in self.start_told]
        ends = [(channel, True) for channel in channels if channel not in self.end_told]
        return starts + (ends if self.ended_at is not None else [])


def note_troubles(tx: Connection, troubles: Sequence[Trouble], now: int, quiet_micros: int, place: str = "") -> None:
    """Open an alarm for each trouble of a place that has none, and close those that weren't seen there for so long.

    One that comes and goes at short intervals stays one.
    """
    known = {(one.kind, one.subject): one for one in open_alarms(tx) if one.place == place}
    for trouble in troubles:
        key = (trouble.kind, trouble.subject[:100])
        told = orjson.dumps(
            {"what": trouble.what, "advice": trouble.advice, "facts": dict(trouble.facts)}, option=orjson.OPT_SORT_KEYS
        )
        if key in known:
            run(tx, "UPDATE alarm SET seen_at = ?, told = ? WHERE id = ?", [now, told, known[key].id])
            continue
        opened = run(
            tx,
            """INSERT INTO alarm (id, kind, subject, place, started_at, seen_at, told, start_told, end_told)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING""",
            [secrets.token_hex(8), *key, place, now, now, told, b"[]", b"[]"],
        ).rowcount
        if opened:
            log.warning("alarm.started", kind=trouble.kind, subject=trouble.subject, what=trouble.what)
    sql = f"SELECT id, kind, subject FROM alarm WHERE {_OPEN} AND ((place = ? AND seen_at < ?) OR seen_at < ?)"
    for row in run(tx, sql, [place, now - quiet_micros, now - _GONE]).fetchall():
        run(tx, "UPDATE alarm SET ended_at = ? WHERE id = ?", [now, row.id])
        log.warning("alarm.ended", kind=row.kind, subject=row.subject)


def open_alarms(tx: Connection) -> list[Alarm]:
    """Return the alarms that aren't over, the oldest first."""
    return _alarms(tx, f"{_OPEN} ORDER BY started_at, id", [])


def newest_alarms(
    tx: Connection, limit: int, *, is_open: bool = False, kind: str | None = None, after: str | None = None
) -> list[Alarm]:
    """Return alarms, the newest first, those behind the one of the id `after`; with `is_open` those that aren't over.

    Raises LookupError where there is no alarm of that id.
    """
    where, parameters = _OPEN if is_open else "1 = 1", list[Any]()
    if kind is not None:
        where, parameters = f"{where} AND kind = ?", [kind]
    if after is not None:
        if run(tx, "SELECT 1 FROM alarm WHERE id = ?", [after]).first() is None:
            raise LookupError("there is no alarm of this id")
        begun = "(SELECT started_at FROM alarm WHERE id = ?)"
        where += f" AND (started_at < {begun} OR (started_at = {begun} AND id > ?))"
        parameters += [after] * 3
    return _alarms(tx, f"{where} ORDER BY started_at DESC, id LIMIT ?", [*parameters, limit])


def to_tell(tx: Connection, channels: Sequence[str], since: int) -> list[tuple[Alarm, list[tuple[str, bool]]]]:
    """Return the alarms that some channels have to be told of, open or ended at or after `since`."""
    found = _alarms(tx, f"{_OPEN} OR ended_at >= ? ORDER BY started_at, id", [since])
    return [(one, left) for one in found if (left := one.untold(channels))]


def note_told(tx: Connection, alarm: str, channel: str, *, end: bool) -> None:
    """Note that a channel was told of an alarm's start or end."""
    column = "end_told" if end else "start_told"
    row = run(tx, f"SELECT {column} FROM alarm WHERE id = ?", [alarm]).first()
    if row is not None:
        channels = sorted({*orjson.loads(row[0]), channel})
        run(tx, f"UPDATE alarm SET {column} = ? WHERE id = ?", [orjson.dumps(channels), alarm])


def drop_alarms(tx: Connection, before: int) -> int:
    """Forget the alarms that ended before a time, and return how many those were."""
    return run(tx, "DELETE FROM alarm WHERE ended_at < ?", [before]).rowcount


def _alarms(tx: Connection, where: str, parameters: Sequence[Any]) -> list[Alarm]:
    sql = f"SELECT id, kind, subject, place, started_at, ended_at, told, start_told, end_told FROM alarm WHERE {where}"
    return [
        Alarm(
            row.id, row.kind, row.subject, row.place, row.started_at, row.ended_at, **orjson.loads(row.told),
            start_told=tuple(orjson.loads(row.start_told)), end_told=tuple(orjson.loads(row.end_told)),
        )
        for row in run(tx, sql, parameters)
    ]  # fmt: skip
