"""Destinations: the configured places, and what the database knows of each of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson
import structlog
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, Table

from consent.canonical import entry_id
from consent.database import Database, among, metadata, run
from consent.kinds import SYSTEM, Kind, Lane
from consent.ledger import append, create_ledger, ledgers, newest_head
from consent.values import Record
from sync import leases, receipts
from sync.clock import clock, database_now
from sync.port import Connector, SuspendedError

log = structlog.get_logger()

destination_table = Table(
    "destination",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("since", BigInteger, nullable=False),
    # Where the remote named one: when a suspension ends by itself.
    Column("until", BigInteger, nullable=True),
    Column("code", String(128), nullable=True),
    Column("advice", String(1000), nullable=True),
    # Canonical JSON: each lane, with the time from which it was asked for.
    Column("lanes", LargeBinary, nullable=False),
)


class State(StrEnum):
    """What a person or a refusal made of a destination; catching up and retrying are seen from its leases."""

    OK = "ok"
    SUSPENDED = "suspended"
    PAUSED = "paused"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Destination:
    """One configured place: a connector, and which lanes and organizations it takes."""

    name: str
    connector: Connector
    lanes: tuple[Lane, ...] = tuple(Lane)
    #: Main organizations (and `system`, by name); None takes all, `system` too.
    organizations: frozenset[str] | None = None
    #: True: only what is recorded from the lane's first appearance in the settings on.
    from_now: bool = False

    def takes(self, organization: str) -> bool:
        """Tell whether a ledger's entries belong here."""
        return self.organizations is None or organization in self.organizations

    def only_taken(self, tx: Connection, column: str, of: Collection[str] | None = None) -> tuple[str, list[Any]]:
        """Return the condition that `column` names a ledger that belongs here, one `of` these; and its parameters."""
        if self.organizations is None and of is None:
            return "1 = 1", []
        return among(tx, column, sorted(filter(self.takes, self.organizations or () if of is None else of)))


@dataclass(frozen=True, slots=True)
class Standing:
    """A destination's row."""

    name: str
    state: State
    since: int
    until: int | None
    code: str | None
    advice: str | None
    lanes: Mapping[str, int] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        """Return for a person why it is in this state."""
        told = ": ".join(part for part in (self.code, self.advice) if part) or None
        if self.state is not State.REMOVED:
            return told
        paused = f"; when it is put back it is still {told}" if self.code == State.PAUSED else ""
        return f"the settings don't name it, or switch it off; what it was delivered and refused is kept{paused}"

    def as_removed(self) -> "Standing":
        """Return how it stands where the settings don't name it, or switch it off."""
        # What a person paused stays so when it is put back: only a person resumes it.
        if State.PAUSED in (self.state, self.code):
            return replace(self, state=State.REMOVED, code=State.PAUSED)
        return replace(self, state=State.REMOVED, code=None, advice=None)


def register(database: Database, destinations: Sequence[Destination], *, complete: bool = True) -> None:
    """Note destinations and their lanes. Where the list is `complete`, one it doesn't name is marked as removed."""
    with database.write() as tx:
        now = database_now(tx)
        known = {standing.name: standing for standing in standings(tx)}
        for destination in destinations:
            before = known.get(destination.name)
            seen = dict(before.lanes) if before else {}
            lanes = {lane.value: now for lane in destination.lanes} | seen
            if destination.from_now:
                _skip_past(tx, destination, [lane for lane in destination.lanes if lane not in seen], now)
            if before is None:
                _insert(tx, destination.name, now, lanes)
            elif lanes != before.lanes:
                run(tx, "UPDATE destination SET lanes = ? WHERE name = ?", [orjson.dumps(lanes), destination.name])
            if before is not None and before.state is State.REMOVED:
                _put_back(tx, before, now)
        for name in known.keys() - {destination.name for destination in destinations} if complete else ():
            if known[name].state is not State.REMOVED:
                _remove(tx, known[name], now)


def standings(tx: Connection) -> list[Standing]:
    """Return every destination that was ever configured."""
    rows = run(tx, "SELECT name, state, since, until, code, advice, lanes FROM destination ORDER BY name")
    return [
        Standing(row.name, State(row.state), row.since, row.until, row.code, row.advice, orjson.loads(row.lanes))
        for row in rows
    ]


def standing(tx: Connection, name: str) -> Standing:
    """Return one destination's row; LookupError if it was never configured."""
    for known in standings(tx):
        if known.name == name:
            return known
    raise LookupError("there is no such destination")


def is_paused(tx: Connection, name: str) -> bool:
    """Tell whether a person paused a destination."""
    return any(known.name == name and known.state is State.PAUSED for known in standings(tx))


def require_not_paused(database: Database, name: str) -> None:
    """Raise SuspendedError for a destination that a person paused."""
    with database.read() as tx:
        paused = is_paused(tx, name)
    if paused:
        raise SuspendedError("paused", f"paused by a person: run `assent destination resume {name}` first")


