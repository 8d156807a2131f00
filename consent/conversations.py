"""What is known of each conversation, contact and line: the states, kept beside the ledger that they derive from.

Each is found by a keyed tag of its numbers, so that an erased contact's opt-out is still honored when nothing
says any more whose it was.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import orjson
from sqlalchemy import BigInteger, Boolean, Column, Connection, Index, Integer, LargeBinary, String, Table

from consent.canonical import canonical
from consent.conversation import Conversation, begin
from consent.database import PERSONAL, PERSONAL_OF_CONTACT, among, fetch, metadata, run, upsert
from consent.events import Event
from consent.names import note_names
from consent.tags import Tags
from consent.values import Consent, Group, Message, Scope

_OnLine = TypeVar("_OnLine", Message, Event)

conversation_table = Table(
    "conversation",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("tag", LargeBinary, primary_key=True),
    Column("id", String(32), nullable=False),
    Column("sub_organization", String(32), nullable=True),
    Column("channel", String(16), nullable=False),
    Column("line_tag", LargeBinary, nullable=False),
    Column("contact_tag", LargeBinary, nullable=False),
    Column("line", String(32), nullable=True, info=PERSONAL),
    Column("contact", String(32), nullable=True, info=PERSONAL_OF_CONTACT),
    Column("consent", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    # The entry of the last request shown to the contact: what an answer answers.
    Column("request_seq", BigInteger, nullable=True),
    Column("state", LargeBinary, nullable=False),
    Index("conversation_contact_ix", "organization", "contact_tag"),
    Index("conversation_line_ix", "organization", "line_tag"),
    Index("conversation_id_ix", "organization", "id", unique=True),
    Index("conversation_consent_ix", "organization", "consent"),
)

line_table = Table(
    "line",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("line_tag", LargeBinary, primary_key=True),
    Column("line", String(32), nullable=True, info=PERSONAL),
    Column("sub_organization", String(32), nullable=True),
    Column("employee_id", String(200), nullable=True, info=PERSONAL),
    Column("employee_name", String(400), nullable=True, info=PERSONAL),
    # The events' clock: since when this employee is known to have the line.
    Column("since", BigInteger, nullable=False),
    Column("registered", Boolean, nullable=False),
)

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

employee_line_table = Table(
    "employee_line",
    metadata,
    # Every line that an employee is known to have had: what an employee's entries are found by.
    Column("organization", String(32), primary_key=True),
    Column("employee_tag", LargeBinary, primary_key=True),
    Column("line_tag", LargeBinary, primary_key=True),
)


@dataclass(slots=True)
class Standing:
    """A conversation as one transaction has it: where it is kept, and what has become of it."""

    tag: bytes
    line_tag: bytes
    contact_tag: bytes
    conversation: Conversation
    request_seq: int | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """Who has a line."""

    line: str
    sub_organization: str | None
    employee_id: str | None
    employee_name: str | None
    #: The events' clock, microseconds since 1970.
    since: int
    registered: bool = False


class Standings:
    """The conversations, contacts and lines that one transaction meets in one ledger: loaded and written together."""

    def __init__(self, tx: Connection, organization: str, tags: Tags) -> None:
        self._tx, self._organization, self._tags = tx, organization, tags
        self._standings: dict[bytes, Standing] = {}
        self._lines: dict[bytes, Line | None] = {}
        self._stopped: dict[bytes, tuple[int, int] | None] = {}
        self._new_lines: set[bytes] = set()
        self._new_stops: set[bytes] = set()
        #: Employees, by id, and lines that they are known to have had.
        self._had: set[tuple[str, str]] = set()
        #: What contacts are called, by (tag, name), and when.
        self._names: dict[tuple[bytes, str], int] = {}
        self._tagged: dict[tuple[str, ...], bytes] = {}

    def load(self, messages: Iterable[Message]) -> None:
        """Look up in one query each what these messages are about."""
        # Both sides' first texts at once meet here: the second one finds the conversation of the first.
        keys = {self._tag("conversation", m.line, m.contact, m.group): m for m in messages}
        if not keys:
            return
        self._load("tag", list(keys))
        # Who has stopped everything is asked of who is new, and of who is opted out here: it may have been later.
        asked = {
            self._tag("contact", m.contact) for tag, m in keys.items()
            if (known := self._standings.get(tag)) is None or known.conversation.consent is Consent.OPTED_OUT
        }  # fmt: skip
        self._stopped.update(dict.fromkeys(asked))
        self._load_contacts(list(asked))
        self._load_lines(list({self._tag("line", m.line) for m in keys.values()}))

    def of(self, message: Message) -> Standing:
        """Return the conversation that a message belongs to, begun now if there is none."""
        tag = self._tag("conversation", message.line, message.contact, message.group)
        standing = self._standings.get(tag)
        if standing is None:
            contact_tag = self._tag("contact", message.contact)
            conversation = begin(
                secrets.token_hex(12), self._organization, message.sub_organization, message.line, message.contact,
                message.group, stopped_at=self.stopped_since(message.contact),
            )  # fmt: skip
            standing = Standing(tag, self._tag("line", message.line), contact_tag, conversation)
            self._standings[tag] = standing
        if message.contact_name:
            self._names[standing.contact_tag, message.contact_name] = message.sent_at
        return self._known_again(standing, message.contact)

    def on_its_line(self, message: Message) -> Message:
        """Return the message with what its line tells, where it doesn't say so itself.

        That is the registered sub-organization, and the registered or last known employee.
        """
        line = self.line(message.line)
        if line is None:
            return message
        if message.sub_organization is None and line.registered and line.sub_organization is not None:
            message = replace(message, sub_organization=line.sub_organization)
        if message.employee_id is not None and message.employee_name is not None:
            return message
        if line.employee_id is None or message.employee_id not in (None, line.employee_id):
            return message
        return replace(message, employee_id=line.employee_id, employee_name=line.employee_name)

    def taken_over(self, message: Message) -> list[Standing]:
        """Note who has the line, and return its conversations if that is another employee than the last known."""
        if message.employee_id is None:
            return []
        line = self.line(message.line)
        known = line is not None and line.employee_id is not None
        another = known and self.is_another(message.line, message.employee_id, message.sent_at)
        if line is not None and known and not another and line.employee_id != message.employee_id:
            self._had.add((message.employee_id, message.line))  # who had it before
            return []
        name = message.employee_name or (line.employee_name if line is not None and not another else None)
        if line is None or not known or another or (name != line.employee_name and message.sent_at >= line.since):
            registered = line.registered if line is not None else False
            sub = line.sub_organization if line is not None and line.registered else message.sub_organization
            self.assign(Line(message.line, sub, message.employee_id, name, message.sent_at, registered))
        return self.on_line(message.line) if another else []

    def is_another(self, number: str, employee_id: str | None, at: int) -> bool:
        """Whether a line is another employee's from a time on: not of one that is older than what is known of it."""
        line = self.line(number)
        if line is None or line.employee_id is None:
            return True
        if line.employee_id == employee_id or at < line.since:
            return False
        return all(at >= (one.conversation.written_at or at) for one in self.on_line(number))

    def others(self, standing: Standing, scope: Scope, message: Message) -> list[Standing]:
        """Return a contact's other conversations that an opt-out reaches; its own line's first."""
        reached = [
            one for one in self.of_contact(message.contact)
            if one is not standing
            and (scope is Scope.ORG or one.conversation.sub_organization == standing.conversation.sub_organization)
        ]  # fmt: skip
        return sorted(reached, key=lambda one: one.line_tag != standing.line_tag)

    def any_stopped(self, message: Message) -> bool:
        """Whether any contact of a group send is opted out, on this line and channel."""
        keys = {self._tag("conversation", message.line, one, message.group): one for one in message.recipients}
        self._load("tag", list(keys))
        fresh = {self._tag("contact", one) for tag, one in keys.items() if tag not in self._standings}
        self._load_contacts([tag for tag in fresh if tag not in self._stopped])
        known = (self._standings[tag].conversation for tag in keys if tag in self._standings)
        return any(self._stopped.get(tag) for tag in fresh) or any(one.consent is Consent.OPTED_OUT for one in known)

    def on_the_line_of(self, conversation: Conversation, told: _OnLine) -> _OnLine:
        """Return a text or an event as it concerns a conversation of another line: with that line's employee."""
        if told.line == conversation.line and told.employee_id is not None:
            return told
        line = self.line(conversation.line)
        employee_id, name = (line.employee_id, line.employee_name) if line is not None else (None, None)
        told = replace(told, line=conversation.line, employee_id=employee_id, employee_name=name)
        if isinstance(told, Message) and told.group is not conversation.group:
            told = replace(told, channel=conversation.group.value, group=conversation.group)
        return told

    def line(self, number: str) -> Line | None:
        """Return who is known to have a line."""
        tag = self._tag("line", number)
        if tag not in self._lines:
            self._load_lines([tag])
        return self._lines[tag]

    def assign(self, line: Line) -> None:
        """Note who has a line from now on."""
        tag = self._tag("line", line.line)
        self._lines[tag] = line
        self._new_lines.add(tag)
        if line.employee_id is not None:
            self._had.add((line.employee_id, line.line))

    def on_line(self, number: str) -> list[Standing]:
        """Return every conversation of a line, in an order that doesn't depend on chance."""
        tag = self._tag("line", number)
        self._load("line_tag", [tag])
        return self._in_order(standing for standing in self._standings.values() if standing.line_tag == tag)

    def of_contact(self, number: str) -> list[Standing]:
        """Return every conversation of a contact, on every line and both channel groups."""
        tag = self._tag("contact", number)
        self._load("contact_tag", [tag])
        found = (standing for standing in self._standings.values() if standing.contact_tag == tag)
        return self._in_order(self._known_again(standing, number) for standing in found)

    def stopped_since(self, contact: str) -> int | None:
        """Return when a contact stopped everything, None if it didn't."""
        tag = self._tag("contact", contact)
        if tag not in self._stopped:
            self._stopped[tag] = None
            self._load_contacts([tag])
        stopped = self._stopped[tag]
        return stopped[0] if stopped is not None else None

    def stopped(self, contact: str, at: int, seq: int) -> None:
        """Note that a contact stopped everything: lines that it has no conversation with begin opted out."""
        since = self.stopped_since(contact)
        if since is None or at >= since:
            tag = self._tag("contact", contact)
            self._stopped[tag] = (at, seq)
            self._new_stops.add(tag)

    def unstop(self, contact: str, at: int) -> None:
        """Lift what a contact's stop of everything left for its number, where it is older than `at`."""
        tag = self._tag("contact", contact)
        run(
            self._tx,
            "DELETE FROM contact WHERE organization = ? AND contact_tag = ? AND stopped_at < ?",
            [self._organization, tag, at],
        )
        if (stopped := self._stopped.get(tag)) is not None and stopped[0] < at:
            self._stopped[tag] = None
            self._new_stops.discard(tag)

    def give_line(self, number: str, employee_id: str | None, employee_name: str | None, at: int) -> None:
        """Note to which employee a line was given."""
        line = self.line(number)
        if line is None or at >= line.since:
            sub_organization = line.sub_organization if line is not None else None
            registered = line is not None and line.registered
            self.assign(Line(number, sub_organization, employee_id, employee_name, at, registered))

    def by_id(self, id: str) -> list[Standing]:  # noqa: A002
        """Return a conversation by its id: one, or none."""
        self._load("id", [id])
        return [one for one in self._standings.values() if one.conversation.id == id]

    def brought_back(self, conversation: Conversation) -> Standing:
        """Return the standing of a conversation that begins with what was kept elsewhere, under the id it had there."""
        tag = self._tag("conversation", conversation.line, conversation.contact, conversation.group)
        line_tag, contact_tag = self._tag("line", conversation.line), self._tag("contact", conversation.contact)
        standing = self._standings[tag] = Standing(tag, line_tag, contact_tag, conversation)
        return standing

    def write(self) -> None:
        """Store what has changed."""
        keep(self._tx, [one for one in self._standings.values() if one.changed])
        upsert(self._tx, line_table, [self._line_row(tag) for tag in self._new_lines])
        stops = [(self._organization, tag, *since) for tag in self._new_stops if (since := self._stopped[tag])]
        upsert(self._tx, contact_table, stops)
        note_names(self._tx, self._organization, self._tags, self._names)
        for employee_id, line in self._had:
            run(
                self._tx,
                """INSERT INTO employee_line (organization, employee_tag, line_tag) VALUES (?, ?, ?)
                ON CONFLICT DO NOTHING""",
                [self._organization, self._tag("employee", employee_id), self._tag("line", line)],
            )

    def _known_again(self, standing: Standing, contact: str) -> Standing:
        """Give an erased contact's conversation its number back: who writes, or is written to, tells it anew."""
        if not standing.conversation.contact:
            standing.conversation = standing.conversation._replace(contact=contact)
        return standing

    def _tag(self, *parts: str) -> bytes:
        """Return a tag; each is asked for several times on the way of one text."""
        tag = self._tagged.get(parts)
        if tag is None:
            tag = self._tagged[parts] = self._tags(*parts)
        return tag

    def _load(self, column: str, tags: Sequence[Any]) -> None:
        condition, parameters = among(self._tx, column, tags)
        sql = f"SELECT {_CONVERSATION} FROM conversation WHERE organization = ? AND {condition}"
        for row in fetch(self._tx, sql, [self._organization, *parameters]):
            if row[1] not in self._standings:
                self._standings[row[1]] = standing_of(row)

    def _load_contacts(self, tags: Sequence[bytes]) -> None:
        if not tags:
            return
        condition, parameters = among(self._tx, "contact_tag", tags)
        sql = f"SELECT contact_tag, stopped_at, stopped_seq FROM contact WHERE organization = ? AND {condition}"
        for tag, stopped_at, stopped_seq in fetch(self._tx, sql, [self._organization, *parameters]):
            self._stopped[tag] = (stopped_at, stopped_seq)

    def _load_lines(self, tags: Sequence[bytes]) -> None:
        condition, parameters = among(self._tx, "line_tag", tags)
        sql = f"SELECT {_LINE} FROM line WHERE organization = ? AND {condition}"
        self._lines.update(dict.fromkeys(tags))
        for tag, line, sub_organization, employee_id, employee_name, since, registered in fetch(
            self._tx, sql, [self._organization, *parameters]
        ):
            self._lines[tag] = Line(line, sub_organization, employee_id, employee_name, since, bool(registered))

    def _line_row(self, tag: bytes) -> tuple[object, ...]:
        line = self._lines[tag]
        assert line is not None
        return (self._organization, tag, line.line, line.sub_organization, line.employee_id, line.employee_name,
                line.since, line.registered)  # fmt: skip

    def _in_order(self, standings: Iterable[Standing]) -> list[Standing]:
        return sorted(standings, key=lambda s: (s.conversation.line, s.conversation.contact, s.conversation.group))


