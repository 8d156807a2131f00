"""The engine: decides what one text means, given what its contact agreed to so far.

A pure function over `consent.rules`: the state and the text go in, the records that are to be written come out, and
the state afterwards is the fold of those records. Time, ids and numbers are handed over by the caller.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from consent.conversation import DAY, Conversation
from consent.kinds import Kind
from consent.policy import Policy
from consent.replies import Heard, Reading, read_reply
from consent.rules import RULES, RULES_DISCLAIMER, RULES_OFF, Case, Event, When
from consent.step import Step
from consent.values import Consent, Message, Mode, Origin, Record, Scope, Sender, Verdict

#: Requests and reminders that reach a contact of one conversation in 24 h.
MOST_REQUESTS = 3

_MINUTE = 60 * 1_000_000
_TABLES = {Mode.CONSENT: RULES, Mode.OFF: RULES_OFF, Mode.DISCLAIMER: RULES_DISCLAIMER}
_EVENTS = {
    Heard.YES: Event.YES, Heard.STOP: Event.STOP, Heard.NO: Event.NO, Heard.START: Event.START,
    Heard.HELP: Event.HELP, Heard.TEXT: Event.TEXT,
}  # fmt: skip
_SILENT = Reading(Heard.TEXT, 10, None, "", False, False, "", False)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one text meant."""

    conversation: Conversation
    records: tuple[Record, ...]
    #: Set where an opt-out reaches beyond this conversation.
    closes: Scope | None = None


def decide(conversation: Conversation, message: Message, policy: Policy) -> Decision:
    """Say what a message means, given what this contact agreed to so far."""
    reading = _read(conversation, message, policy)
    event = _event(message, reading)
    case = _special(conversation, message, policy, reading, event)
    if case is None:
        case = next(
            case for case in _TABLES[policy.mode][conversation.consent, event]
            if _holds(case.when, conversation, message, reading)
        )  # fmt: skip
        case = _capped(case, conversation, message)
    step = Step(conversation, message, policy)
    _write(step, conversation, message, policy, reading, case, event)
    return Decision(step.conversation, tuple(step.records), _closes(event, reading, policy, case))


def close(conversation: Conversation, message: Message, decision: Decision, policy: Policy) -> Decision:
    """Close another conversation of a contact whose opt-out reached beyond its own; nothing where it is closed."""
    if conversation.consent is Consent.OPTED_OUT:
        return Decision(conversation, ())
    scope = decision.closes or Scope.ORG
    origin = conversation.origin or Origin.MT
    step = Step(conversation, message, policy)
    step.decide(Consent.OPTED_OUT, origin, {"scope": scope.value, "elsewhere": decision.conversation.id})
    step.send(f"{origin.value}.rejected.employee")
    return Decision(step.conversation, tuple(step.records))


def reassign_line(conversation: Conversation, message: Message, policy: Policy) -> Decision:
    """Begin anew with the employee who has the line now; an opt-out stays (row 26)."""
    if conversation.consent in (Consent.NONE, Consent.OPTED_OUT):
        return Decision(conversation, ())
    step = Step(conversation, message, policy)
    facts = {"event": "line_reassigned", "before": conversation.consent.value, "after": Consent.NONE.value}
    step.note(Kind.REASSIGNMENT, {**facts, "source": "message"}, {})
    return Decision(step.conversation, tuple(step.records))


def allowed(conversation: Conversation, policy: Policy) -> tuple[bool, str | None]:
    """Say whether an employee's text may go out in this conversation now, and if not, why."""
    if conversation.consent is Consent.OPTED_OUT:
        return False, "opted_out"
    if policy.mode is Mode.OFF or conversation.consent is Consent.OPTED_IN:
        return True, None
    if policy.mode is Mode.DISCLAIMER and conversation.consent is Consent.NONE:
        return True, None
    return False, "pending" if conversation.consent is Consent.PENDING else "consent_required"


def _read(conversation: Conversation, message: Message, policy: Policy) -> Reading:
    if message.sender is Sender.EMPLOYEE:  # only the contact decides
        return _SILENT
    request = conversation.request
    return read_reply(message.text, policy.words((request.opt_in, request.opt_out) if request else None))


def _event(message: Message, reading: Reading) -> Event:
    if message.sender is Sender.EMPLOYEE:
        return Event.EMPLOYEE
    provided = message.provider.get("opt_out_type")
    if provided == "STOP" and reading.heard is not Heard.STOP:
        return Event.CARRIER
    if provided == "START":
        return Event.START
    return _EVENTS[reading.heard]


