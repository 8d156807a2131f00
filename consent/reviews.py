"""Reviews: a text that may have been a revocation is looked at by a person, who says what it was, and why.

One is opened in the step that records the text and closed by an entry of its own. What the table beside the ledger
says follows from those two entries alone. Closed as a revocation, it opts the contact out as of the text's own time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import orjson
from sqlalchemy import BigInteger, Column, Connection, Index, String, Table, text

from consent.canonical import entry_id, parse_entry_id, parse_timestamp
from consent.conversation import Conversation
from consent.database import insert, metadata, run
from consent.engine import Decision
from consent.entry import Entry
from consent.kinds import Kind
from consent.policy import Policy
from consent.rules import RULES_EVENTS, Event
from consent.step import Step
from consent.values import Consent, Message, Origin, Scope, Sender

_OPEN = "closed_seq IS NULL"

review_table = Table(
    "review",
    metadata,
    Column("organization", String(32), primary_key=True),
    # The entry that opened it.
    Column("seq", BigInteger, primary_key=True),
    Column("conversation", String(32), nullable=False),
    # When the text was sent, and until when it must be honored if it was a revocation.
    Column("opened_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    # The entry that closed it.
    Column("closed_seq", BigInteger, nullable=True),
    # Each organization's open ones by due date; what is closed is not in it.
    Index("review_open_ix", "organization", "due_at", "seq",
          sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)),
)  # fmt: skip


class Outcome(StrEnum):
    """What a person found a text to be."""

    OPTED_OUT = "opted_out"
    NO_REVOCATION = "no_revocation"


class State(StrEnum):
    """Which reviews are asked for."""

    OPEN = "open"
    OVERDUE = "overdue"
    ALL = "all"


class NoReviewError(LookupError):
    """There is no review of this id."""


class ReviewClosedError(Exception):
    """It was closed with another outcome before; the message says so."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What a person says of one review."""

    #: The opening entry: (main organization, seq).
    review: tuple[str, int]
    outcome: Outcome
    #: Why, in that person's words.
    note: str
    #: Who, an opaque id.
    actor: str
    #: When, microseconds since 1970.
    at: int

    @property
    def id(self) -> str:
        """The review's id: that of its opening entry."""
        return entry_id(*self.review)


@dataclass(frozen=True, slots=True)
class Review:
    """One review as it stands."""

    organization: str
    seq: int
    conversation: str
    #: When the text was sent, and when the review is due; microseconds since 1970.
    opened_at: int
    due_at: int
    closed_seq: int | None
    #: Facts of the opening entry, and the personal ones ({} where they were erased).
    facts: dict[str, Any]
    said: dict[str, Any]

    @property
    def id(self) -> str:
        """That of the opening entry."""
        return entry_id(self.organization, self.seq)


class Listed(NamedTuple):
    """One review for who looks through them."""

    review: Review
    sub_organization: str | None
    #: What the contact agrees to now.
    consent: Consent
    #: When it was closed, microseconds since 1970, and the facts and personal ones of the entry that says so.
    closed_at: int | None
    closing: dict[str, Any]
    closing_said: dict[str, Any]


class Backlog(NamedTuple):
    """What waits for a person in one organization."""

    organization: str
    open: int
    overdue: int
    #: When the next one is due, microseconds since 1970.
    next_due_at: int


def conclude(
    conversation: Conversation, review: Review, closing: Closing, now: Message, policy: Policy, *, reassigned: bool
) -> Decision:
    """Write down what a person found, and where that was a revocation that still counts, opt the contact out.

    `now` is what `closing_of` gives for this conversation; `reassigned` tells that the number has been another
    person's since the text.
    """
    effect = _effect(conversation, review, closing, reassigned)
    step = Step(conversation, now, policy)
    facts: dict[str, Any] = {
        "review": "closed", "opening": review.id, "outcome": closing.outcome.value, "reason": effect,
        "before": conversation.consent.value, "due_at": review.facts.get("due_at"), "actor": closing.actor,
    }  # fmt: skip
    step.note(Kind.REVIEW, facts, {"note": closing.note})
    if effect != "opted_out":
        return Decision(step.conversation, tuple(step.records))
    found = {"word": review.facts.get("word"), "tier": review.facts.get("tier")}
    # What follows is what follows any revocation by other means.
    autos = RULES_EVENTS[conversation.consent, Event.REVOKED].autos
    decision = _opted_out(step.conversation, review, closing, now, policy, found, autos)
    closes = None if policy.scope is Scope.PAIR else policy.scope
    return Decision(decision.conversation, (*step.records, *decision.records), closes)


