"""Retention: how long an entry of each kind is kept, and what becomes of it afterwards.

A period can be lengthened and never shortened. Consent is kept longer than its period for as long as it is relied
upon: its clock runs from the last text of its conversation, and the entry that proves the state in force stays.
Disposal nulls body and values; number, id and leaf hash stay, so every proof holds, and what was decided before is
known from a snapshot of the states.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import orjson
from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, String, Table

from consent.canonical import canonical, parse_entry_id
from consent.conversations import page_standings
from consent.database import Database, among, fetch, insert, metadata, run
from consent.holds import Holds
from consent.kinds import LANE_OF, SYSTEM, Kind, Lane
from consent.ledger import append, lock, newest_head, read_seqs, seq_at
from consent.organizations import ForbiddenError, SettingError, change_settings, for_change, organization
from consent.replay import Snapshot, restore, snapshot
from consent.tags import Tags
from consent.values import Consent, Record

snapshot_table = Table(
    "snapshot",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("part", Integer, primary_key=True),
    # From part 1 on as `consent.replay.snapshot` writes it; part 0 says of how many it is whole.
    Column("states", LargeBinary, nullable=False),
)

#: What is kept for good, as others can't be understood without it: what was in force, what was signed, what was
#: disposed of.
KEPT = frozenset({Kind.SETTING, Kind.TEMPLATE, Kind.CHECKPOINT, Kind.RETENTION})
#: The kinds that are disposed of one day.
DISPOSABLE = tuple(kind for kind in Kind if kind not in KEPT)

DAY = 86_400 * 1_000_000
#: No calendar year is longer.
YEAR_DAYS = 366
#: Days. 16 CFR 310.5 wants 5 years, FINRA 4511 wants 6; SEC 17a-4 and CFTC 1.31 want no more than those.
DEFAULT_DAYS = 7 * YEAR_DAYS

_PERIOD = re.compile(r"(\d{1,4})([yd])")
_PAGE = 5_000
#: Entries in one transaction: what a text that comes in meanwhile waits for.
_TOGETHER = 200
_PART = 5_000


class _Candidate(NamedTuple):
    seq: int
    kind: str
    conversation: str | None
    recorded_at: int


@dataclass(frozen=True, slots=True)
class _Taken:
    """The snapshot that a run of disposal rests on."""

    size: int
    parts: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Disposed:
    """What a run disposed of in one ledger, or would."""

    organization: str
    entries: int = 0
    #: Entries past their period that are kept because a hold covers them.
    held: int = 0


def read_period(text: str) -> int:
    """Return the days of a period as a person writes it: `7y`, `2600d`."""
    match = _PERIOD.fullmatch(text.strip().lower())
    if match is None:
        raise SettingError("a period is a number of years or days, as in 7y or 2600d")
    return int(match[1]) * (YEAR_DAYS if match[2] == "y" else 1)


def write_period(days: int) -> str:
    """Return a period as a person writes it."""
    years, rest = divmod(days, YEAR_DAYS)
    return f"{days}d" if rest else f"{years}y"


def read_periods(tx: Connection, main: str) -> dict[Kind, int]:
    """Return for how many days each kind is kept in a ledger, those kept for good left out."""
    own = {} if main == SYSTEM else organization(tx, main).settings.get("retention", {})
    return {kind: own.get(kind.value, DEFAULT_DAYS) for kind in DISPOSABLE}


def set_periods(tx: Connection, main: str, kinds: Sequence[Kind], days: int, *, actor: str, now: int) -> None:
    """Lengthen how long kinds are kept; ForbiddenError where it would be shorter than it is."""
    one, _ = for_change(tx, main)
    if kept := [kind.value for kind in kinds if kind in KEPT]:
        raise ForbiddenError(f"{', '.join(kept)}: kept for good")
    before = read_periods(tx, main)
    if shorter := [kind.value for kind in kinds if days < before[kind]]:
        raise ForbiddenError(
            f"retention can be lengthened and never shortened: {', '.join(shorter)} is kept "
            f"{write_period(max(before[Kind(kind)] for kind in shorter))}"
        )
    after = {kind.value: period for kind, period in before.items()} | {kind.value: days for kind in kinds}
    old = {kind.value: period for kind, period in before.items()}
    if after != old:
        change_settings(tx, one, {"retention": after}, before={"retention": old}, actor=actor, now=now)


def dispose(database: Database, tags: Tags, main: str, *, actor: str, now: int, dry_run: bool = False) -> Disposed:
    """Dispose of what is past its retention and under no hold, a small transaction at a time; safe to run again.

    Each transaction says in an entry what it disposed of; killed between two, the next run goes on.
    """
    with database.read() as tx:
        periods = read_periods(tx, main)
        end = seq_at(tx, main, now - min(periods.values()) * DAY + 1)
    found, taken = Disposed(main), None
    for first in range(0, end, _PAGE):
        with database.read() as tx:
            page = _page(tx, main, first, min(first + _PAGE, end))
            due = [one.seq for one in _due(tx, main, page, periods, now)]
            kept = _held(tx, tags, main, due)
        wanted = [seq for seq in due if seq not in kept]
        found = replace(found, held=found.held + len(kept))
        if dry_run:
            found = replace(found, entries=found.entries + len(wanted))
            continue
        for at in range(0, len(wanted), _TOGETHER):
            taken = taken or _take_snapshot(database, main)
            with database.write() as tx:
                gone = _dispose(tx, tags, main, wanted[at : at + _TOGETHER], periods, taken, actor, now)
            found = replace(found, entries=found.entries + gone)
    return found


def kept_until(tx: Connection, main: str, lane: str, first: int, last: int) -> int:
    """Return until when a lane's entries between two positions, both included, are kept; microseconds since 1970.

    For stores that lock files until a time: it moves on as texts are sent under a consent. What is kept for good is
    kept as long as what was written last in its ledger.
    """
    periods = read_periods(tx, main)
    sql = """SELECT kind, conversation, max(recorded_at) FROM entry
    WHERE organization = ? AND lane = ? AND pos >= ? AND pos <= ? GROUP BY kind, conversation"""
    rows = [(Kind(row[0]), row[1], row[2]) for row in fetch(tx, sql, [main, lane, first, last])]
    consent = {one for kind, one, _ in rows if one is not None and LANE_OF[kind] is Lane.CONSENT}
    relied = _last_texts(tx, main, sorted(consent))
    until = 0
    for kind, conversation, recorded_at in rows:
        if kind in KEPT:
            until = max(until, newest_head(tx, main).recorded_at + DEFAULT_DAYS * DAY)
        else:
            last_text = relied.get(conversation, 0) if LANE_OF[kind] is Lane.CONSENT else 0
            until = max(until, max(recorded_at, last_text) + periods[kind] * DAY)
    return until


def read_snapshot(tx: Connection, main: str) -> Snapshot | None:
    """Return the states at the last disposal, where replay begins; None where nothing was disposed of yet."""
    size = run(tx, "SELECT max(size) FROM snapshot WHERE organization = ? AND part = 0", [main]).scalar()
    if size is None:
        return None
    sql = "SELECT states FROM snapshot WHERE organization = ? AND size = ? AND part > 0 ORDER BY part"
    parts = [restore(bytes(row[0])) for row in fetch(tx, sql, [main, size])]
    return Snapshot(main, size, {id: told for part in parts for id, told in part.conversations.items()})  # noqa: A001


def _page(tx: Connection, main: str, first: int, end: int) -> list[_Candidate]:
    condition, kinds = among(tx, "kind", [kind.value for kind in DISPOSABLE])
    sql = f"""SELECT seq, kind, conversation, recorded_at FROM entry
    WHERE organization = ? AND seq >= ? AND seq < ? AND body IS NOT NULL AND {condition} ORDER BY seq"""
    return [_Candidate(*row) for row in fetch(tx, sql, [main, first, end, *kinds])]


def _due(
    tx: Connection, main: str, page: Sequence[_Candidate], periods: Mapping[Kind, int], now: int
) -> Iterator[_Candidate]:
    """Yield the candidates whose time is over."""
    past = [one for one in page if one.recorded_at + periods[Kind(one.kind)] * DAY <= now]
    # What consent rests on is kept while it is relied upon; a revocation that met no conversation holds for all.
    consent = {one.conversation for one in past if LANE_OF[Kind(one.kind)] is Lane.CONSENT} - {None}
    relied = _last_texts(tx, main, [id for id in consent if id is not None])  # noqa: A001
    dormant: list[_Candidate] = []
    for one in past:
        if LANE_OF[Kind(one.kind)] is not Lane.CONSENT:
            yield one
        elif one.conversation is not None and relied.get(one.conversation, 0) + periods[Kind(one.kind)] * DAY <= now:
            dormant.append(one)
    proofs = _proofs(tx, main, {one.conversation for one in dormant if one.conversation is not None})
    yield from (one for one in dormant if one.seq not in proofs)


def _last_texts(tx: Connection, main: str, conversations: Sequence[str]) -> dict[str, int]:
    """Return when the last text of each conversation was recorded, of either side or automatic."""
    found: dict[str, int] = {}
    for at in range(0, len(conversations), 1_000):
        condition, parameters = among(tx, "conversation", conversations[at : at + 1_000])
        sql = f"""SELECT conversation, max(recorded_at) FROM entry WHERE organization = ? AND {condition}
        AND kind IN ('message', 'auto_message') GROUP BY conversation"""
        found |= {row[0]: row[1] for row in fetch(tx, sql, [main, *parameters])}
    return found


def _proofs(tx: Connection, main: str, conversations: Collection[str]) -> set[int]:
    """Return the entries that prove these conversations' states in force, and the requests that were answered."""
    proofs: set[int] = set()
    wanted = sorted(conversations)
    for at in range(0, len(wanted), 500):
        condition, parameters = among(tx, "id", wanted[at : at + 500])
        sql = f"SELECT id, consent, request_seq, contact_tag FROM conversation WHERE organization = ? AND {condition}"
        kept = {row[0]: row for row in fetch(tx, sql, [main, *parameters])}
        condition, parameters = among(tx, "conversation", wanted[at : at + 500])
        sql = f"""SELECT conversation, seq, body FROM entry WHERE organization = ? AND {condition}
        AND kind IN ('decision', 'auto_message') AND body IS NOT NULL ORDER BY conversation, version, seq"""
        newest: dict[str, tuple[int, str | None]] = {}
        for id, seq, body in fetch(tx, sql, [main, *parameters]):  # noqa: A001
            facts = orjson.loads(body)
            if id in kept and facts.get("after") == kept[id][1]:
                newest[id] = (seq, facts.get("answers"))
            # It also holds for lines that the contact has no conversation with yet.
            if facts.get("scope") == "org" and "elsewhere" not in facts:
                proofs.add(seq)
        for seq, answered in newest.values():
            proofs |= {seq, *([parse_entry_id(answered)[1]] if answered else [])}
        proofs |= {
            request for _, consent, request, _ in kept.values() if request is not None and consent != Consent.NONE
        }
    return proofs


