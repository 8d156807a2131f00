"""The engine: decides what one text means, given what its contact agreed to so far.

A pure function over `consent.rules`: the state and the text go in, the records that are to be written come out, and
the state afterwards is the fold of those records. Time, ids and numbers are handed over by the caller.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from consent.conversation import DAY, Conversation
from consent.lexicon import Heard as Said
from consent.policy import Policy
from consent.replies import Reading, read_reply
from consent.rules import (
    NONE,
    OPTED_IN,
    OPTED_OUT,
    PENDING,
    RULES,
    RULES_DISCLAIMER,
    RULES_OFF,
    RULINGS,
    Case,
    Event,
    When,
)
from consent.step import Step
from consent.values import Consent, Message, Mode, Origin, Record, Scope, Sender, Verdict, new

#: Requests and reminders that reach a contact of one conversation in 24 h.
MOST_REQUESTS = 3

#: The same text of a contact for this time in 24 h was written by a machine.
_LOOP = 3
_MINUTE = 60 * 1_000_000
_TABLES = {Mode.CONSENT: RULES, Mode.OFF: RULES_OFF, Mode.DISCLAIMER: RULES_DISCLAIMER}
_EVENTS = {
    Said.YES: Event.YES, Said.STOP: Event.STOP, Said.NO: Event.NO, Said.START: Event.START,
    Said.HELP: Event.HELP, Said.TEXT: Event.TEXT,
}  # fmt: skip
#: What a provider read in a text counts unless the text itself says STOP.
_PROVIDED = {"STOP": Event.CARRIER, "START": Event.START, "HELP": Event.HELP}
#: By these rulings a text decides nothing, whatever it says.
_UNDOUBTED = frozenset((When.NO_NUMBER, When.LATE_ANSWER, When.LATE_TEXT, When.ECHO, When.REPEATED))
# Looking a member up in its enum is a hundredth of a decision, so what each decision needs has a name of its own.
_EMPLOYEE, _EMPLOYEE_TEXT, _TEXT, _STOP = Sender.EMPLOYEE, Event.EMPLOYEE, Event.TEXT, Event.STOP
_ECHO, _MT = When.ECHO, Origin.MT
_ANSWERS = frozenset((Event.YES, Event.STOP, Event.START, Event.CARRIER))
_OPT_OUTS = frozenset((Event.STOP, Event.CARRIER))
_SILENT = Reading(Said.TEXT, 10, None, "", False, False, "", False)


def _untagged(_text: str) -> str:
    return ""


class Decision(NamedTuple):
    """What one text meant."""

    conversation: Conversation
    records: tuple[Record, ...]
    #: Set where an opt-out reaches beyond this conversation.
    closes: Scope | None = None


class Heard(NamedTuple):
    """One text as the rules meet it."""

    event: Event
    reading: Reading
    #: Keyed tag of the contact's text without its dress: equal texts are told by it. Empty for any that decides.
    tag: str
    #: Another contact of this group send is opted out.
    group_stopped: bool


#: An employee's text decides nothing; of a group send it counts whether another contact is opted out.
_UNHEARD = (Heard(_EMPLOYEE_TEXT, _SILENT, "", False), Heard(_EMPLOYEE_TEXT, _SILENT, "", True))


def decide(
    conversation: Conversation, message: Message, policy: Policy, *, tag: Callable[[str], str] = _untagged,
    group_stopped: bool = False, stopped_at: int | None = None,
) -> Decision:  # fmt: skip
    """Say what a message means, given what this contact agreed to so far.

    `tag` makes a keyed tag of a text, by which a repeated one is known again; `group_stopped` tells that another
    contact of an employee's group send is opted out; `stopped_at`, when this contact stopped everything.
    """
    facts: dict[str, Any] = {}
    if conversation.version == 0 and conversation.decided_at is not None:
        facts["stopped_at"] = conversation.decided_at  # it began opted out: its contact had stopped everything
    elif stopped_at is not None and conversation.consent is OPTED_OUT and stopped_at > (conversation.decided_at or 0):
        facts["stopped_at"] = stopped_at  # said elsewhere, of this conversation too
        conversation = conversation._replace(decided_at=stopped_at)
    heard = _heard(conversation, message, policy, tag, group_stopped)
    case = _case(conversation, message, policy, heard)
    closes = _closes(heard, policy, case) if heard.event is _STOP else None
    if closes is not None and case.after is not OPTED_OUT:
        facts["scope"] = closes.value  # no decision says how far it reaches: it was opted out here before
    step = Step(conversation, message, policy)
    _write(step, conversation, message, policy, heard, case, facts)
    return new(Decision, (step.conversation, tuple(step.records), closes))


def close(
    conversation: Conversation, message: Message, decision: Decision, policy: Policy, *, notify: bool = True
) -> Decision:
    """Close another conversation of a contact whose opt-out reached beyond its own; nothing where it is closed.

    `notify`: its employee hasn't been told of this opt-out yet.
    """
    if conversation.consent is OPTED_OUT:
        return Decision(conversation, ())
    scope = decision.closes or Scope.ORG
    origin = conversation.origin or Origin.MT
    step = Step(conversation, message, policy)
    step.decide(OPTED_OUT, origin, {"scope": scope.value, "elsewhere": decision.conversation.id})
    if notify:
        step.send(f"{origin.value}.rejected.employee")
    return Decision(step.conversation, tuple(step.records))


def allowed(conversation: Conversation, policy: Policy) -> tuple[bool, str | None]:
    """Say whether an employee's text may go out in this conversation now, and if not, why."""
    if conversation.consent is OPTED_OUT:
        return False, "opted_out"
    if policy.mode is Mode.OFF or conversation.consent is OPTED_IN:
        return True, None
    if policy.mode is Mode.DISCLAIMER and conversation.consent is NONE:
        return True, None
    return False, "pending" if conversation.consent is PENDING else "consent_required"


