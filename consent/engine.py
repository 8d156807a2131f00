"""The engine: decides what one text means, given what its contact agreed to so far.

A pure function over `consent.rules`: the state and the text go in, the records that are to be written come out, and
the state afterwards is the fold of those records. Time, ids and numbers are handed over by the caller.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from consent.conversation import DAY, Conversation, evolve
from consent.kinds import Kind
from consent.policy import Policy
from consent.replies import Heard, Reading, read_reply
from consent.rules import RULES, RULES_DISCLAIMER, RULES_OFF, Case, Event, When
from consent.templates import EMPLOYEE_NAME, OPT_IN_TEXT, OPT_OUT_TEXT, ORGANIZATION, clean_name, render
from consent.values import Consent, Message, Mode, Origin, Record, Scope, Sender, Verdict

#: Counts on when the reading of replies changes, so that a record tells by which one it was read.
MATCHER_VERSION = 1
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
    step = _Step(conversation, message, policy, reading, case, event)
    return Decision(step.conversation, tuple(step.records), _closes(event, reading, policy, case))


def close(conversation: Conversation, message: Message, decision: Decision, policy: Policy) -> Decision:
    """Close another conversation of a contact whose opt-out reached beyond its own; nothing where it is closed."""
    if conversation.consent is Consent.OPTED_OUT:
        return Decision(conversation, ())
    scope = decision.closes or Scope.ORG
    origin = conversation.origin or Origin.MT
    step = _Step.beside(conversation, message, policy)
    step.decide(Consent.OPTED_OUT, origin, {"scope": scope.value, "elsewhere": decision.conversation.id})
    step.send(f"{origin.value}.rejected.employee")
    return Decision(step.conversation, tuple(step.records))


def reassign_line(conversation: Conversation, message: Message, policy: Policy) -> Decision:
    """Begin anew with the employee who has the line now; an opt-out stays (row 26)."""
    if conversation.consent in (Consent.NONE, Consent.OPTED_OUT):
        return Decision(conversation, ())
    step = _Step.beside(conversation, message, policy)
    step.reassign()
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
        if event in (Event.YES, Event.STOP, Event.START, Event.NO, Event.CARRIER):
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


class _Step:
    """The records of one step of one conversation, each folded into its state as it is written."""

    def __init__(
        self, conversation: Conversation, message: Message, policy: Policy, reading: Reading, case: Case, event: Event
    ) -> None:
        self._begin(conversation, message, policy)
        after = case.after or conversation.consent
        origin = case.origin or conversation.origin
        flags = (*message.flags, *case.flags)
        if reading.possible_revocation:
            flags = (*flags, "possible_revocation")
        self._message(reading, case, after, origin, flags)
        if after is not conversation.consent and after in (Consent.OPTED_IN, Consent.OPTED_OUT):
            self.decide(after, origin or Origin.MT, _how(case, event, reading, policy))
        for auto in case.autos:
            if auto.startswith("o."):
                auto = f"{(origin or Origin.MT).value}{auto[1:]}"  # noqa: PLW2901 (the template set of the origin)
            self.send(auto, reminder=case.row == "8")

    @classmethod
    def beside(cls, conversation: Conversation, message: Message, policy: Policy) -> "_Step":
        """Begin a step of a conversation that a message of another one touches."""
        step = cls.__new__(cls)
        step._begin(conversation, message, policy)
        return step

    def _begin(self, conversation: Conversation, message: Message, policy: Policy) -> None:
        self.conversation, self.records = conversation, list[Record]()
        self._before, self._told, self._policy = conversation, message, policy
        self._version = conversation.version + 1

    def decide(self, after: Consent, origin: Origin, facts: Mapping[str, Any]) -> None:
        """Record a decision, with what it releases or discards and the request that it answers."""
        before, message = self.conversation, self._told
        body: dict[str, Any] = {
            "decision": after.value, "before": before.consent.value, "after": after.value, "origin": origin.value,
            "channel": message.channel, "source": "contact", "matcher_version": MATCHER_VERSION,
        }  # fmt: skip
        body.update(facts)
        if before.held:
            release = after is Consent.OPTED_IN and self._policy.held_inbound == "release"
            body["released" if release else "discarded"] = list(before.held)
        if (request := before.request) is not None and body["source"] == "contact":
            body["answers"] = request.version
            body["request"] = {
                "template": request.template, "template_version": request.template_version,
                "template_sha256": request.template_sha256, "language": request.language, "sent_at": request.sent_at,
            }  # fmt: skip
        self._write(Kind.DECISION, body, self._values() | {"text": message.text, "message_id": message.id})

    def reassign(self) -> None:
        """Record that the line is another employee's now."""
        held = list(self.conversation.held)
        body: dict[str, Any] = {
            "event": "line_reassigned", "before": self.conversation.consent.value, "after": Consent.NONE.value,
            "source": "message",
        }  # fmt: skip
        if held:
            body["discarded"] = held
        self._write(Kind.REASSIGNMENT, body, self._values())

    def send(self, key: str, *, reminder: bool = False) -> None:
        """Record an automatic message as it is rendered."""
        message, policy, before = self._told, self._policy, self.conversation
        language = policy.language_of(message.language or (before.request.language if before.request else None))
        template = policy.template(key, language)
        opt_in, opt_out = policy.opt_in(language), policy.opt_out(language)
        text = render(template, {
            EMPLOYEE_NAME: clean_name(message.employee_name if before.line == message.line else None, policy.name),
            ORGANIZATION: clean_name(policy.name, policy.organization),
            OPT_IN_TEXT: opt_in,
            OPT_OUT_TEXT: opt_out,
        })  # fmt: skip
        body: dict[str, Any] = {
            "to": key.rpartition(".")[2], "template": key, "template_version": template.version,
            "template_sha256": template.sha256, "language": template.language, "channel": message.channel,
        }  # fmt: skip
        if key.endswith("request.contact"):
            body |= {"before": before.consent.value, "after": Consent.PENDING.value, "origin": key[:2],
                     "opt_in": opt_in, "opt_out": opt_out}  # fmt: skip
            if reminder:
                body["reminder"] = True
        self._write(Kind.AUTO_MESSAGE, body, self._values() | {"text": text})

    def _message(
        self, reading: Reading, case: Case, after: Consent, origin: Origin | None, flags: tuple[str, ...]
    ) -> None:
        before, message = self.conversation, self._told
        body: dict[str, Any] = {
            "sender": message.sender.value, "channel": message.channel, "verdict": case.verdict.value,
            "reason": case.reason, "before": before.consent.value, "after": after.value,
            "origin": origin.value if origin else None, "received_at": message.received_at,
        }  # fmt: skip
        if flags:
            body["flags"] = list(flags)
        if reading.word is not None:
            body |= {"tier": reading.tier, "matcher_version": MATCHER_VERSION}
        if message.text_tag:
            body["text_tag"] = message.text_tag
        if before.version == 0 and before.decided_at is not None:
            body["stopped_at"] = before.decided_at  # it began opted out: its contact had stopped everything
        if message.language:
            body["language"] = message.language
        values = self._values() | {"message_id": message.id, "text": message.text}
        for name, value in (("media", [dict(one) for one in message.media]), ("raw", dict(message.raw)),
                            ("group", list(message.recipients)), ("provider", _plain(message.provider))):  # fmt: skip
            if value:
                values[name] = value
        self._write(Kind.MESSAGE, body, values)

    def _values(self) -> dict[str, Any]:
        """Return the personal facts that every record of this step carries."""
        message, conversation = self._told, self.conversation
        values: dict[str, Any] = {"line": conversation.line, "contact": conversation.contact}
        if conversation.line == message.line:
            names = (("employee_id", message.employee_id), ("employee_name", message.employee_name))
            values |= {name: value for name, value in names if value}
        if message.contact_name:
            values["contact_name"] = message.contact_name
        return values

    def _write(self, kind: Kind, body: dict[str, Any], values: dict[str, Any]) -> None:
        if self._before.sub_organization:
            body["sub_organization"] = self._before.sub_organization
        at = self._told.sent_at
        self.records.append(Record(kind, at, body, values, self.conversation.id, self._version))
        self.conversation = evolve(self.conversation, kind, self._version, at, body)


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


def _plain(value: Any) -> Any:
    """Return a provider's own object as strings, integers, lists and objects that canonical JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key).encode("ascii", "replace").decode(): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    return str(value).encode("utf-8", "replace").decode()