def keep(tx: Connection, standings: Iterable[Standing]) -> None:
    """Store the states of conversations."""
    upsert(tx, conversation_table, [_row(standing) for standing in standings])


def pending(tx: Connection, organization: str, *, after: str = "", limit: int = 500) -> list[Standing]:
    """Return conversations whose contact was asked and has not answered, by id, from the one after `after` on."""
    sql = f"""SELECT {_CONVERSATION} FROM conversation WHERE organization = ? AND consent = ? AND id > ?
    ORDER BY id LIMIT ?"""
    return [standing_of(row) for row in fetch(tx, sql, [organization, Consent.PENDING.value, after, limit])]


def _row(standing: Standing) -> tuple[object, ...]:
    told = standing.conversation
    return (told.organization, standing.tag, told.id, told.sub_organization, told.group.value, standing.line_tag,
            standing.contact_tag, told.line, told.contact, told.consent.value, told.version, standing.request_seq,
            canonical(told.state()))  # fmt: skip


def standing_of(row: Sequence[Any]) -> Standing:
    """Return a stored conversation; its row has the table's order of columns."""
    (organization, tag, id_, sub_organization, channel, line_tag, contact_tag, line, contact, _, version, request_seq,
     state) = row  # fmt: skip
    told = begin(id_, organization, sub_organization, line or "", contact or "", Group(channel))
    return Standing(tag, line_tag, contact_tag, told.restored(version, orjson.loads(state)), request_seq)