def conclude_beside(
    conversation: Conversation, review: Review, closing: Closing, now: Message, policy: Policy, first: Decision, *,
    notify: bool = True,
) -> Decision:  # fmt: skip
    """Close another conversation that the organization's scope reaches, unless a later decision stands there.

    `notify`: its employee hasn't been told of this opt-out yet.
    """
    if _effect(conversation, review, closing, reassigned=False) != "opted_out":
        return Decision(conversation, ())
    facts = {"elsewhere": first.conversation.id, "scope": (first.closes or policy.scope).value}
    autos = ("o.rejected.employee",) if notify else ()
    return _opted_out(conversation, review, closing, now, policy, facts, autos)


def closing_of(conversation: Conversation, closing: Closing) -> Message:
    """Return a closing as the empty text that a step of a conversation is written about."""
    return Message(
        closing.id, conversation.organization, conversation.sub_organization, conversation.group.value,
        conversation.group, Sender.EMPLOYEE, conversation.line, conversation.contact, "", closing.at, closing.at,
    )  # fmt: skip


def note_reviews(tx: Connection, entries: Iterable[Entry]) -> None:
    """Keep what the entries of reviews among these say; all of a ledger in its order make the table anew."""
    told = [(entry, entry.facts()) for entry in entries if entry.kind == Kind.REVIEW]
    insert(tx, review_table, [
        (one.organization, one.seq, one.conversation, one.occurred_at, parse_timestamp(facts["due_at"]), None)
        for one, facts in told if facts["review"] == "opened"
    ])  # fmt: skip
    for entry, facts in told:
        if facts["review"] == "closed":
            sql = "UPDATE review SET closed_seq = ? WHERE organization = ? AND seq = ?"
            run(tx, sql, [entry.seq, *parse_entry_id(facts["opening"])])


def find_review(tx: Connection, organization: str, seq: int) -> Review:
    """Return one review; NoReviewError if there is none of this id."""
    return find_listed(tx, organization, seq).review


def find_listed(tx: Connection, organization: str, seq: int) -> Listed:
    """Return one review as lists have it; NoReviewError if there is none of this id."""
    found = _listed(tx, "r.organization = ? AND r.seq = ?", [organization, seq], "r.seq", 1)
    if not found:
        raise NoReviewError("there is no review of this id: see `assent review list`")
    return found[0]


def list_reviews(
    tx: Connection, now: int, *, state: State = State.OPEN, organization: str | None = None,
    sub_organization: str | None = None, after: tuple[str, int] | None = None, limit: int = 100,
) -> list[Listed]:  # fmt: skip
    """Return reviews behind the one named `after`: open ones by due date, with `ALL` each as it was opened."""
    order = "r.organization, r.seq" if state is State.ALL else "r.due_at, r.organization, r.seq"
    where, parameters = ["1 = 1"] if state is State.ALL else [f"r.{_OPEN}"], list[Any]()
    if state is State.OVERDUE:
        where.append("r.due_at < ?")
        parameters.append(now)
    if organization is not None:
        where.append("r.organization = ?")
        parameters.append(organization)
    if sub_organization is not None:
        where.append("c.sub_organization = ?")
        parameters.append(sub_organization)
    if after is not None:
        behind = list(after) if state is State.ALL else [find_review(tx, *after).due_at, *after]
        where.append(f"({order}) > ({', '.join('?' * len(behind))})")
        parameters += behind
    return _listed(tx, " AND ".join(where), parameters, order, limit)


