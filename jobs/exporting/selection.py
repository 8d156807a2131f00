"""Which entries an export is asked for, and how they are found: by an index, never by reading a whole ledger."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from consent.conversations import conversation_ids
from consent.database import Database, among, fetch
from consent.entry import Entry
from consent.holds import Holds
from consent.kinds import LANE_OF, Kind
from consent.ledger import Head, ledgers, newest_head, pos_at, read_lane, read_range, read_seqs, seq_at
from consent.owners import lines_of_employee
from consent.tags import Tags
from jobs import asking

_PAGE = 1_000

Match = Callable[[Entry], bool]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries: None takes all, and an entry has to meet every one that is given."""

    organization: str | None = None
    lane: str | None = None
    kind: str | None = None
    #: Recorded at or after, before; microseconds since 1970.
    since: int | None = None
    until: int | None = None
    #: Numbers as a person writes them.
    contact: str | None = None
    line: str | None = None
    #: An employee's id, as in the messages.
    employee: str | None = None
    #: A conversation's id.
    conversation: str | None = None
    #: The name of a legal hold in force.
    hold: str | None = None
    #: Of one ledger, the seq to begin behind: for the next page.
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is wanted of one ledger."""

    head: Head
    #: How many entries are looked at; those that match are no more.
    most: int
    #: Gives the entries, so many at a time.
    pages: Callable[[Database, int], Iterator[list[Entry]]]
    match: Match


def select(tx: Connection, tags: Tags, filters: Filters) -> list[Chosen]:
    """Return what is wanted of each ledger as it is now; QuestionError where something asked for isn't known."""
    if filters.organization is None:
        names, own = ledgers(tx), None
    elif filters.organization in ledgers(tx):
        names, own = [filters.organization], None
    else:
        one, policy = asking.found_organization(tx, filters.organization)
        names, own = [one.main], policy.sub_organization
    if filters.hold is not None:
        names = [name for name in names if filters.hold in Holds(tx, tags, name).names]
        if not names:
            raise asking.QuestionError("unknown_hold", "there is no hold of this name in force: see `assent hold list`")
    return [_chosen(tx, tags, name, own, filters) for name in names]


def read(database: Database, chosen: Sequence[Chosen], looked_at: Callable[[int], None]) -> Iterator[Entry]:
    """Yield the entries in the order of their ledgers; `looked_at` is told how many were read since the last call."""
    for one in chosen:
        for page in one.pages(database, _PAGE):
            yield from (entry for entry in page if one.match(entry))
            looked_at(len(page))


def _chosen(tx: Connection, tags: Tags, name: str, own: str | None, filters: Filters) -> Chosen:
    head = newest_head(tx, name)
    first = 0 if filters.since is None else seq_at(tx, name, filters.since)
    if filters.after is not None:
        first = max(first, filters.after + 1)
    end = head.size if filters.until is None else seq_at(tx, name, filters.until)
    lane = filters.lane or (LANE_OF[Kind(filters.kind)].value if filters.kind else None)
    match = _match(lane, filters.kind, own)
    found = _conversations(tx, tags, name, filters)
    if found is not None:
        seqs = _seqs(tx, name, found.ids, first, end)
        return Chosen(
            head,
            len(seqs),
            lambda database, size: _by_seqs(database, name, seqs, size),
            lambda one: match(one) and found.match(one),
        )
    if lane is not None:
        since = pos_at(tx, name, lane, first)
        until = head.lanes[lane] if filters.until is None else seq_at(tx, name, filters.until, lane=lane)
        return Chosen(
            head,
            max(0, until - since),
            lambda database, size: _by_lane(database, name, lane, since, until, size),
            match,
        )
    return Chosen(head, max(0, end - first), lambda database, size: _by_range(database, name, first, end, size), match)


def _match(lane: str | None, kind: str | None, own: str | None) -> Match:
    def match(entry: Entry) -> bool:
        return (
            lane in (None, entry.lane)
            and kind in (None, entry.kind)
            and (own is None or own in (entry.facts().get("sub_organization"), entry.facts().get("id")))
        )

    return match


@dataclass(frozen=True, slots=True)
class _Found:
    """Conversations that may be meant, and which of their entries are."""

    ids: frozenset[str] | None
    match: Match