def _special(
    conversation: Conversation, message: Message, policy: Policy, reading: Reading, event: Event
) -> Case | None:
    """What stands before the tables: rulings that hold in every state."""
    consent, from_contact = conversation.consent, message.sender is Sender.CONTACT
    through = consent is Consent.OPTED_IN or policy.mode is Mode.OFF
    if not message.contact.startswith("+"):
        return Case("short code", Verdict.DELIVERED, None)
    if policy.mode is not Mode.OFF and not from_contact and len(message.recipients) > 1:
        return Case("24", Verdict.BLOCKED, "group")
    if not from_contact:
        return None
    if _late(conversation, message, event):
        if event in (Event.YES, Event.STOP, Event.START, Event.CARRIER):
            return Case("late", Verdict.CONSUMED, "late", flags=("late",))
        return Case("late", Verdict.DELIVERED if through else Verdict.HELD, None if through else "late")
    if reading.reaction:
        return Case("automatic", Verdict.DELIVERED if through else Verdict.HELD, None if through else "automatic")
    if message.provider.get("opt_out_type") == "STOP" and event is Event.STOP:
        if consent is Consent.OPTED_OUT:
            return Case("22", Verdict.CONSUMED, "duplicate", flags=("duplicate",))
        origin = None if conversation.origin else Origin.MT
        return Case("22", Verdict.CONSUMED, "opted_out", ("o.rejected.employee",), Consent.OPTED_OUT, origin)
    if message.provider.get("opt_out_type") == "HELP" and policy.mode is not Mode.OFF:
        return Case("5", Verdict.CONSUMED, "help")
    if reading.possible_revocation and consent is Consent.OPTED_OUT and policy.mode is not Mode.OFF:
        return Case("17", Verdict.CONSUMED, "opted_out")
    return None


def _late(conversation: Conversation, message: Message, event: Event) -> bool:
    """A text sent before the decision in force decides nothing; at the same instant STOP wins."""
    decided_at = conversation.decided_at
    if decided_at is None:
        return False
    if conversation.consent is Consent.OPTED_OUT and event in (Event.YES, Event.START):
        return message.sent_at <= decided_at
    return message.sent_at < decided_at


def _capped(case: Case, conversation: Conversation, message: Message) -> Case:
    """Leave out a request that the rules of pacing don't allow, and say so where the text would have needed it."""
    if not any(auto.endswith("request.contact") for auto in case.autos):
        return case
    recent = [at for at in conversation.asked if message.sent_at - at < DAY]
    if case.row == "8":
        request, autos = conversation.request, list(case.autos)
        quiet = request is not None and message.sent_at - request.sent_at < _MINUTE
        reminded = conversation.reminded_at is not None and message.sent_at - conversation.reminded_at < DAY
        if quiet or reminded or len(recent) >= MOST_REQUESTS:
            autos.remove("o.request.contact")
        if conversation.origin is not Origin.MO or conversation.told:
            autos.remove("mt.request.employee")
        capped = len(recent) >= MOST_REQUESTS and not quiet and not reminded
        return case._replace(autos=tuple(autos), flags=("request_capped",) if capped else ())
    if len(recent) >= MOST_REQUESTS:
        return case._replace(autos=(), after=None, origin=None, reason="request_capped", flags=("request_capped",))
    return case


def _holds(when: When, conversation: Conversation, message: Message, reading: Reading) -> bool:
    return _CONDITIONS[when](conversation, message, reading)


def _request_due(conversation: Conversation, message: Message, _reading: Reading) -> bool:
    request = conversation.request
    old = request is None or message.sent_at - request.sent_at >= DAY
    return old and conversation.unanswered < MOST_REQUESTS


_CONDITIONS: Mapping[When, Callable[[Conversation, Message, Reading], bool]] = {
    When.ALWAYS: lambda _c, _m, _r: True,
    When.REQUEST_DUE: _request_due,
    When.AFTER_REQUEST: lambda c, m, _: c.request is not None and m.sent_at >= c.request.sent_at,
    When.UNSPOKEN: lambda c, _m, _r: not c.spoken,
    When.SHOWN: lambda c, _m, _r: c.request is not None,
    When.KEYWORD: lambda _c, _m, r: r.tier == 2,
    When.UNHELPED: lambda c, m, _: c.helped_at is None or m.sent_at - c.helped_at >= DAY,
}


def _closes(event: Event, reading: Reading, policy: Policy, case: Case) -> Scope | None:
    if event is not Event.STOP or case.reason not in ("opted_out", "duplicate"):
        return None
    if reading.stop_all:
        return Scope.ORG
    return policy.scope if policy.scope is not Scope.PAIR and case.after is Consent.OPTED_OUT else None


def _write(
    step: Step, before: Conversation, message: Message, policy: Policy, reading: Reading, case: Case, event: Event
) -> None:
    """Write the records of one case: the text, the decision that it makes, the messages that go out."""
    after, origin = case.after or before.consent, case.origin or before.origin
    flags = (*message.flags, *case.flags, *(("possible_revocation",) if reading.possible_revocation else ()))
    step.text(reading, case, after, origin, flags)
    if after is not before.consent and after in (Consent.OPTED_IN, Consent.OPTED_OUT):
        step.decide(after, origin or Origin.MT, _how(case, event, reading, policy))
    for auto in case.autos:
        key = f"{(origin or Origin.MT).value}{auto[1:]}" if auto.startswith("o.") else auto
        step.send(key, reminder=case.row == "8")


def _how(case: Case, event: Event, reading: Reading, policy: Policy) -> dict[str, Any]:
    """Return by what a decision came about."""
    if case.row == "28":
        return {"source": "disclaimer"}
    if case.row == "22":
        # The carrier's word reaches this conversation only; what the text itself says reaches as far as ever.
        scope = Scope.PAIR if event is Event.CARRIER else Scope.ORG if reading.stop_all else policy.scope
        return {"source": "carrier", "scope": scope.value}
    facts: dict[str, Any] = {"word": reading.word, "tier": reading.tier, "by": reading.by}
    if event is Event.STOP:
        facts["scope"] = (Scope.ORG if reading.stop_all else policy.scope).value
    return facts
