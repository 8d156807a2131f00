"""One organization's texts of one transaction: looked up, decided in order, written down together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

import orjson
from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, String, Table

from consent.answers import Told, answer, event_answer, releases, told
from consent.business_days import due_after
from consent.canonical import entry_id, parse_entry_id, parse_timestamp, timestamp
from consent.conversation import begin
from consent.conversations import Standing, Standings
from consent.database import among, fetch, insert, metadata
from consent.engine import Decision, close, decide
from consent.entry import Entry
from consent.events import (
    Event,
    Happened,
    handed_over,
    is_late,
    note_delivery,
    read_event,
    reassign_line,
    reassign_number,
    reassigned,
    revoke,
    revoke_everywhere,
)
from consent.imports import Imported, Outcome, read_import
from consent.kinds import Kind
from consent.ledger import Appending, lock, read_conversation, read_entry, read_range
from consent.messages import MessageError, read_message
from consent.organizations import Directory
from consent.policy import Policy
from consent.reviews import (
    Closing,
    Review,
    ReviewClosedError,
    closing_of,
    conclude,
    conclude_beside,
    given_away,
    note_reviews,
)
from consent.tags import Tags
from consent.values import Consent, Message, Record, Scope
from consent.values import Group as Channels
from sync.imports import Imports, import_answer

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
_CONFIRMATIONS = (".accepted.contact", ".rejected.contact")


class Group:
    """Texts and events of one ledger, in the order of their arrival."""

    def __init__(self, tx: Connection, organization: str, directory: Directory, tags: Tags, now: int) -> None:
        self._tx, self._organization, self._directory, self._tags, self._now = tx, organization, directory, tags, now
        self._appending = Appending(tx, lock(tx, organization), now)
        self._policies = directory.policies(tx, organization, self._appending.head.lanes["audit"])
        self._standings = Standings(tx, organization, tags)
        self._imports = Imports(tx, organization, self._policies, self._standings, tags)
        self._inbox: list[tuple[Any, ...]] = []
        self._reviews: list[Entry] = []
        #: Message ids of this group's texts by (conversation, version): held ones may be released in the same group.
        self._texts: dict[tuple[str, int], str] = {}

    def take(self, objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Decide and write; answers in order. A fault in one text is its own answer."""
        read = [self._read(asked) for asked in objects]
        # Half a surrogate pair in an id has its tag, too; its answer says what is wrong with it.
        id_tags = [self._tags("id", asked["id"].encode("utf-8", "surrogatepass")) for asked in objects]
        known = self._known(id_tags)
        self._standings.load(message for message in read if isinstance(message, Message))
        self._imports.load(message for message in read if isinstance(message, Event))
        answers = []
        for asked, message, id_tag in zip(objects, read, id_tags, strict=True):
            if isinstance(message, MessageError):
                answers.append(_error(asked["id"], message.code, message.detail))
                continue
            content_tag = self._tags("content", _content(asked, message))
            before = known.get(id_tag)
            if before is None:
                first = self._appending.next_seq
                try:
                    given = self._decided(message) if isinstance(message, Message) else self._happened(message)
                except MessageError as error:  # before anything was written of it
                    answers.append(_error(asked["id"], error.code, error.detail))
                    continue
                row = (self._organization, id_tag, content_tag, first, self._appending.next_seq - first)
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
            first = self._appending.next_seq
            written = self._closed(review, closing)
            self._inbox.append((self._organization, id_tag, content_tag, first, self._appending.next_seq - first))
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

    def _decided(self, message: Message) -> dict[str, Any]:
        """Decide about a text and seal what is to be written of it; return its answer."""
        message = self._standings.on_its_line(message)
        policy = self._policies[message.sub_organization or self._organization]
        written: list[Told] = []
        for taken_over in self._standings.taken_over(message):
            written += self._keep(taken_over, reassign_line(taken_over.conversation, handed_over(message), policy))
        standing = self._standings.of(message)
        group_stopped = len(message.recipients) > 1 and self._standings.any_stopped(message)
        conversation = standing.conversation
        stopped_at = self._standings.stopped_since(message.contact) if conversation.consent is _OPTED_OUT else None
        decision = decide(
            conversation, message, policy, tag=self._text_tag, group_stopped=group_stopped, stopped_at=stopped_at
        )
        others = self._standings.others(standing, decision.closes, message) if decision.closes is not None else []
        closed = [one.conversation.id for one in others if one.conversation.consent is not Consent.OPTED_OUT]
        written += self._keep(standing, decision, closed)
        self._texts[standing.conversation.id, standing.conversation.version] = message.id
        told_lines = {message.line} if decision.conversation.consent is not conversation.consent else set()
        for other in others:
            told = self._standings.on_the_line_of(other.conversation, message)
            notify = told.line not in told_lines  # an employee is told once, whatever the channel
            beside = close(other.conversation, told, decision, policy, notify=notify)
            told_lines |= {told.line} if beside.records else set()
            written += self._keep(other, beside)
        if decision.closes is Scope.ORG:
            self._standings.stopped(message.contact, message.sent_at, self._appending.next_seq - 1)
        return answer(message.id, written, self._released(written))

    def _happened(self, event: Event) -> dict[str, Any]:
        """Write down what an event does to each conversation that it concerns; return its answer."""
        match event.happened:
            case Happened.NUMBER_REASSIGNED:
                written = self._number_reassigned(event, event.contact or "")
            case Happened.LINE_REASSIGNED:
                written = self._line_reassigned(event, event.line or "")
            case Happened.DELIVERY_STATUS:
                written = self._delivery_noted(event)
            case Happened.REVOKED:
                written = self._revoked(event, event.contact or "")
            case Happened.IMPORTED:
                return self._imported(event)
            case _:
                assert_never(event.happened)
        return event_answer(event.id, event.happened.value, written)

    def _number_reassigned(self, event: Event, contact: str) -> list[Told]:
        written: list[Told] = []
        for standing in self._standings.of_contact(contact):
            here, policy = self._here(standing, event)
            written += self._keep(standing, reassign_number(standing.conversation, here, policy))
        self._standings.unstop(contact, event.at)
        return written or self._noted(reassigned(event))

    def _line_reassigned(self, event: Event, line: str) -> list[Told]:
        written: list[Told] = []
        if self._standings.is_another(line, event.employee_id, event.at):
            for standing in self._standings.on_line(line):
                here, policy = self._here(standing, event)
                written += self._keep(standing, reassign_line(standing.conversation, here, policy))
            self._standings.give_line(line, event.employee_id, event.employee_name, event.at)
        return written or self._noted(reassigned(event))

    def _delivery_noted(self, event: Event) -> list[Told]:
        assert event.entry is not None
        entry = self._entry(*event.entry)
        concerned = self._standings.by_id(entry.conversation) if entry is not None and entry.conversation else []
        if not concerned:
            raise MessageError("invalid_message", "`entry` names no message of this organization")
        [standing] = concerned
        here, policy = self._here(standing, event)
        outstanding = standing.request_seq == event.entry[1]
        return self._keep(standing, note_delivery(standing.conversation, here, policy, outstanding=outstanding))

    def _revoked(self, event: Event, contact: str) -> list[Told]:
        """Close each conversation that a revocation reaches; the contact is told once, each line's employee once."""
        event, reached = self._reached(event)
        open_ = [one for one in reached if one.conversation.consent is not _OPTED_OUT]
        closing = [one for one in open_ if not is_late(one.conversation, event)]
        # Where the line that it was said of is closed already, the contact was told.
        told = event.line is not None and all(one.conversation.line != event.line for one in closing)
        untold = set[str]() if told else {"contact"}
        written: list[Told] = []
        told_lines = set[str]()
        main = next(iter(reached), None)
        for standing in reached:
            here, policy = self._here(standing, event)
            tell = {*untold, *(() if here.line in told_lines else ("employee",))}
            others = [one.conversation.id for one in closing if one is not standing] if standing is main else []
            about = None if main is None or standing is main else main.conversation.id
            decision = revoke(standing.conversation, here, policy, main=about, tell=tuple(tell), closed=others)
            if standing in closing:
                untold = set[str]()
                told_lines.add(here.line or "")
            written += self._keep(standing, decision)
        if main is None:  # no conversation to close: it holds for every line that has none yet
            written += self._noted(revoke_everywhere(event))
        if main is None or event.scope is Scope.ORG:
            self._standings.stopped(contact, event.at, self._appending.next_seq - 1)
        return written

    def _reached(self, event: Event) -> tuple[Event, list[Standing]]:
        """Return a revocation with its scope, and the conversations that it reaches, the one it was said of first.

        Said of no line, it is meant for all of them, those to come too. A line that the contact has no conversation
        with begins one, opted out.
        """
        of_contact = self._standings.of_contact(event.contact or "")
        named = [
            one for one in of_contact
            if event.line in (None, one.conversation.line) and event.group in (None, one.conversation.group)
        ]  # fmt: skip
        if event.line is None:
            within = event.sub_organization
            scope = event.scope or (Scope.ORG if event.group is None else Scope.PAIR)
        else:
            named = named or [self._standings.of(self._standings.on_its_line(_first_text(event)))]
            within = named[0].conversation.sub_organization
            scope = event.scope or self._policies[within or self._organization].scope
        if scope is Scope.SUB_ORG:
            inside = [one for one in of_contact if one.conversation.sub_organization == within]
            named = [one for one in named if one.conversation.sub_organization == within]
        else:
            inside = of_contact if scope is Scope.ORG else []
        return replace(event, scope=scope), [*named, *(one for one in inside if one not in named)]

    def _here(self, standing: Standing, event: Event) -> tuple[Event, Policy]:
        """Return an event as it concerns one conversation, with that line's employee, and the policy that rules it."""
        policy = self._policies[standing.conversation.sub_organization or self._organization]
        return self._standings.on_the_line_of(standing.conversation, event), policy

    def _noted(self, record: Record) -> list[Told]:
        """Write down what belongs to no conversation."""
        return _told([record], self._appending.add([record]))

    def _imported(self, event: Event) -> dict[str, Any]:
        """Write down what an imported row does; return its answer."""
        met = self._imports.meet(event)
        written = [told for standing, decision in met.decisions for told in self._keep(standing, decision)]
        if met.everywhere is not None:
            written += self._noted(met.everywhere)
        if met.stops and event.contact is not None:
            self._standings.stopped(event.contact, event.at, self._appending.next_seq - 1)
        return import_answer(event.id, met.outcome, written, self._released(written))

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
        written = self._keep(standing, decision, [one.conversation.id for one, beside in besides if beside.records])
        if decision.closes is Scope.ORG and conversation.contact:
            [decided] = [one for one in written if one.kind == Kind.DECISION]
            self._standings.stopped(conversation.contact, review.opened_at, parse_entry_id(decided.id)[1])
        for other, beside in besides:
            written += self._keep(other, beside)
        return written

    def _keep(self, standing: Standing, decision: Decision, closed: Sequence[str] = ()) -> list[Told]:
        """Seal a decision's records, and note the state that they lead to."""
        first = self._appending.next_seq
        made = next((first + at for at, record in enumerate(decision.records) if record.kind is Kind.DECISION), None)
        records = [self._resolved(standing, record, closed, made) for record in decision.records]
        entries = self._appending.add(records)
        for record, entry in zip(records, entries, strict=True):
            if record.kind is Kind.AUTO_MESSAGE and record.body["template"].endswith("request.contact"):
                standing.request_seq = entry.seq
            elif record.kind is Kind.REVIEW:
                self._reviews.append(entry)
        standing.conversation, standing.changed = decision.conversation, standing.changed or bool(records)
        return _told(records, entries)

    def _entry(self, organization: str, seq: int) -> Entry | None:
        """Return an entry of this ledger, also one that this group is about to write."""
        if organization != self._organization:
            return None
        new = seq - self._appending.next_seq + len(self._appending.entries)
        if 0 <= new < len(self._appending.entries):
            return self._appending.entries[new]
        return read_entry(self._tx, organization, seq)

    def _resolved(self, standing: Standing, record: Record, closed: Sequence[str], made: int | None) -> Record:
        """Say in a record what only the ledger and the calendar know.

        Of a decision, the entry of the request that it answers and the other conversations that it closed; of its
        confirmation, the entry of the decision `made` and how many seconds after its receipt; of a review, when it
        is due.
        """
        if record.kind is Kind.AUTO_MESSAGE:
            if made is None or not record.body["template"].endswith(_CONFIRMATIONS):
                return record
            after = (self._appending.recorded_at - self._now) // 1_000_000
            confirms = {"confirms": entry_id(self._organization, made), "seconds_after": after}
            return record._replace(body={**record.body, **confirms})
        if record.kind is Kind.REVIEW and "due_at" not in record.body:
            return record._replace(body={**record.body, "due_at": timestamp(due_after(record.occurred_at))})
        if record.kind is not Kind.DECISION:
            return record
        body = dict(record.body)
        if "answers" in body:
            seq = standing.request_seq
            body["answers"] = None if seq is None else entry_id(self._organization, seq)
        if closed:
            body["closed"] = list(closed)
        return record._replace(body=body)

    def _released(self, written: Sequence[Told]) -> list[str]:
        """Return the message ids of the held texts that these entries release, in order."""
        ids = []
        for conversation, version in releases(written):
            known = self._texts.get((conversation, version))
            ids.append(known if known is not None else self._text_id(conversation, version))
        return [one for one in ids if one is not None]

    def _text_id(self, conversation: str, version: int) -> str | None:
        for entry in read_conversation(self._tx, self._organization, conversation, [version]):
            if entry.kind == Kind.MESSAGE:
                return entry.revealed().get("message_id")  # None where it was lawfully erased
        return None

    def _again(self, message: Message | Event, first: int, count: int) -> dict[str, Any]:
        """Rebuild the answer to a repeated message from the entries that it wrote."""
        written = [told(entry) for entry in read_range(self._tx, self._organization, first, count)]
        if isinstance(message, Event) and message.happened is Happened.IMPORTED:
            return import_answer(message.id, Outcome.ALREADY_IMPORTED, written, self._released(written))
        if isinstance(message, Event):
            return event_answer(message.id, message.happened.value, written)
        return answer(message.id, written, self._released(written))

    def _write(self) -> None:
        self._appending.write()
        insert(self._tx, inbox_table, self._inbox)
        if self._reviews:
            note_reviews(self._tx, self._reviews)
        self._standings.write()


def _first_text(event: Event) -> Message:
    """Return the empty text by which the conversation that an event names is found, or begun."""
    return event.about(
        begin("", event.organization, event.sub_organization, event.line or "", event.contact or "",
              event.group or Channels.TEXT)
    )  # fmt: skip


def _told(records: Sequence[Record], entries: Sequence[Entry]) -> list[Told]:
    return [
        Told(entry.id, entry.kind, entry.conversation, entry.version, record.body, record.values)
        for record, entry in zip(records, entries, strict=True)
    ]


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