def _heard(
    conversation: Conversation, message: Message, policy: Policy, tag: Callable[[str], str], group_stopped: bool
) -> Heard:
    if message.sender is _EMPLOYEE:  # only the contact decides
        return _UNHEARD[group_stopped]
    request = conversation.request
    reading = read_reply(message.text, policy.words(request))
    event = _EVENTS[reading.heard]
    if event is not _STOP and (provided := message.provider.get("opt_out_type")) in _PROVIDED:
        event = _PROVIDED[provided]
    tagged = tag(reading.normalized) if event is _TEXT and reading.normalized else ""
    return new(Heard, (event, reading, tagged, False))


def _case(conversation: Conversation, message: Message, policy: Policy, heard: Heard) -> Case:
    """Return what follows: a ruling that stands before the tables, or what the table of the mode has."""
    for case, holds in _CASES[policy.mode, conversation.consent, heard.event]:
        if holds is None or holds(conversation, message, policy, heard):
            return _capped(case, conversation, message) if case.autos else case
    raise LookupError(f"no case holds for {heard.event} in state {conversation.consent}")


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


def _request_due(conversation: Conversation, message: Message, _policy: Policy, _heard: Heard) -> bool:
    request = conversation.request
    old = request is None or message.sent_at - request.sent_at >= DAY
    return old and conversation.unanswered < MOST_REQUESTS


def _is_late_answer(conversation: Conversation, message: Message, _policy: Policy, heard: Heard) -> bool:
    """At the same instant STOP wins."""
    decided_at = conversation.decided_at
    if decided_at is None:
        return False
    if conversation.consent is OPTED_OUT and heard.event in (Event.YES, Event.START):
        return message.sent_at <= decided_at
    return message.sent_at < decided_at


def _is_late_text(conversation: Conversation, message: Message, _policy: Policy, _heard: Heard) -> bool:
    return conversation.decided_at is not None and message.sent_at < conversation.decided_at


def _is_echo(_conversation: Conversation, _message: Message, policy: Policy, heard: Heard) -> bool:
    reading = heard.reading
    return reading.reaction or policy.sends(reading.normalized)


def _is_repeated(conversation: Conversation, message: Message, _policy: Policy, heard: Heard) -> bool:
    if not heard.tag:
        return False
    return sum(one == heard.tag and message.sent_at - at < DAY for one, at in conversation.recent) >= _LOOP - 1