def suspend(database: Database, name: str, code: str, advice: str, until: int | None = None) -> None:
    """Let a destination wait for a person, or for the hour that it named."""
    with database.write() as tx:
        now = database_now(tx)
        changed = run(
            tx,
            """UPDATE destination SET state = 'suspended', since = ?, until = ?, code = ?, advice = ?
            WHERE name = ? AND state = 'ok'""",
            [now, until, code, advice, name],
        ).rowcount
    if changed:
        log.warning("destination.suspended", destination=name, code=code, advice=advice)


def wake_suspended(database: Database, name: str, *, now_due: bool = False) -> None:
    """End a suspension whose time is over, or any suspension where `now_due`."""
    condition = "" if now_due else f" AND until <= {_CLOCK}"
    with database.write() as tx:
        changed = run(
            tx,
            "UPDATE destination SET state = 'ok', until = NULL, code = NULL, advice = NULL WHERE name = ?"
            " AND state = 'suspended'" + condition.replace(_CLOCK, clock(tx)),
            [name],
        ).rowcount
    if changed:
        log.info("destination.resumed", destination=name)


def pause(database: Database, name: str, reason: str, actor: str, now: int) -> None:
    """Stop deliveries to a destination until it is resumed; LookupError if the settings switch on none of that name."""
    _operate(database, name, State.PAUSED, "pause", reason, actor, now)


def resume(database: Database, name: str, reason: str, actor: str, now: int) -> None:
    """Let deliveries to a paused or suspended destination go on, and try one that was away at once."""
    _operate(database, name, State.OK, "resume", reason, actor, now)
    leases.hurry(database, name)


def discard(database: Database, letters: Sequence[receipts.SetAside], reason: str, actor: str, now: int) -> None:
    """Give up dead letters; that it was done, by whom and why is an entry of the system ledger."""
    with database.write() as tx:
        create_ledger(tx, SYSTEM)
        receipts.set_aside(tx, [letter._replace(state="discarded") for letter in letters])
        by_place: dict[str, list[str]] = {}
        for letter in letters:
            by_place.setdefault(letter.destination, []).append(entry_id(letter.organization, letter.seq))
        records = [
            Record(
                Kind.OPERATION,
                now,
                {"operation": "discard", "destination": name, "entries": ids, "actor": actor},
                {"note": reason},
            )
            for name, ids in by_place.items()
        ]
        append(tx, SYSTEM, records, now)
    log.info("refused.discarded", count=len(letters), actor=actor)


def set_state(
    tx: Connection, name: str, state: State, now: int, *, code: str | None = None, advice: str | None = None
) -> None:
    """Change what a destination's row says of it."""
    run(
        tx,
        "UPDATE destination SET state = ?, since = ?, until = NULL, code = ?, advice = ? WHERE name = ?",
        [state.value, now, code, advice, name],
    )


_CLOCK = "clock"


def _operate(database: Database, name: str, state: State, operation: str, reason: str, actor: str, now: int) -> None:
    with database.write() as tx:
        if standing(tx, name).state is State.REMOVED:
            raise LookupError("the settings switch on no destination of this name")
        set_state(tx, name, state, database_now(tx), advice=reason or None)
        create_ledger(tx, SYSTEM)
        facts = {"operation": operation, "destination": name, "actor": actor}
        append(tx, SYSTEM, [Record(Kind.OPERATION, now, facts, {"note": reason} if reason else {})], now)
    done = "destination.paused" if state is State.PAUSED else "destination.resumed"
    log.info(done, destination=name, actor=actor)


def _remove(tx: Connection, known: Standing, now: int) -> None:
    gone = known.as_removed()
    set_state(tx, known.name, State.REMOVED, now, code=gone.code, advice=gone.advice)


def _put_back(tx: Connection, known: Standing, now: int) -> None:
    if known.code == State.PAUSED:
        set_state(tx, known.name, State.PAUSED, now, advice=known.advice)
    else:
        set_state(tx, known.name, State.OK, now)


def _skip_past(tx: Connection, destination: Destination, lanes: Sequence[Lane], now: int) -> None:
    """Begin a destination's new lanes at what is recorded from now on."""
    for organization in ledgers(tx) if lanes else ():
        if destination.takes(organization):
            sizes = newest_head(tx, organization).lanes
            for lane in lanes:
                receipts.skip(tx, organization, destination.name, lane, sizes[lane], now)


def _insert(tx: Connection, name: str, now: int, lanes: Mapping[str, int]) -> None:
    run(
        tx,
        "INSERT INTO destination (name, state, since, lanes) VALUES (?, 'ok', ?, ?) ON CONFLICT DO NOTHING",
        [name, now, orjson.dumps(lanes)],
    )
