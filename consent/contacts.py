"""What holds of a contact beyond its conversations: what it stopped for lines to come, and whose its number is.

Contacts are found by keyed tags, so that both are still known when nothing says any more whose number it was.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, Table

from consent.database import among, fetch, metadata, run, upsert
from consent.values import Scope

contact_table = Table(
    "contact",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("contact_tag", LargeBinary, primary_key=True),
    # When this contact stopped everything (the events' clock): lines that it has no conversation with begin opted out.
    Column("stopped_at", BigInteger, nullable=False),
    # The entry that says so.
    Column("stopped_seq", BigInteger, nullable=False),
)

sub_organization_stop_table = Table(
    "sub_organization_stop",
    metadata,
    # The same of the lines of one sub-organization; empty: of those that are the main organization's own.
    Column("organization", String(32), primary_key=True),
    Column("contact_tag", LargeBinary, primary_key=True),
    Column("sub_organization", String(32), primary_key=True),
    Column("stopped_at", BigInteger, nullable=False),
    Column("stopped_seq", BigInteger, nullable=False),
)

reassigned_number_table = Table(
    "reassigned_number",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("contact_tag", LargeBinary, primary_key=True),
    # Since when the number is another person's (the events' clock): what was agreed to before binds nobody.
    Column("reassigned_at", BigInteger, nullable=False),
)

#: The reach of a STOP of everything: no organization is called so.
EVERYWHERE = "*"


class Stop(NamedTuple):
    """What a contact stopped for lines to come."""

    #: The events' clock, microseconds since 1970.
    at: int
    #: The last entry of the step that it was said in.
    seq: int


def own_lines(sub_organization: str | None) -> str:
    """Return the reach of a STOP that holds for the lines of one sub-organization, or the main one's own (None)."""
    return sub_organization or ""


def reach_of(scope: Scope | None, sub_organization: str | None) -> str | None:
    """Return which lines to come an opt-out of this scope closes; None where none but its own."""
    match scope:
        case Scope.ORG:
            return EVERYWHERE
        case Scope.SUB_ORG:
            return own_lines(sub_organization)
    return None


def find_stops(tx: Connection, organization: str, contact_tag: bytes, reach: str) -> list[Stop]:
    """Return what a contact stopped for the lines of a reach to come, the newest first."""
    rows = _read_stops(tx, organization, [contact_tag])
    return sorted((Stop(at, seq) for _, of, at, seq in rows if of in (EVERYWHERE, reach)), reverse=True)


class Contacts:
    """The contacts that one transaction meets in one ledger: loaded and written together."""

    def __init__(self, tx: Connection, organization: str, tags: Callable[..., bytes]) -> None:
        self._tx, self._organization, self._tags = tx, organization, tags
        #: By tag, and by reach.
        self._stops: dict[bytes, dict[str, Stop]] = {}
        self._new_stops: set[tuple[bytes, str]] = set()
        self._reassigned: dict[bytes, int | None] = {}
        self._new_reassigned: set[bytes] = set()

    def load(self, tags: Collection[bytes]) -> None:
        """Look up what these contacts stopped, where that isn't known yet."""
        unknown = [tag for tag in tags if tag not in self._stops]
        if unknown:
            self._stops |= {tag: {} for tag in unknown}
            for tag, reach, at, seq in _read_stops(self._tx, self._organization, unknown):
                self._stops[tag][reach] = Stop(at, seq)

    def stopped_since(self, contact: str, reach: str) -> int | None:
        """Return when a contact stopped all lines of a reach, or everything; None if neither."""
        tag = self._tags("contact", contact)
        self.load([tag])
        stops = self._stops[tag]
        return max((stops[of].at for of in (EVERYWHERE, reach) if of in stops), default=None)

    def stop(self, contact: str, reach: str | None, at: int, seq: int) -> None:
        """Note that a contact stopped a reach: lines that it has no conversation with begin opted out."""
        if reach is None:
            return
        tag = self._tags("contact", contact)
        self.load([tag])
        known = self._stops[tag].get(reach)
        if known is None or at >= known.at:
            self._stops[tag][reach] = Stop(at, seq)
            self._new_stops.add((tag, reach))

    def load_reassigned(self, tags: Sequence[bytes]) -> None:
        """Look up since when these contacts' numbers are other persons'."""
        condition, parameters = among(self._tx, "contact_tag", tags)
        sql = f"SELECT contact_tag, reassigned_at FROM reassigned_number WHERE organization = ? AND {condition}"
        self._reassigned.update(dict.fromkeys(tags))
        self._reassigned.update(fetch(self._tx, sql, [self._organization, *parameters]))

    def reassigned_at(self, contact: str) -> int | None:
        """Return since when a contact's number is another person's, None if it isn't."""
        tag = self._tags("contact", contact)
        if tag not in self._reassigned:
            self.load_reassigned([tag])
        return self._reassigned[tag]

    def reassign(self, contact: str, at: int) -> None:
        """Note that a number is another person's since `at`, and lift what was stopped for it before."""
        tag = self._tags("contact", contact)
        self.load([tag])
        if lifted := [reach for reach, stop in self._stops[tag].items() if stop.at < at]:
            for table in ("contact", "sub_organization_stop"):
                sql = f"DELETE FROM {table} WHERE organization = ? AND contact_tag = ? AND stopped_at < ?"
                run(self._tx, sql, [self._organization, tag, at])
        for reach in lifted:
            del self._stops[tag][reach]
            self._new_stops.discard((tag, reach))
        if (known := self.reassigned_at(contact)) is None or at > known:
            self._reassigned[tag] = at
            self._new_reassigned.add(tag)

    def write(self) -> None:
        """Store what has changed."""
        everywhere, below = [], []
        for tag, reach in self._new_stops:
            stop = self._stops[tag][reach]
            if reach == EVERYWHERE:
                everywhere.append((self._organization, tag, *stop))
            else:
                below.append((self._organization, tag, reach, *stop))
        upsert(self._tx, contact_table, everywhere)
        upsert(self._tx, sub_organization_stop_table, below)
        reassigned = [(self._organization, tag, self._reassigned[tag]) for tag in self._new_reassigned]
        upsert(self._tx, reassigned_number_table, reassigned)


def _read_stops(tx: Connection, organization: str, tags: Sequence[bytes]) -> list[tuple[bytes, str, int, int]]:
    condition, parameters = among(tx, "contact_tag", tags)
    sql = f"""SELECT contact_tag, '{EVERYWHERE}', stopped_at, stopped_seq FROM contact
    WHERE organization = ? AND {condition} UNION ALL
    SELECT contact_tag, sub_organization, stopped_at, stopped_seq FROM sub_organization_stop
    WHERE organization = ? AND {condition}"""
    rows = fetch(tx, sql, [organization, *parameters, organization, *parameters])
    return [(bytes(tag), reach, at, seq) for tag, reach, at, seq in rows]
