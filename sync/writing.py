"""What one transaction writes into one ledger: decisions sealed into entries, and the states that they lead to."""

from collections.abc import Sequence

from sqlalchemy import Connection

from consent.answers import Told, releases
from consent.business_days import due_after
from consent.canonical import entry_id, timestamp
from consent.conversations import Standing
from consent.engine import Decision
from consent.entry import Entry
from consent.kinds import Kind
from consent.ledger import Appending, lock, read_conversation, read_entry
from consent.reviews import note_reviews
from consent.standings import Standings
from consent.tags import Tags
from consent.values import Record

# Looking a member up in its enum takes as long as half a record does to be numbered.
_MESSAGE, _AUTO_MESSAGE, _DECISION, _REVIEW = Kind.MESSAGE, Kind.AUTO_MESSAGE, Kind.DECISION, Kind.REVIEW
_CONFIRMATIONS = (".accepted.contact", ".rejected.contact")


class Writing:
    """Entries of one ledger in one transaction, in order; the ledger is locked until that ends."""

    def __init__(self, tx: Connection, organization: str, tags: Tags, now: int) -> None:
        """Begin: `now` is when what is written about was received, microseconds since 1970."""
        self._tx, self._organization, self._now = tx, organization, now
        self._appending = Appending(tx, lock(tx, organization), now)
        self._reviews: list[Entry] = []
        #: Message ids of these texts by (conversation, version): held ones may be released in the same transaction.
        self._texts: dict[tuple[str, int], str] = {}
        self.standings = Standings(tx, organization, tags)

    @property
    def settings_size(self) -> int:
        """How many entries the audit lane has: settings change with it only."""
        return self._appending.head.lanes["audit"]

    @property
    def next_seq(self) -> int:
        """The number of the next entry."""
        return self._appending.next_seq

    def keep(self, standing: Standing, decision: Decision, closed: Sequence[str] = ()) -> list[Told]:
        """Seal a decision's records, and note the state that they lead to."""
        records = [
            record if record.kind is _MESSAGE else self._resolved(standing, record, decision, closed)
            for record in decision.records
        ]
        entries = self._appending.add(records)
        for record, entry in zip(records, entries, strict=True):
            if record.kind is _AUTO_MESSAGE and record.body["template"].endswith("request.contact"):
                standing.request_seq = entry.seq
            elif record.kind is _REVIEW:
                self._reviews.append(entry)
        standing.conversation, standing.changed = decision.conversation, standing.changed or bool(records)
        return _told(records, entries)

    def note(self, record: Record) -> list[Told]:
        """Write down what belongs to no conversation."""
        return _told([record], self._appending.add([record]))

    def remember_text(self, standing: Standing, message_id: str) -> None:
        """Note by which text a conversation came to its version."""
        self._texts[standing.conversation.id, standing.conversation.version] = message_id

    def entry(self, organization: str, seq: int) -> Entry | None:
        """Return an entry of this ledger, also one that this group is about to write."""
        if organization != self._organization:
            return None
        new = seq - self._appending.next_seq + len(self._appending.entries)
        if 0 <= new < len(self._appending.entries):
            return self._appending.entries[new]
        return read_entry(self._tx, organization, seq)

    def released(self, written: Sequence[Told]) -> list[str]:
        """Return the message ids of the held texts that these entries release, in order."""
        ids = []
        for conversation, version in releases(written):
            known = self._texts.get((conversation, version))
            ids.append(known if known is not None else self._text_id(conversation, version))
        return [one for one in ids if one is not None]

    def write(self) -> None:
        """Store entries, head, reviews and states."""
        self._appending.write()
        if self._reviews:
            note_reviews(self._tx, self._reviews)
        self.standings.write()

    def _resolved(self, standing: Standing, record: Record, decision: Decision, closed: Sequence[str]) -> Record:
        """Say in a record what only the ledger and the calendar know.

        Of a decision, the entry of the request that it answers and the other conversations that it closed; of its
        confirmation, the entry of the decision and how many seconds after its receipt; of a review, when it is due.
        """
        if record.kind is _AUTO_MESSAGE:
            if not record.body["template"].endswith(_CONFIRMATIONS):
                return record
            made = next((at for at, one in enumerate(decision.records) if one.kind is _DECISION), None)
            if made is None:
                return record
            after = (self._appending.recorded_at - self._now) // 1_000_000
            confirms = {"confirms": entry_id(self._organization, self.next_seq + made), "seconds_after": after}
            return record._replace(body={**record.body, **confirms})
        if record.kind is _REVIEW and "due_at" not in record.body:
            return record._replace(body={**record.body, "due_at": timestamp(due_after(record.occurred_at))})
        if record.kind is not _DECISION:
            return record
        body = dict(record.body)
        if "answers" in body:
            seq = standing.request_seq
            body["answers"] = None if seq is None else entry_id(self._organization, seq)
        if closed:
            body["closed"] = list(closed)
        return record._replace(body=body)

    def _text_id(self, conversation: str, version: int) -> str | None:
        for entry in read_conversation(self._tx, self._organization, conversation, [version]):
            if entry.kind == Kind.MESSAGE:
                return entry.revealed().get("message_id")  # None where it was lawfully erased
        return None


def _told(records: Sequence[Record], entries: Sequence[Entry]) -> list[Told]:
    return [
        Told(entry.id, entry.kind, entry.conversation, entry.version, record.body, record.values)
        for record, entry in zip(records, entries, strict=True)
    ]
