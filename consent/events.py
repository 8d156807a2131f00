"""What happens beside the texts: numbers and lines change hands, requests don't arrive, people revoke by other means.

Each event is one JSON object beside the messages. What it does to one conversation is a pure function, as with texts.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from consent.canonical import parse_entry_id, parse_timestamp
from consent.conversation import Conversation
from consent.engine import Decision
from consent.kinds import Kind
from consent.messages import MessageError, read_employee, storable
from consent.numbers import NumberError, read_number
from consent.policy import Policy
from consent.rules import RULES_EVENTS
from consent.rules import Event as Rule
from consent.step import Step
from consent.values import Consent, Group, Message, Origin, Record, Scope, Sender

_AHEAD = 300 * 1_000_000


class Happened(StrEnum):
    """The events by their names."""

    NUMBER_REASSIGNED = "number_reassigned"
    LINE_REASSIGNED = "line_reassigned"
    DELIVERY_STATUS = "delivery_status"
    REVOKED = "revoked"
    IMPORTED = "imported"  # told by an import only, with its evidence: `consent.imports`


#: What may be reported by anyone who may report texts.
_HEARD = {one.value: one for one in Happened if one is not Happened.IMPORTED}


class Event(NamedTuple):
    """One event, read and normalized; what an event of its kind doesn't have is None."""

    id: str
    organization: str
    sub_organization: str | None
    happened: Happened
    #: The events' clock, microseconds since 1970.
    at: int
    contact: str | None = None
    line: str | None = None
    group: Group | None = None
    #: Who has the line of the conversation at hand; of a line's hand-over, who has it now.
    employee_id: str | None = None
    employee_name: str | None = None
    #: The automatic message that a status is about: (organization, seq).
    entry: tuple[str, int] | None = None
    status: str | None = None
    scope: Scope | None = None
    #: What a person or a provider said of it.
    note: str | None = None
    #: Who reported it, an opaque id.
    actor: str | None = None
    #: What an imported row says, and the personal facts that it rests on.
    consent: Consent | None = None
    told: Mapping[str, Any] = MappingProxyType({})

    def about(self, conversation: Conversation) -> Message:
        """Return the event as the empty text that a step of a conversation is written about."""
        return Message(
            self.id, self.organization, conversation.sub_organization, conversation.group.value, conversation.group,
            Sender.EMPLOYEE, conversation.line, conversation.contact, "", self.at, self.at,
            self.employee_id, self.employee_name,
        )  # fmt: skip


def read_event(asked: Mapping[str, Any], received_at: int, policy: Policy) -> Event:
    """Read an event; MessageError names the field that is wrong, never what stands in it."""
    happened = _HEARD.get(str(asked.get("event")))
    if happened is None:
        raise MessageError("invalid_message", f"`event` is one of {', '.join(_HEARD)}")
    at = _at(asked.get("at"), received_at)
    base = (asked["id"], policy.organization, policy.sub_organization, happened, at)
    actor = asked.get("actor") if isinstance(asked.get("actor"), str) else None
    match happened:
        case Happened.NUMBER_REASSIGNED:
            return Event(*base, contact=_number(asked, "contact", policy), actor=actor)
        case Happened.LINE_REASSIGNED:
            employee_id, employee_name = read_employee(asked.get("employee"), [])
            if employee_id is None:
                raise MessageError("invalid_message", '`employee` is an object as {"id": "e1", "name": "Ann Lee"}')
            line = _number(asked, "line", policy)
            return Event(*base, line=line, employee_id=employee_id, employee_name=employee_name, actor=actor)
        case Happened.DELIVERY_STATUS:
            return Event(*base, entry=_entry(asked), status=_status(asked), note=_text(asked, "reason"), actor=actor)
        case Happened.REVOKED:
            of_line = _number(asked, "line", policy) if asked.get("line") is not None else None
            return Event(
                *base, contact=_number(asked, "contact", policy), line=of_line, group=_group(asked),
                scope=_scope(asked), note=_text(asked, "note"), actor=actor,
            )  # fmt: skip
        case Happened.IMPORTED:
            raise AssertionError("an import is read by consent.imports")