def _conversations(tx: Connection, tags: Tags, name: str, filters: Filters) -> _Found | None:
    """Return the conversations that meet all filters about them; None where there is no such filter."""
    wanted: list[set[str]] = []
    #: What is asked of an entry that belongs to no conversation: a revocation by mail, a registered line.
    named: dict[str, str] = {}
    if filters.contact is not None:
        named["contact"] = _number(tx, name, filters.contact, "contact")
        wanted.append(set(conversation_ids(tx, name, "contact_tag", [tags("contact", named["contact"])])))
    if filters.line is not None:
        named["line"] = _number(tx, name, filters.line, "line")
        wanted.append(set(conversation_ids(tx, name, "line_tag", [tags("line", named["line"])])))
    if filters.employee is not None:
        named["employee_id"] = filters.employee
        lines = lines_of_employee(tx, tags, name, filters.employee)
        wanted.append(set(conversation_ids(tx, name, "line_tag", lines)))
    if filters.conversation is not None:
        wanted.append({filters.conversation})
    holds = Holds(tx, tags, name, name=filters.hold) if filters.hold is not None else None
    if holds is not None and not holds.all:
        wanted.append(holds.conversations)
    if not wanted:
        return None
    ids = frozenset(set.intersection(*wanted))

    def match(entry: Entry) -> bool:
        if entry.conversation in ids:
            # Of a line that several employees had, those of the others are not asked for.
            return filters.employee is None or entry.revealed().get("employee_id") in (None, filters.employee)
        if entry.conversation is not None or filters.conversation is not None:
            return False
        values = entry.revealed()
        if holds is not None and not holds.cover(entry) and entry.facts().get("hold") != filters.hold:
            return False
        return all(values.get(name) == value for name, value in named.items())

    return _Found(ids, match)


def _number(tx: Connection, name: str, given: str, what: str) -> str:
    """Return a number in E.164, read as the organization reads it."""
    try:
        _, policy = asking.found_organization(tx, name)
    except asking.QuestionError:  # the `system` ledger is no organization's
        return given
    return asking.number(given, what, policy)


def _seqs(tx: Connection, name: str, conversations: frozenset[str] | None, first: int, end: int) -> "array[int]":
    """Return the seqs of these conversations' entries, and of those of none: eight bytes each, from the index alone."""
    seqs = array("q")
    ids = sorted(conversations or ())
    for at in range(0, len(ids), _PAGE):
        condition, parameters = among(tx, "conversation", ids[at : at + _PAGE])
        rows = fetch(tx, f"SELECT seq FROM entry WHERE organization = ? AND {condition}", [name, *parameters])
        seqs.extend(row[0] for row in rows if first <= row[0] < end)
    rows = fetch(tx, "SELECT seq FROM entry WHERE organization = ? AND conversation IS NULL", [name])
    seqs.extend(row[0] for row in rows if first <= row[0] < end)
    return array("q", sorted(seqs))


def _by_seqs(database: Database, name: str, seqs: "array[int]", size: int) -> Iterator[list[Entry]]:
    for at in range(0, len(seqs), size):
        with database.read() as tx:
            page = read_seqs(tx, name, seqs[at : at + size].tolist())
        yield page


def _by_lane(database: Database, name: str, lane: str, first: int, end: int, size: int) -> Iterator[list[Entry]]:
    for at in range(first, end, size):
        with database.read() as tx:
            page = read_lane(tx, name, lane, at, min(size, end - at))
        yield page


def _by_range(database: Database, name: str, first: int, end: int, size: int) -> Iterator[list[Entry]]:
    for at in range(first, end, size):
        # A short read a page: a long snapshot would keep the database from tidying up behind it.
        with database.read() as tx:
            page = read_range(tx, name, at, min(size, end - at))
        yield page


def tagged(tags: Tags, filters: Filters) -> dict[str, str]:
    """Return the filters as a record may hold them: numbers and ids of people as keyed tags, in hex."""
    told = {}
    for name in ("organization", "lane", "kind", "conversation", "hold"):
        if (value := getattr(filters, name)) is not None:
            told[name] = value
    for name in ("contact", "line", "employee"):
        if (value := getattr(filters, name)) is not None:
            told[f"{name}_tag"] = tags(name, value).hex()
    return told


def normalized(tx: Connection, filters: Filters) -> Filters:
    """Return the filters with numbers in E.164 where one organization is named, so that tags and manifests agree."""
    if filters.organization is None:
        return filters
    contact, line = (
        None if given is None else _number(tx, filters.organization, given, name)
        for name, given in (("contact", filters.contact), ("line", filters.line))
    )
    return replace(filters, contact=contact, line=line)
