"""Consents that come from elsewhere with their evidence: a carrier's list, another vendor's, a report, a form.

What one imported row does to one conversation is a pure function, as with texts and events. A row counts from its own
date: whatever is dated later counts more, and at the same instant the opt-out wins, so that the order of rows doesn't
matter. What a row changes nothing about is written down all the same: it is evidence. Nobody is texted because of it.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from consent.conversation import Conversation
from consent.engine import Decision
from consent.events import Event, Happened
from consent.kinds import Kind
from consent.policy import Policy
from consent.step import Step
from consent.values import Consent, Group, Origin, Record, Scope


class Outcome(StrEnum):
    """What became of a row."""

    OPTED_IN = "opted_in"
    OPTED_OUT = "opted_out"
    UNCHANGED = "unchanged"  # it says what holds already, of the same time or later
    SUPERSEDED = "superseded"  # something dated later says otherwise, or the number or the line changed hands since
    ALREADY_IMPORTED = "already_imported"


class Imported(dict[str, Any]):
    """One row as the intake takes it, read and normalized; what it doesn't say is missing.

    `id`, `org`, `contact` (E.164), `line` (E.164), `channel` (a group's name), `consent`, `at` (microseconds since
    1970), `evidence`, `reference`, `employee_id`, `employee_name`, `note`. A type of its own, so that JSON from outside
    is never read as one: opting in is nobody's act but the contact's, and is imported with its evidence only.
    """

    def __init__(self, said: Mapping[str, Any], *, actor: str, raw: Mapping[str, str]) -> None:
        super().__init__(said)
        #: Who imported it, an opaque id, and the numbers as they came: neither makes it another row.
        self.actor, self.raw = actor, raw


class Taken(NamedTuple):
    """What a row means for one conversation."""

    decision: Decision
    outcome: Outcome


def read_import(row: Imported, received_at: int, policy: Policy) -> Event:
    """Return a row as the event that it is; one of today, without a time of day, may end later than now."""
    told = {name: row[name] for name in ("evidence", "reference") if name in row}
    if row.raw:
        told["raw"] = dict(row.raw)
    return Event(
        row["id"], policy.organization, policy.sub_organization, Happened.IMPORTED, min(row["at"], received_at),
        contact=row["contact"], line=row.get("line"), group=Group(row["channel"]) if "channel" in row else None,
        employee_id=row.get("employee_id"), employee_name=row.get("employee_name"),
        scope=Scope.ORG if "line" not in row else None, note=row.get("note"), actor=row.actor,
        consent=Consent(row["consent"]), told=told,
    )  # fmt: skip


def take_row(
    conversation: Conversation, event: Event, policy: Policy, *, since: int | None = None, main: str | None = None,
    closed: Sequence[str] = (),
) -> Taken:  # fmt: skip
    """Say what an imported row means for a conversation.

    Nothing from `since` or before counts: then the number or the line came to somebody else. `main` is the
    conversation that the row is about, where this is another that it reaches; `closed` are those others.
    """
    assert event.consent is not None
    before, wanted = conversation.consent, event.consent
    counts = _counts(conversation, event, since)
    after = wanted if counts else before
    origin = conversation.origin or (Origin.MO if wanted is Consent.OPTED_IN else Origin.MT)
    facts: dict[str, Any] = {
        **_facts(event, wanted, before, after), "origin": origin.value, "scope": (event.scope or policy.scope).value,
    }  # fmt: skip
    if main is not None:
        facts["elsewhere"] = main
    elif closed:
        facts["closed"] = list(closed)
    if conversation.version == 0 and conversation.decided_at is not None:
        facts["stopped_at"] = conversation.decided_at  # it began opted out: its contact had stopped everything
    if after is not before:
        facts |= _let_go(conversation, after, policy)
    step = Step(conversation, event.about(conversation), policy)
    step.note(Kind.DECISION, facts, said(event))
    if after is not before:
        outcome = Outcome(after.value)
    else:
        outcome = Outcome.UNCHANGED if wanted is before and _not_before(conversation, event) else Outcome.SUPERSEDED
    return Taken(Decision(step.conversation, tuple(step.records)), outcome)


def take_everywhere(event: Event, stopped_at: int | None) -> tuple[Record, Outcome]:
    """Return the record of an opt-out that finds no conversation, and what it means for lines that have none yet.

    `stopped_at` tells since when the contact is known to have stopped everything.
    """
    before = Consent.NONE if stopped_at is None else Consent.OPTED_OUT
    facts = _facts(event, Consent.OPTED_OUT, before, Consent.OPTED_OUT)
    facts |= {"origin": Origin.MT.value, "scope": Scope.ORG.value, "channel": (event.group or Group.TEXT).value}
    if event.sub_organization:
        facts["sub_organization"] = event.sub_organization
    if stopped_at is None:
        outcome = Outcome.OPTED_OUT
    else:
        outcome = Outcome.UNCHANGED if event.at >= stopped_at else Outcome.SUPERSEDED
    return Record(Kind.DECISION, event.at, facts, {"contact": event.contact} | said(event)), outcome


def said(event: Event) -> dict[str, Any]:
    """Return the personal facts that an imported decision rests on."""
    values: dict[str, Any] = {"message_id": event.id, **event.told}
    return values | ({"note": event.note} if event.note else {})


def _counts(conversation: Conversation, event: Event, since: int | None) -> bool:
    """Whether a row says something newer than what is in force."""
    if since is not None and event.at <= since:
        return False
    if conversation.decided_at is None or event.at > conversation.decided_at:
        return True
    stop_wins = event.consent is Consent.OPTED_OUT and conversation.consent is not Consent.OPTED_OUT
    return stop_wins and event.at == conversation.decided_at


def _not_before(conversation: Conversation, event: Event) -> bool:
    return conversation.decided_at is not None and event.at >= conversation.decided_at


def _facts(event: Event, wanted: Consent, before: Consent, after: Consent) -> dict[str, Any]:
    facts = {
        "event": event.happened.value, "source": "import", "decision": wanted.value,
        "before": before.value, "after": after.value,
    }  # fmt: skip
    return facts | ({"actor": event.actor} if event.actor else {})


def _let_go(conversation: Conversation, after: Consent, policy: Policy) -> dict[str, list[int]]:
    """Return which held texts go to the employee now; what an employee wrote is sent by no import."""
    held, waiting = list(conversation.held), [version for version, _ in conversation.waiting]
    releases = after is Consent.OPTED_IN and policy.held_inbound == "release"
    let = {"released": held if releases else [], "discarded": sorted({*waiting, *(() if releases else held)})}
    return {name: versions for name, versions in let.items() if versions}
