"""One organization's texts of one transaction: looked up, decided in order, written down together."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, String, Table

from consent.answers import Told, answer, event_answer, told
from consent.canonical import parse_entry_id, parse_timestamp
from consent.contacts import own_lines, reach_of
from consent.conversations import Standing
from consent.database import among, fetch, insert, metadata
from consent.engine import Decision, close, decide
from consent.events import (
    Event,
    Happened,
    handed_over,
    read_event,
    reassign_line,
)
from consent.imports import Imported, Outcome, read_import
from consent.kinds import Kind
from consent.ledger import read_range
from consent.messages import MessageError, read_message
from consent.organizations import Directory
from consent.reviews import (
    Closing,
    Review,
    ReviewClosedError,
    closing_of,
    conclude,
    conclude_beside,
    given_away,
)
from consent.tags import Tags
from consent.values import Consent, Message
from sync.events import Events
from sync.imports import Imports, import_answer
from sync.writing import Writing

inbox_table = Table(
    "inbox",
    metadata,
    Column("organization", String(32), primary_key=True),
    # Keyed tags of the message's id and of what it said: nothing personal is kept twice. The latter is empty where the
    # entries were brought back from an archive, which doesn't say what came in: the id alone counts then.
    Column("id_tag", LargeBinary, primary_key=True),
    Column("content_tag", LargeBinary, nullable=False),
    # The entries it wrote: a repeat is answered from them.
    Column("first_seq", BigInteger, nullable=False),
    Column("entries", Integer, nullable=False),
)


_OPTED_OUT = Consent.OPTED_OUT


class Group:
    """Texts and events of one ledger, in the order of their arrival."""

    def __init__(self, tx: Connection, organization: str, directory: Directory, tags: Tags, now: int) -> None:
        self._tx, self._organization, self._directory, self._tags, self._now = tx, organization, directory, tags, now
        self._writing = Writing(tx, organization, tags, now)
        self._standings = self._writing.standings
        self._policies = directory.policies(tx, organization, self._writing.settings_size)
        self._imports = Imports(tx, organization, self._policies, self._standings, tags)
        self._events = Events(self._writing, self._policies, organization)
        self._inbox: list[tuple[Any, ...]] = []

    def take(self, objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Decide and write; answers in order. A fault in one text is its own answer."""
        read = [self._read(asked) for asked in objects]
        id_tags = [self._tags("id", asked["id"]) for asked in objects]
        known = self._known(id_tags)
        self._standings.load(message for message in read if isinstance(message, Message))
        self._imports.load(message for message in read if isinstance(message, Event))
        answers = []
        for asked, message, id_tag in zip(objects, read, id_tags, strict=True):
            if isinstance(message, MessageError):
                answers.append(_error(asked["id"], message.code, message.detail))
                continue
            content_tag = self._tags.of(b"content\x00" + _content(asked, message))
            before = known.get(id_tag)
            if before is None:
                first = self._writing.next_seq
                try:
                    given = self._taken(message)
                except MessageError as error:  # before anything was written of it
                    answers.append(_error(asked["id"], error.code, error.detail))
                    continue
                row = (self._organization, id_tag, content_tag, first, self._writing.next_seq - first)
                self._inbox.append(row)
                known[id_tag] = (content_tag, first, row[4], given)
                answers.append(given)
            elif before[0] not in (content_tag, b""):
                answers.append(
                    _error(asked["id"], "id_conflict", "this id was used for another message: ids are used once")
                )
            else:
                answers.append(before[3] or self._again(message, before[1], before[2]))
        self._write()
        return answers

    def close_review(self, review: Review, closing: Closing) -> dict[str, Any]:
        """Close a review; the same outcome again is answered as the first time, another raises ReviewClosedError."""
        # A review is closed once, whoever does it and in whatever words: that is a message id, and what it said.
        id_tag, content_tag = self._tags("review", review.id), self._tags("content", closing.outcome.value)
        if (before := self._known([id_tag]).get(id_tag)) is not None:
            if before[0] not in (content_tag, b""):
                raise ReviewClosedError(f"this review was closed before, not as {closing.outcome}: that is final")
            written = [told(entry) for entry in read_range(self._tx, self._organization, before[1], before[2])]
        else:
            first = self._writing.next_seq
            written = self._closed(review, closing)
            self._inbox.append((self._organization, id_tag, content_tag, first, self._writing.next_seq - first))
            self._write()
        body = written[0].body
        told_of = {"outcome": body["outcome"], "reason": body["reason"]}
        return event_answer(review.id, "review_closed", written) | told_of

    def _read(self, asked: Mapping[str, Any]) -> Message | Event | MessageError:
        try:
            if isinstance(asked, Imported):
                return read_import(asked, self._now, self._policies[asked["org"]])
            if "event" in asked:
                return read_event(asked, self._now, self._policies[asked["org"]])
            return read_message(asked, self._now, self._policies[asked["org"]])
        except MessageError as error:
            return error

    def _text_tag(self, text: str) -> str:
        return self._tags("text", text)[:9].hex()

    def _known(self, id_tags: Sequence[bytes]) -> dict[bytes, tuple[bytes, int, int, dict[str, Any] | None]]:
        condition, parameters = among(self._tx, "id_tag", id_tags)
        sql = f"SELECT id_tag, content_tag, first_seq, entries FROM inbox WHERE organization = ? AND {condition}"
        rows = fetch(self._tx, sql, [self._organization, *parameters])
        return {tag: (content_tag, first, count, None) for tag, content_tag, first, count in rows}

    def _taken(self, message: Message | Event) -> dict[str, Any]:
        """Write down what comes of a text, an event or an imported row; return its answer."""
        if isinstance(message, Message):
            return self._decided(message)
        if message.happened is Happened.IMPORTED:
            return self._imported(message)
        return event_answer(message.id, message.happened.value, self._events.write_down(message))

    def _decided(self, message: Message) -> dict[str, Any]:
        """Decide about a text and seal what is to be written of it; return its answer."""
        message = self._standings.on_its_line(message)
        policy = self._policies[message.sub_organization or self._organization]
        written: list[Told] = []
        for taken_over in self._standings.taken_over(message):
            given = reassign_line(taken_over.conversation, handed_over(message), policy)
            written += self._writing.keep(taken_over, given)
        standing = self._standings.of(message)
        group_stopped = len(message.recipients) > 1 and self._standings.any_stopped(message)
        conversation = standing.conversation
        contacts, within = self._standings.contacts, conversation.sub_organization
        stopped_at = None
        if conversation.consent is _OPTED_OUT:
            stopped_at = contacts.stopped_since(message.contact, own_lines(within))
        decision = decide(
            conversation, message, policy, tag=self._text_tag, group_stopped=group_stopped, stopped_at=stopped_at
        )
        others = self._standings.others(standing, decision.closes, message) if decision.closes is not None else []
        closed = [one.conversation.id for one in others if one.conversation.consent is not _OPTED_OUT]
        written += self._writing.keep(standing, decision, closed)
        self._writing.remember_text(standing, message.id)
        told_lines = {message.line} if decision.conversation.consent is not conversation.consent else set()
        for other in others:
            told = self._standings.on_the_line_of(other.conversation, message)
            notify = told.line not in told_lines  # an employee is told once, whatever the channel
            beside = close(other.conversation, told, decision, policy, notify=notify)
            told_lines |= {told.line} if beside.records else set()
            written += self._writing.keep(other, beside)
        if decision.closes is not None:
            reach = reach_of(decision.closes, within)
            contacts.stop(message.contact, reach, message.sent_at, self._writing.next_seq - 1)
        return answer(message.id, written, self._writing.released(written))

    def _imported(self, event: Event) -> dict[str, Any]:
        """Write down what an imported row does; return its answer."""
        met = self._imports.meet(event)
        written = [told for standing, decision in met.decisions for told in self._writing.keep(standing, decision)]
        if met.everywhere is not None:
            written += self._writing.note(met.everywhere)
        if event.contact is not None:
            self._standings.contacts.stop(event.contact, met.stops, event.at, self._writing.next_seq - 1)
        return import_answer(event.id, met.outcome, written, self._writing.released(written))

    def _closed(self, review: Review, closing: Closing) -> list[Told]:
        """Write down what a person found of a review, in each conversation that it concerns."""
        [standing] = self._standings.by_id(review.conversation)
        conversation = standing.conversation
        of_contact = [standing, *self._standings.of_contact(conversation.contact)]
        ids = list({one.conversation.id for one in of_contact})
        reassigned = given_away(self._tx, self._organization, ids, review.opened_at)
        policy = self._policies[conversation.sub_organization or self._organization]
        now = self._standings.on_the_line_of(conversation, closing_of(conversation, closing))
        decision = conclude(conversation, review, closing, now, policy, reassigned=reassigned)
        besides: list[tuple[Standing, Decision]] = []
        if decision.closes is not None and conversation.contact:
            told_lines = {conversation.line}
            for other in self._standings.others(standing, decision.closes, now):
                there = other.conversation
                policy = self._policies[there.sub_organization or self._organization]
                now = self._standings.on_the_line_of(there, closing_of(there, closing))
                notify = there.line not in told_lines
                beside = conclude_beside(there, review, closing, now, policy, decision, notify=notify)
                told_lines |= {there.line} if beside.records else set()
                besides.append((other, beside))
        closed = [one.conversation.id for one, beside in besides if beside.records]
        written = self._writing.keep(standing, decision, closed)
        reach = reach_of(decision.closes, conversation.sub_organization)
        if reach is not None and conversation.contact:
            [decided] = [one for one in written if one.kind == Kind.DECISION]
            self._standings.contacts.stop(conversation.contact, reach, review.opened_at, parse_entry_id(decided.id)[1])
        for other, beside in besides:
            written += self._writing.keep(other, beside)
        return written

    def _again(self, message: Message | Event, first: int, count: int) -> dict[str, Any]:
        """Rebuild the answer to a repeated message from the entries that it wrote."""
        written = [told(entry) for entry in read_range(self._tx, self._organization, first, count)]
        if isinstance(message, Event) and message.happened is Happened.IMPORTED:
            return import_answer(message.id, Outcome.ALREADY_IMPORTED, written, self._writing.released(written))
        if isinstance(message, Event):
            return event_answer(message.id, message.happened.value, written)
        return answer(message.id, written, self._writing.released(written))

    def _write(self) -> None:
        self._writing.write()
        insert(self._tx, inbox_table, self._inbox)


def _content(asked: Mapping[str, Any], message: Message | Event) -> bytes:
    """Return what a message says, normalized: numbers in E.164, times as instants, never the time of receipt."""
    said = {name: value for name, value in asked.items() if value is not None}
    said |= {"line": message.line, "contact": message.contact}
    if isinstance(message, Message):
        said["group"] = sorted(message.recipients)
        if "sent_at" in said:  # where it is ahead, the time of receipt is what counts
            ahead = "clock_ahead" in message.flags
            said["sent_at"] = parse_timestamp(said["sent_at"]) if ahead else message.sent_at
    elif isinstance(said.get("at"), str):
        said["at"] = parse_timestamp(said["at"])
    try:
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # halves of surrogate pairs, or integers without end
        return json.dumps(said, sort_keys=True, separators=(",", ":"), default=str).encode()


def _error(message_id: str, code: str, detail: str) -> dict[str, Any]:
    return {"id": message_id, "error": {"code": code, "detail": detail}}