#: Each condition of the tables: (conversation, message, policy, heard) -> whether it holds.
_CONDITIONS: Mapping[When, Callable[[Conversation, Message, Policy, Heard], bool]] = {
    When.REQUEST_DUE: _request_due,
    When.AFTER_REQUEST: lambda c, m, _p, _h: c.request is not None and m.sent_at >= c.request.sent_at,
    When.UNSPOKEN: lambda c, _m, _p, _h: not c.spoken,
    When.SHOWN: lambda c, _m, _p, _h: c.request is not None,
    When.KEYWORD: lambda _c, _m, _p, h: h.reading.tier == 2,
    When.UNHELPED: lambda c, m, _p, _h: c.helped_at is None or m.sent_at - c.helped_at >= DAY,
    When.NO_NUMBER: lambda _c, m, _p, _h: not m.contact.startswith("+"),
    When.GROUP_SEND: lambda _c, m, _p, _h: len(m.recipients) > 1,
    When.GROUP_STOPPED: lambda _c, _m, _p, h: h.group_stopped,
    When.LATE_ANSWER: _is_late_answer,
    When.LATE_TEXT: _is_late_text,
    When.ECHO: _is_echo,
    When.REPEATED: _is_repeated,
    When.CONFIRMED_AGAIN: lambda _c, m, _p, _h: m.provider.get("opt_out_type") == "STOP",
    When.CONFIRMED: lambda _c, m, _p, _h: m.provider.get("opt_out_type") == "STOP",
    When.CARRIER_HELPS: lambda _c, m, _p, _h: m.provider.get("opt_out_type") == "HELP",
    When.MAYBE_REVOKED: lambda _c, _m, _p, h: h.reading.possible_revocation,
}
#: Where a ruling can hold, if not everywhere: (mode, state, event) -> whether it is asked there.
_WHERE: Mapping[When, Callable[[Mode, Consent, Event], bool]] = {
    When.GROUP_SEND: lambda mode, _state, _event: mode is not Mode.OFF,
    When.GROUP_STOPPED: lambda mode, _state, _event: mode is Mode.OFF,
    When.LATE_ANSWER: lambda _mode, _state, event: event in _ANSWERS,
    When.ECHO: lambda _mode, _state, event: event is Event.TEXT,
    When.REPEATED: lambda _mode, _state, event: event is Event.TEXT,
    When.CONFIRMED_AGAIN: lambda _mode, state, event: event is Event.STOP and state is OPTED_OUT,
    When.CONFIRMED: lambda _mode, _state, event: event is Event.STOP,
    When.CARRIER_HELPS: lambda mode, _state, event: event is Event.HELP and mode is not Mode.OFF,
    When.MAYBE_REVOKED: lambda mode, state, event: event is Event.TEXT and state is OPTED_OUT and mode is not Mode.OFF,
}


def _cases(mode: Mode, state: Consent, event: Event) -> Iterator[Case]:
    """Yield what may follow, in the order in which it is asked: the rulings, then the table of the mode."""
    through = state is OPTED_IN or mode is Mode.OFF
    for case in RULINGS[Sender.EMPLOYEE if event is Event.EMPLOYEE else Sender.CONTACT]:
        if case.when in _WHERE and not _WHERE[case.when](mode, state, event):
            continue
        if case.verdict is None and through:
            yield case._replace(verdict=Verdict.DELIVERED, reason=None)
        else:
            yield case._replace(verdict=case.verdict or Verdict.HELD)
    yield from _TABLES[mode][state, event]


_CASES = {
    (mode, state, event): tuple((case, _CONDITIONS.get(case.when)) for case in _cases(mode, state, event))
    for mode, table in _TABLES.items()
    for state, event in table
}


def _closes(heard: Heard, policy: Policy, case: Case) -> Scope | None:
    if case.reason not in ("opted_out", "duplicate"):
        return None
    if heard.reading.stop_all:
        return Scope.ORG
    return policy.scope if policy.scope is not Scope.PAIR else None


def _write(
    step: Step, before: Conversation, message: Message, policy: Policy, heard: Heard, case: Case,
    facts: dict[str, Any],
) -> None:  # fmt: skip
    """Write the records of one case: the text, the decision that it makes, the messages that go out."""
    after, origin = case.after or before.consent, case.origin or before.origin
    if origin is None and case.after is not None:
        origin = _MT
    flags = message.flags + case.flags
    doubtful = heard.reading.possible_revocation
    if doubtful and case.when is not _ECHO:
        flags += ("possible_revocation",)
    if before.consent is OPTED_OUT and heard.event in _OPT_OUTS and case.when is not When.LATE_ANSWER:
        facts["again"] = OPTED_OUT.value
    step.text(heard.reading, case, after, origin, flags, heard.tag, facts)
    if doubtful and _is_revocable(before, case):
        step.open_review(heard.reading, after, origin)
    if after is not before.consent and after in (OPTED_IN, OPTED_OUT):
        step.decide(after, origin or _MT, _how(case, heard, policy))
    for auto in case.autos:
        key = f"{(origin or _MT).value}{auto[1:]}" if auto.startswith("o.") else auto
        step.send(key, reminder=case.row == "8")


def _is_revocable(before: Conversation, case: Case) -> bool:
    """Whether a person has to say if a text revoked: not where it decides nothing, or nothing is left to revoke."""
    return case.when not in _UNDOUBTED and before.consent is not OPTED_OUT and case.after is not OPTED_OUT


def _how(case: Case, heard: Heard, policy: Policy) -> dict[str, Any]:
    """Return by what a decision came about."""
    event, reading = heard.event, heard.reading
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