def handed_over(message: Message) -> Event:
    """Return the event that a text tells by naming another employee than its line's last known."""
    return Event(
        message.id, message.organization, message.sub_organization, Happened.LINE_REASSIGNED, message.sent_at,
        line=message.line, employee_id=message.employee_id, employee_name=message.employee_name,
    )  # fmt: skip


def reassign_number(conversation: Conversation, event: Event, policy: Policy) -> Decision:
    """Begin anew with whoever has the number now, where the consent is older than that (row 25)."""
    since = conversation.decided_at or 0
    if conversation.consent is Consent.PENDING and conversation.request is not None:
        since = max(since, conversation.request.sent_at)  # whoever has the number was asked by this one
    if event.at <= since:
        return Decision(conversation, ())
    return _applied(Rule.NUMBER_REASSIGNED, conversation, event, policy, Kind.REASSIGNMENT)


def reassigned(event: Event) -> Record:
    """Return the record of a number or a line that came to somebody else and changed no conversation by it."""
    whose = {"contact": event.contact, "line": event.line,
             "employee_id": event.employee_id, "employee_name": event.employee_name}  # fmt: skip
    said = _said(event) | {name: value for name, value in whose.items() if value is not None}
    return Record(Kind.REASSIGNMENT, event.at, {**_facts(event), "channel": Group.TEXT.value}, said)


def reassign_line(conversation: Conversation, event: Event, policy: Policy) -> Decision:
    """Begin anew with the employee who has the line now; an opt-out stays (row 26)."""
    return _applied(Rule.LINE_REASSIGNED, conversation, event, policy, Kind.REASSIGNMENT)


def note_delivery(conversation: Conversation, event: Event, policy: Policy, *, outstanding: bool) -> Decision:
    """Record what became of an automatic message; a request that can't arrive leaves the contact unasked (row 27).

    `outstanding` tells that the message is the last request to the contact.
    """
    if event.status == "opted_out" and conversation.consent is not Consent.OPTED_OUT:
        return revoke(conversation, event, policy, source="carrier")
    if event.status == "undeliverable" and outstanding and conversation.consent is Consent.PENDING:
        return _applied(Rule.UNDELIVERABLE, conversation, event, policy, Kind.DELIVERY)
    step = Step(conversation, event.about(conversation), policy)
    again = {"again": Consent.OPTED_OUT.value} if event.status == "opted_out" else {}
    step.note(Kind.DELIVERY, _facts(event) | again, _said(event))
    return _decision(step)


def revoke(
    conversation: Conversation, event: Event, policy: Policy, *, source: str = "admin", main: str | None = None,
    tell: Sequence[str] = ("contact", "employee"), closed: Sequence[str] = (),
) -> Decision:  # fmt: skip
    """Opt a contact out who said so by other means than a text (47 CFR 64.1200(a)(10)).

    `main` is the conversation that the revocation is about, where this is another that it reaches; `closed` are
    those others; `tell` is who hasn't been told of it yet. Where the source is the carrier, it has told the contact
    itself. A revocation that changes nothing is written down too: of who is opted out already, it holds from its own
    time on; what was decided after it stands.
    """
    before = conversation.consent
    case = None
    if not is_late(conversation, event):
        case = RULES_EVENTS.get((before, Rule.CARRIER if source == "carrier" else Rule.REVOKED))
    step = Step(conversation, event.about(conversation), policy)
    scope = event.scope or (Scope.PAIR if source == "carrier" else policy.scope)
    facts = _facts(event) | {"source": source, "scope": scope.value}
    if main is not None:
        facts["elsewhere"] = main
    elif closed:
        facts["closed"] = list(closed)
    if conversation.version == 0 and conversation.decided_at is not None:
        facts["stopped_at"] = conversation.decided_at  # it began opted out: its contact had stopped everything
    origin = conversation.origin or (case.origin if case is not None else None) or Origin.MT
    if case is None:
        reason = "duplicate" if before is Consent.OPTED_OUT else "late"
        facts |= {"decision": Consent.OPTED_OUT.value, "before": before.value, "after": before.value,
                  "origin": origin.value, "reason": reason}  # fmt: skip
        step.note(Kind.DECISION, facts, _said(event))
        return _decision(step)
    step.decide(Consent.OPTED_OUT, origin, facts, _said(event))
    for auto in case.autos:
        if auto.rpartition(".")[2] in tell:
            step.send(f"{origin.value}{auto[1:]}")
    return _decision(step)