def find_standings(
    tx: Connection, tags: Tags, organization: str, contact: str, *, line: str | None = None, group: str | None = None
) -> list[Standing]:
    """Return a contact's conversations with an organization, by line and channel group."""
    sql = f"SELECT {_CONVERSATION} FROM conversation WHERE organization = ? AND contact_tag = ?"
    parameters: list[Any] = [organization, tags("contact", contact)]
    if line is not None:
        sql += " AND line_tag = ?"
        parameters.append(tags("line", line))
    if group is not None:
        sql += " AND channel = ?"
        parameters.append(group)
    found = [standing_of(row) for row in fetch(tx, sql, parameters)]
    return sorted(found, key=lambda one: (one.conversation.line, one.conversation.group))


def page_standings(tx: Connection, organization: str, after: str, limit: int) -> list[Standing]:
    """Return conversations by id, from the one after `after` on."""
    sql = f"SELECT {_CONVERSATION} FROM conversation WHERE organization = ? AND id > ? ORDER BY id LIMIT ?"
    return [standing_of(row) for row in fetch(tx, sql, [organization, after, limit])]


def conversation_ids(tx: Connection, organization: str, column: str, tags: Sequence[bytes]) -> list[str]:
    """Return the ids of the conversations that have one of these tags in `contact_tag` or `line_tag`."""
    found: list[str] = []
    for at in range(0, len(tags), 1_000):
        condition, parameters = among(tx, column, tags[at : at + 1_000])
        sql = f"SELECT id FROM conversation WHERE organization = ? AND {condition}"
        found += [row[0] for row in fetch(tx, sql, [organization, *parameters])]
    return found


def lines_of_employee(tx: Connection, tags: Tags, organization: str, employee_id: str) -> list[bytes]:
    """Return the tags of the lines that an employee is known to have had."""
    sql = "SELECT line_tag FROM employee_line WHERE organization = ? AND employee_tag = ?"
    return [bytes(row[0]) for row in fetch(tx, sql, [organization, tags("employee", employee_id)])]


_CONVERSATION = ", ".join(column.name for column in conversation_table.columns)
_LINE = "line_tag, line, sub_organization, employee_id, employee_name, since, registered"
