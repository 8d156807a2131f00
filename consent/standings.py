"""The conversations that one transaction meets in one ledger, with their contacts and lines."""

import secrets
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Connection

from consent.contacts import Contacts, own_lines
from consent.conversation import Conversation, begin
from consent.conversations import Standing, keep, load_standings
from consent.events import Event
from consent.names import note_names
from consent.owners import Line, Owners
from consent.tags import Tags
from consent.values import Consent, Message, Scope

_OnLine = TypeVar("_OnLine", Message, Event)


class Standings:
    """The conversations, contacts and lines that one transaction meets in one ledger: loaded and written together."""

    def __init__(self, tx: Connection, organization: str, tags: Tags) -> None:
        self._tx, self._organization = tx, organization
        # Each tag is asked for several times on the way of one text. What remembers them must not refer to us: of a
        # circle everything that a transaction met would stay until the garbage collector comes, and it would take 20
        # to 40 ms of somebody's turn.
        self._tag = cache(tags)
        self.contacts, self.owners = Contacts(tx, organization, self._tag), Owners(tx, organization, self._tag)
        self._standings: dict[bytes, Standing] = {}
        #: What contacts are called, by (tag, name), and when.
        self._names: dict[tuple[bytes, str], int] = {}

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
        self.contacts.load(asked)
        self.owners.load(list({self._tag("line", m.line) for m in keys.values()}))

    def of(self, message: Message) -> Standing:
        """Return the conversation that a message belongs to, begun now if there is none."""
        tag = self._tag("conversation", message.line, message.contact, message.group)
        standing = self._standings.get(tag)
        if standing is None:
            contact_tag = self._tag("contact", message.contact)
            stopped_at = self.contacts.stopped_since(message.contact, own_lines(message.sub_organization))
            conversation = begin(
                _new_id(message.received_at), self._organization, message.sub_organization, message.line,
                message.contact, message.group, stopped_at=stopped_at,
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
        line = self.owners.line(message.line)
        if line is None:
            return message
        if message.sub_organization is None and line.registered and line.sub_organization is not None:
            message = message._replace(sub_organization=line.sub_organization)
        if message.employee_id is not None and message.employee_name is not None:
            return message
        if line.employee_id is None or message.employee_id not in (None, line.employee_id):
            return message
        return message._replace(employee_id=line.employee_id, employee_name=line.employee_name)

    def taken_over(self, message: Message) -> list[Standing]:
        """Note who has the line, and return its conversations if that is another employee than the last known."""
        if message.employee_id is None:
            return []
        line = self.owners.line(message.line)
        known = line is not None and line.employee_id is not None
        another = known and self.is_another(message.line, message.employee_id, message.sent_at)
        if line is not None and known and not another and line.employee_id != message.employee_id:
            self.owners.had(message.employee_id, message.line)  # who had it before
            return []
        name = message.employee_name or (line.employee_name if line is not None and not another else None)
        if line is None or not known or another or (name != line.employee_name and message.sent_at >= line.since):
            registered = line.registered if line is not None else False
            sub = line.sub_organization if line is not None and line.registered else message.sub_organization
            self.owners.assign(Line(message.line, sub, message.employee_id, name, message.sent_at, registered))
        return self.on_line(message.line) if another else []

    def is_another(self, number: str, employee_id: str | None, at: int) -> bool:
        """Whether a line is another employee's from a time on: not of one that is older than what is known of it."""
        line = self.owners.line(number)
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
        fresh = [one for tag, one in keys.items() if tag not in self._standings]
        self.contacts.load([self._tag("contact", one) for one in fresh])
        reach = own_lines(message.sub_organization)
        known = (self._standings[tag].conversation for tag in keys if tag in self._standings)
        stopped = any(self.contacts.stopped_since(one, reach) is not None for one in fresh)
        return stopped or any(one.consent is Consent.OPTED_OUT for one in known)

    def on_the_line_of(self, conversation: Conversation, told: _OnLine) -> _OnLine:
        """Return a text or an event as it concerns a conversation of another line: with that line's employee."""
        if told.line == conversation.line and told.employee_id is not None:
            return told
        line = self.owners.line(conversation.line)
        employee_id, name = (line.employee_id, line.employee_name) if line is not None else (None, None)
        told = told._replace(line=conversation.line, employee_id=employee_id, employee_name=name)
        if isinstance(told, Message) and told.group is not conversation.group:
            told = told._replace(channel=conversation.group.value, group=conversation.group)
        return told

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
        self.owners.write()
        self.contacts.write()
        note_names(self._tx, self._organization, self._tag, self._names)

    def _known_again(self, standing: Standing, contact: str) -> Standing:
        """Give an erased contact's conversation its number back: who writes, or is written to, tells it anew."""
        if not standing.conversation.contact:
            standing.conversation = standing.conversation._replace(contact=contact)
        return standing

    def _load(self, column: str, tags: Sequence[Any]) -> None:
        for standing in load_standings(self._tx, self._organization, column, tags):
            self._standings.setdefault(standing.tag, standing)

    def _in_order(self, standings: Iterable[Standing]) -> list[Standing]:
        return sorted(standings, key=lambda s: (s.conversation.line, s.conversation.contact, s.conversation.group))


def _new_id(at: int) -> str:
    """Return the id of a conversation that begins now, `at` in microseconds since 1970: its second, 64 random bits."""
    # Conversations of one time stand side by side in the indexes. Where all of an id is random, a commit writes a page
    # for each conversation that it meets.
    return f"{at // 1_000_000:08x}{secrets.token_hex(8)}"