def is_late(conversation: Conversation, event: Event) -> bool:
    """Whether the decision in force is newer than an event; at the same instant a revocation wins."""
    opted_out = conversation.consent is Consent.OPTED_OUT
    return conversation.decided_at is not None and event.at < conversation.decided_at and not opted_out


def revoke_everywhere(event: Event) -> Record:
    """Return the record of a revocation that finds no conversation: it holds for the lines of its scope to come."""
    facts = {"decision": Consent.OPTED_OUT.value, "before": Consent.NONE.value, "after": Consent.OPTED_OUT.value,
             "origin": Origin.MT.value, "source": "admin", "scope": (event.scope or Scope.ORG).value}  # fmt: skip
    if event.sub_organization:
        facts["sub_organization"] = event.sub_organization
    channel = (event.group or Group.TEXT).value
    return Record(
        Kind.DECISION, event.at, _facts(event) | facts | {"channel": channel}, _said(event) | {"contact": event.contact}
    )  # fmt: skip


def _applied(rule: Rule, conversation: Conversation, event: Event, policy: Policy, kind: Kind) -> Decision:
    """Write down what the rules say of this event in this state; nothing where they say nothing."""
    case = RULES_EVENTS.get((conversation.consent, rule))
    if case is None or case.after is None:
        return Decision(conversation, ())
    step = Step(conversation, event.about(conversation), policy)
    facts = {"before": conversation.consent.value, "after": case.after.value}
    step.note(kind, _facts(event) | facts, _said(event))
    for auto in case.autos:
        step.send(auto, reason=event.note or "it could not be delivered")
    return _decision(step)


def _decision(step: Step) -> Decision:
    return Decision(step.conversation, tuple(step.records))


def _facts(event: Event) -> dict[str, Any]:
    facts: dict[str, Any] = {"event": event.happened.value}
    if event.actor:
        facts["actor"] = event.actor
    if event.status:
        facts["status"] = event.status
    return facts


def _said(event: Event) -> dict[str, Any]:
    return {"message_id": event.id} | ({"note": event.note} if event.note else {})


def _at(given: Any, received_at: int) -> int:
    if given is None:
        return received_at
    try:
        at = parse_timestamp(given)
    except (TypeError, ValueError, OverflowError):
        raise MessageError("invalid_message", "`at` is a time with its offset, as 2026-11-23T10:00:00Z") from None
    return received_at if at > received_at + _AHEAD else at


def _number(asked: Mapping[str, Any], name: str, policy: Policy) -> str:
    given = asked.get(name)
    if not isinstance(given, str):
        raise MessageError("invalid_number", f"`{name}` is missing: a number such as +14045550123")
    try:
        return read_number(given, policy.default_region)
    except NumberError as error:
        raise MessageError("invalid_number", f"`{name}` {error}") from None


def _entry(asked: Mapping[str, Any]) -> tuple[str, int]:
    try:
        return parse_entry_id(asked.get("entry", ""))
    except (TypeError, ValueError):
        raise MessageError("invalid_message", "`entry` is the id of an automatic message's entry") from None


def _status(asked: Mapping[str, Any]) -> str:
    status = asked.get("status")
    if status not in ("delivered", "undeliverable", "opted_out"):
        raise MessageError("invalid_message", "`status` is `delivered`, `undeliverable` or `opted_out`")
    return str(status)


def _group(asked: Mapping[str, Any]) -> Group | None:
    given = asked.get("channel")
    if given is None:
        return None
    if given == "whatsapp":
        return Group.WHATSAPP
    if given in ("sms", "mms", "rcs", "text"):
        return Group.TEXT
    raise MessageError("invalid_message", "`channel` is `sms`, `mms`, `rcs` or `whatsapp`")


def _scope(asked: Mapping[str, Any]) -> Scope | None:
    given = asked.get("scope")
    if given is None:
        return None
    if given not in list(Scope):
        raise MessageError("invalid_message", "`scope` is `pair`, `sub_org` or `org`")
    return Scope(given)


def _text(asked: Mapping[str, Any], name: str) -> str | None:
    given = asked.get(name)
    if given is None:
        return None
    if not isinstance(given, str):
        raise MessageError("invalid_message", f"`{name}` is a text")
    return storable(given, [])