def _held(tx: Connection, tags: Tags, main: str, seqs: Sequence[int]) -> set[int]:
    holds = Holds(tx, tags, main)
    if holds.all:
        return set(seqs)
    if not holds.names:
        return set()
    return {entry.seq for entry in read_seqs(tx, main, seqs) if holds.cover(entry)}


def _dispose(
    tx: Connection, tags: Tags, main: str, seqs: Sequence[int], periods: Mapping[Kind, int], taken: _Taken,
    actor: str, now: int,
) -> int:  # fmt: skip
    """Dispose of entries, looked at again under the ledger's lock: a text or a hold may have come meanwhile."""
    lock(tx, main)
    condition, parameters = among(tx, "seq", seqs)
    sql = f"""SELECT seq, kind, conversation, recorded_at FROM entry
    WHERE organization = ? AND {condition} AND body IS NOT NULL ORDER BY seq"""
    page = [_Candidate(*row) for row in fetch(tx, sql, [main, *parameters])]
    due = [one for one in _due(tx, main, page, periods, now) if one.seq < taken.size]
    held = _held(tx, tags, main, [one.seq for one in due])
    due = sorted((one for one in due if one.seq not in held), key=lambda one: one.seq)
    if not due:
        return 0
    condition, parameters = among(tx, "seq", [one.seq for one in due])
    run(tx, f"UPDATE entry SET body = NULL, personal = NULL WHERE organization = ? AND {condition}",
        [main, *parameters])  # fmt: skip
    kinds: dict[str, int] = {}
    for one in due:
        kinds[one.kind] = kinds.get(one.kind, 0) + 1
    facts = {
        "retention": "disposal", "actor": actor, "entries": len(due), "kinds": kinds,
        "seqs": [list(one) for one in ranges(one.seq for one in due)],
        "snapshot": {"size": taken.size, "parts": taken.parts, "sha256": taken.sha256},
    }  # fmt: skip
    append(tx, main, [Record(Kind.RETENTION, now, facts, {})], now)
    return len(due)


def _take_snapshot(database: Database, main: str) -> _Taken:
    """Keep the states as they are after what the ledger holds now; what is disposed of afterwards stands before it."""
    digest, part, after = hashlib.sha256(), 0, ""
    with database.read() as tx:
        size = newest_head(tx, main).size
        with database.write() as out:  # what a run left that was killed before its snapshot was whole
            run(out, "DELETE FROM snapshot WHERE organization = ? AND size >= ?", [main, size])
        # One state of the database: its conversations are those after exactly these entries.
        while page := [one.conversation for one in page_standings(tx, main, after, _PART)]:
            part, after = part + 1, page[-1].id
            data = snapshot(main, size, {told.id: told for told in page})
            digest.update(hashlib.sha256(data).digest())
            with database.write() as out:
                insert(out, snapshot_table, [(main, size, part, data)])
    taken = _Taken(size, part, digest.hexdigest())
    with database.write() as tx:
        # Part 0 says that it is whole; only then the older one goes.
        insert(tx, snapshot_table, [(main, size, 0, canonical({"parts": part, "sha256": taken.sha256}))])
        run(tx, "DELETE FROM snapshot WHERE organization = ? AND size < ?", [main, size])
    return taken


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as ranges: (first, last), both included."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