def backlogs(tx: Connection, now: int) -> list[Backlog]:
    """Return how much waits for a person, for each organization where something does."""
    rows = run(
        tx,
        f"""SELECT organization, count(*) AS open, sum(CASE WHEN due_at < ? THEN 1 ELSE 0 END) AS overdue,
        min(due_at) AS next_due_at FROM review WHERE {_OPEN} GROUP BY organization ORDER BY organization""",
        [now],
    )
    return [Backlog(row.organization, row.open, int(row.overdue), row.next_due_at) for row in rows]


def given_away(tx: Connection, organization: str, conversations: Sequence[str], since: int) -> bool:
    """Tell whether a contact's number became another person's after an instant."""
    marks = ", ".join("?" * len(conversations))
    rows = run(
        tx,
        f"""SELECT body FROM entry WHERE organization = ? AND conversation IN ({marks}) AND kind = ?
        AND occurred_at > ?""",
        [organization, *conversations, Kind.REASSIGNMENT.value, since],
    )
    return any(orjson.loads(row.body)["event"] == "number_reassigned" for row in rows if row.body)


def _effect(conversation: Conversation, review: Review, closing: Closing, reassigned: bool) -> str | None:
    """Say in a word what becomes of a revocation; None where it was none."""
    if closing.outcome is Outcome.NO_REVOCATION:
        return None
    if conversation.consent is Consent.OPTED_OUT:
        return "duplicate"
    if reassigned:
        return "number_reassigned"
    # As with a STOP that reaches us late: what was decided after it stands, and at the same instant it wins.
    late = conversation.decided_at is not None and review.opened_at < conversation.decided_at
    return "late" if late else "opted_out"


def _opted_out(
    conversation: Conversation, review: Review, closing: Closing, now: Message, policy: Policy,
    facts: dict[str, Any], autos: Sequence[str],
) -> Decision:  # fmt: skip
    """Opt out as of the text's own time, and tell now; of a number that was erased there is nobody to tell."""
    origin = conversation.origin or Origin.MT
    then = Step(conversation, now._replace(sent_at=review.opened_at), policy)
    of_it = {"source": "review", "scope": policy.scope.value, "opening": review.id, "actor": closing.actor}
    said = {name: review.said[name] for name in ("text", "message_id") if name in review.said}
    then.decide(Consent.OPTED_OUT, origin, of_it | facts, said | {"note": closing.note})
    after = Step(then.conversation, now, policy)
    for auto in autos if conversation.contact else ():
        after.send(f"{origin.value}{auto[1:]}")
    return Decision(after.conversation, (*then.records, *after.records))


def _listed(tx: Connection, where: str, parameters: Sequence[Any], order: str, limit: int) -> list[Listed]:
    rows = run(
        tx,
        f"""SELECT r.organization, r.seq, r.conversation, r.opened_at, r.due_at, r.closed_seq, o.body, o.personal,
        c.sub_organization, c.consent, e.occurred_at AS closed_at, e.body AS closing, e.personal AS closing_said
        FROM review r
        JOIN entry o ON o.organization = r.organization AND o.seq = r.seq
        JOIN conversation c ON c.organization = r.organization AND c.id = r.conversation
        LEFT JOIN entry e ON e.organization = r.organization AND e.seq = r.closed_seq
        WHERE {where} ORDER BY {order} LIMIT ?""",
        [*parameters, limit],
    )
    return [
        Listed(
            Review(
                row.organization, row.seq, row.conversation, row.opened_at, row.due_at, row.closed_seq,
                _object(row.body), _revealed(row.personal),
            ),
            row.sub_organization, Consent(row.consent), row.closed_at, _object(row.closing),
            _revealed(row.closing_said),
        )
        for row in rows
    ]  # fmt: skip


def _object(stored: bytes | None) -> dict[str, Any]:
    return orjson.loads(stored) if stored else {}


def _revealed(stored: bytes | None) -> dict[str, Any]:
    return {name: held["value"] for name, held in _object(stored).items()}
