"""One organization's texts of one transaction: looked up, decided in order, written down together."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Integer, LargeBinary, String, Table

from consent.answers import Told, answer, releases, told
from consent.canonical import entry_id, parse_timestamp
from consent.conversations import Standing, Standings
from consent.database import among, insert, metadata, run
from consent.engine import Decision, close, decide, reassign_line
from consent.kinds import Kind
from consent.ledger import Appending, lock, read_conversation, read_range
from consent.messages import MessageError, read_message
from consent.organizations import Directory
from consent.tags import Tags
from consent.values import Consent, Message, Record, Scope

inbox_table = Table(
    "inbox",
    metadata,
    Column("organization", String(32), primary_key=True),
    # Keyed tags of the message's id and of what it said: nothing personal is kept twice.
    Column("id_tag", LargeBinary, primary_key=True),
    Column("content_tag", LargeBinary, nullable=False),
    # The entries it wrote: a repeat is answered from them.
    Column("first_seq", BigInteger, nullable=False),
    Column("entries", Integer, nullable=False),
)


class Group:
    """Texts and events of one ledger, in the order of their arrival."""

    def __init__(self, tx: Connection, organization: str, directory: Directory, tags: Tags, now: int) -> None:
        self._tx, self._organization, self._directory, self._tags, self._now = tx, organization, directory, tags, now
        self._appending = Appending(tx, lock(tx, organization), now)
        self._policies = directory.policies(tx, organization, self._appending.head.lanes["audit"])
        self._standings = Standings(tx, organization, tags)
        self._inbox: list[tuple[Any, ...]] = []
        #: Message ids of this group's texts by (conversation, version): held ones may be released in the same group.
        self._texts: dict[tuple[str, int], str] = {}

    def take(self, objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Decide and write; answers in order. A fault in one text is its own answer."""
        read = [self._read(asked) for asked in objects]
        id_tags = [self._tags("id", asked["id"]) for asked in objects]
        known = self._known(id_tags)
        self._standings.load(message for message in read if isinstance(message, Message))
        answers = []
        for asked, message, id_tag in zip(objects, read, id_tags, strict=True):
            if isinstance(message, MessageError):
                answers.append(_error(asked["id"], message.code, message.detail))
                continue
            content_tag = self._tags("content", _content(asked, message))
            before = known.get(id_tag)
            if before is None:
                first = self._appending.next_seq
                given = self._decided(message)
                row = (self._organization, id_tag, content_tag, first, self._appending.next_seq - first)
                self._inbox.append(row)
                known[id_tag] = (content_tag, first, row[4], given)
                answers.append(given)
            elif before[0] != content_tag:
                answers.append(
                    _error(asked["id"], "id_conflict", "this id was used for another message: ids are used once")
                )
            else:
                answers.append(before[3] or self._again(asked["id"], before[1], before[2]))
        self._write()
        return answers

    def _read(self, asked: Mapping[str, Any]) -> Message | MessageError:
        try:
            return read_message(asked, self._now, self._policies[asked["org"]])
        except MessageError as error:
            return error

    def _known(self, id_tags: Sequence[bytes]) -> dict[bytes, tuple[bytes, int, int, dict[str, Any] | None]]:
        condition, parameters = among(self._tx, "id_tag", id_tags)
        sql = f"SELECT id_tag, content_tag, first_seq, entries FROM inbox WHERE organization = ? AND {condition}"
        rows = run(self._tx, sql, [self._organization, *parameters])
        return {bytes(row.id_tag): (bytes(row.content_tag), row.first_seq, row.entries, None) for row in rows}

    def _decided(self, message: Message) -> dict[str, Any]:
        """Decide about a text and seal what is to be written of it; return its answer."""
        policy = self._policies[message.sub_organization or self._organization]
        message = self._standings.with_employee(message)
        written: list[Told] = []
        for taken_over in self._standings.taken_over(message):
            written += self._keep(taken_over, reassign_line(taken_over.conversation, message, policy))
        standing = self._standings.of(message)
        decision = decide(standing.conversation, message, policy)
        others = self._standings.others(standing, decision.closes, message) if decision.closes is not None else []
        closed = [one.conversation.id for one in others if one.conversation.consent is not Consent.OPTED_OUT]
        written += self._keep(standing, decision, closed)
        self._texts[standing.conversation.id, standing.conversation.version] = message.id
        for other in others:
            written += self._keep(other, close(other.conversation, message, decision, policy))
        if decision.closes is Scope.ORG:
            self._standings.stopped(message.contact, message.sent_at, self._appending.next_seq - 1)
        return answer(message.id, written, self._released(written))

    def _keep(self, standing: Standing, decision: Decision, closed: Sequence[str] = ()) -> list[Told]:
        """Seal a decision's records, and note the state that they lead to."""
        records = [self._resolved(standing, record, closed) for record in decision.records]
        entries = self._appending.add(records)
        for record, entry in zip(records, entries, strict=True):
            if record.kind is Kind.AUTO_MESSAGE and record.body["template"].endswith("request.contact"):
                standing.request_seq = entry.seq
        standing.conversation, standing.changed = decision.conversation, standing.changed or bool(records)
        return [
            Told(entry.id, entry.kind, entry.conversation, entry.version, record.body, record.values)
            for record, entry in zip(records, entries, strict=True)
        ]

    def _resolved(self, standing: Standing, record: Record, closed: Sequence[str]) -> Record:
        """Name in a decision the entry of the request that it answers, and the other conversations that it closed."""
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

    def _again(self, message_id: str, first: int, count: int) -> dict[str, Any]:
        """Rebuild the answer to a repeated message from the entries that it wrote."""
        written = [told(entry) for entry in read_range(self._tx, self._organization, first, count)]
        return answer(message_id, written, self._released(written))

    def _write(self) -> None:
        self._appending.write()
        insert(self._tx, inbox_table, self._inbox)
        self._standings.write()


def _content(asked: Mapping[str, Any], message: Message) -> bytes:
    """Return what a message says, normalized: numbers in E.164, times as instants, never the time of receipt."""
    said = {**asked, "line": message.line, "contact": message.contact, "group": sorted(message.recipients)}
    if isinstance(asked.get("sent_at"), str):
        said["sent_at"] = parse_timestamp(asked["sent_at"])
    return json.dumps(said, sort_keys=True, separators=(",", ":"), default=str).encode()


def _error(message_id: str, code: str, detail: str) -> dict[str, Any]:
    return {"id": message_id, "error": {"code": code, "detail": detail}}
