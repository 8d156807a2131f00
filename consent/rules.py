"""The rules: what follows when this is said in that state. Everything that decides stands in these tables.

Read a line as: in this state, when this is heard and the condition holds, the text gets this verdict, these
automatic messages go out in this order, and the conversation is in this state afterwards. `RULINGS`, which hold
in every state, are asked first, then the table of the organization's mode; of several cases the first whose
condition holds counts. The numbers are those of the rows in consent/README.md, which is drawn from these tables.
`o` in an automatic message stands for the conversation's origin: the template set of the last request sent.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from consent.values import Consent, Origin, Sender, Verdict


class Event(StrEnum):
    """What a text is to the rules, and what happens beside the texts."""

    EMPLOYEE = "employee text"
    TEXT = "contact text"
    YES = "YES"
    STOP = "STOP"
    NO = "NO"
    START = "START"
    HELP = "HELP"
    CARRIER = "carrier opt-out"
    NUMBER_REASSIGNED = "the number is another person's since then"
    LINE_REASSIGNED = "the line is another employee's"
    UNDELIVERABLE = "the request can't be delivered"
    REVOKED = "revoked by other means"


#: What a text can be: each table has a case for each of them in every state.
TEXTS = (
    Event.EMPLOYEE, Event.TEXT, Event.YES, Event.STOP, Event.NO, Event.START, Event.HELP, Event.CARRIER,
)  # fmt: skip


class When(StrEnum):
    """The conditions that a case may have; the engine knows how to test each of them."""

    ALWAYS = ""
    REQUEST_DUE = "the last request is 24 h old and fewer than 3 are unanswered"
    AFTER_REQUEST = "it was sent after the request"
    UNSPOKEN = "no employee text was delivered since the opt-in"
    SHOWN = "a request was shown once"
    KEYWORD = "it is the opt-out word itself"
    UNHELPED = "no HELP was answered in 24 h"
    # Of rulings that hold in every state:
    NO_NUMBER = "the other side is a short code or a sender's name"
    GROUP_SEND = "an employee writes to several contacts, mode consent or disclaimer"
    GROUP_STOPPED = "an employee writes to several contacts, one of them opted out, mode off"
    LATE_ANSWER = "YES, STOP, START or a carrier's, sent before the decision in force"
    LATE_TEXT = "a contact's other text, sent before the decision in force"
    ECHO = "a reaction, or a text that the organization itself sends"
    REPEATED = "a contact's text, the same for the third time in 24 h"
    CONFIRMED_AGAIN = "STOP that the carrier has confirmed, already opted out"
    CONFIRMED = "STOP that the carrier has confirmed"
    CARRIER_HELPS = "HELP that the carrier has answered"
    MAYBE_REVOKED = "a possible revocation, opted out, mode consent or disclaimer"


class Case(NamedTuple):
    """What follows."""

    row: str
    #: None where there is no text, and where it follows the state: opted_in or mode off delivered, else held.
    verdict: Verdict | None
    reason: str | None
    autos: tuple[str, ...] = ()
    #: The state afterwards; None leaves it.
    after: Consent | None = None
    #: The origin afterwards; None leaves it.
    origin: Origin | None = None
    when: When = When.ALWAYS
    flags: tuple[str, ...] = ()


NONE, PENDING, OPTED_IN, OPTED_OUT = Consent.NONE, Consent.PENDING, Consent.OPTED_IN, Consent.OPTED_OUT
DELIVERED, HELD, BLOCKED, CONSUMED = Verdict.DELIVERED, Verdict.HELD, Verdict.BLOCKED, Verdict.CONSUMED
MO, MT = Origin.MO, Origin.MT

ASK_MO = ("mo.request.contact", "mo.request.employee")
ASK_MT = ("mt.request.contact", "mt.request.employee")
ACCEPT = ("o.accepted.contact", "o.accepted.employee")
REJECT = ("o.rejected.contact", "o.rejected.employee")
HELP = ("help.contact",)


#: What holds in every state, whatever the table of the mode says.
RULINGS: Mapping[Sender, tuple[Case, ...]] = {
    Sender.EMPLOYEE: (
        Case("24", BLOCKED, "group", when=When.GROUP_SEND),
        Case("23", BLOCKED, "opted_out", when=When.GROUP_STOPPED),
        Case("short code", DELIVERED, None, when=When.NO_NUMBER),
    ),
    Sender.CONTACT: (
        Case("short code", DELIVERED, None, when=When.NO_NUMBER),
        Case("late", CONSUMED, "late", when=When.LATE_ANSWER, flags=("late",)),
        Case("late", None, "late", when=When.LATE_TEXT),
        Case("automatic", None, "automatic", when=When.ECHO),
        Case("automatic", None, "automatic", when=When.REPEATED),
        Case("22", CONSUMED, "duplicate", when=When.CONFIRMED_AGAIN, flags=("duplicate",)),
        Case("22", CONSUMED, "opted_out", ("o.rejected.employee",), OPTED_OUT, when=When.CONFIRMED),
        Case("5", CONSUMED, "help", when=When.CARRIER_HELPS),
        Case("17", CONSUMED, "opted_out", when=When.MAYBE_REVOKED),
    ),
}


def _ask(row: str, origin: Origin, verdict: Verdict) -> Case:
    return Case(row, verdict, "consent_requested", ASK_MO if origin is MO else ASK_MT, PENDING, origin)


def _carrier(origin: Origin | None = None) -> tuple[Case, ...]:
    return (Case("22", CONSUMED, "opted_out", ("o.rejected.employee",), OPTED_OUT, origin),)


#: Mode consent.
RULES: Mapping[tuple[Consent, Event], tuple[Case, ...]] = {
    (NONE, Event.EMPLOYEE): (_ask("1", MO, BLOCKED),),
    (NONE, Event.TEXT): (_ask("2", MT, HELD),),
    (NONE, Event.NO): (_ask("2", MT, HELD),),
    (NONE, Event.START): (_ask("2", MT, HELD),),
    (NONE, Event.YES): (_ask("3", MT, HELD),),
    (NONE, Event.STOP): (Case("4", CONSUMED, "opted_out", REJECT, OPTED_OUT, MT),),
    (NONE, Event.HELP): (Case("5", CONSUMED, "help", HELP),),
    (NONE, Event.CARRIER): _carrier(MT),
    (PENDING, Event.EMPLOYEE): (
        _ask("7", MO, BLOCKED)._replace(when=When.REQUEST_DUE),
        Case("6", BLOCKED, "pending"),
    ),
    (PENDING, Event.TEXT): (Case("8", HELD, "pending", ("o.request.contact", "mt.request.employee")),),
    (PENDING, Event.START): (Case("8", HELD, "pending", ("o.request.contact", "mt.request.employee")),),
    (PENDING, Event.YES): (
        Case("9", CONSUMED, "opted_in", ACCEPT, OPTED_IN, when=When.AFTER_REQUEST),
        Case("8", HELD, "pending", ("o.request.contact", "mt.request.employee")),
    ),
    (PENDING, Event.STOP): (Case("10", CONSUMED, "opted_out", REJECT, OPTED_OUT),),
    (PENDING, Event.NO): (Case("10", CONSUMED, "opted_out", REJECT, OPTED_OUT),),
    (PENDING, Event.HELP): (Case("5", CONSUMED, "help", HELP),),
    (PENDING, Event.CARRIER): _carrier(),
    (OPTED_IN, Event.EMPLOYEE): (Case("11", DELIVERED, None),),
    (OPTED_IN, Event.TEXT): (Case("11", DELIVERED, None),),
    (OPTED_IN, Event.START): (Case("11", DELIVERED, None),),
    (OPTED_IN, Event.YES): (
        Case("12", CONSUMED, "duplicate", when=When.UNSPOKEN, flags=("duplicate",)),
        Case("12", DELIVERED, None),
    ),
    (OPTED_IN, Event.STOP): (Case("13", CONSUMED, "opted_out", REJECT, OPTED_OUT),),
    (OPTED_IN, Event.NO): (Case("14", DELIVERED, None),),
    (OPTED_IN, Event.HELP): (Case("5", CONSUMED, "help", HELP),),
    (OPTED_IN, Event.CARRIER): _carrier(),
    (OPTED_OUT, Event.EMPLOYEE): (Case("15", BLOCKED, "opted_out"),),
    (OPTED_OUT, Event.TEXT): (_ask("16", MT, HELD),),
    (OPTED_OUT, Event.NO): (Case("17", CONSUMED, "opted_out"),),
    (OPTED_OUT, Event.YES): (
        Case("18", CONSUMED, "opted_in", ACCEPT, OPTED_IN, when=When.SHOWN),
        _ask("19", MT, HELD),
    ),
    (OPTED_OUT, Event.START): (
        Case("18", CONSUMED, "opted_in", ACCEPT, OPTED_IN, when=When.SHOWN),
        _ask("19", MT, HELD),
    ),
    (OPTED_OUT, Event.STOP): (
        Case("20", CONSUMED, "duplicate", when=When.KEYWORD, flags=("duplicate",)),
        Case("17", CONSUMED, "opted_out"),
    ),
    (OPTED_OUT, Event.HELP): (
        Case("5", CONSUMED, "help", HELP, when=When.UNHELPED),
        Case("5", CONSUMED, "help"),
    ),
    (OPTED_OUT, Event.CARRIER): (Case("22", CONSUMED, "duplicate", flags=("duplicate",)),),
}

#: Mode off: everything is delivered, and STOP still opts out (row 23). HELP is a text like any other.
RULES_OFF: Mapping[tuple[Consent, Event], tuple[Case, ...]] = {
    **{
        (state, event): (Case("23", DELIVERED, None),)
        for state in (NONE, PENDING, OPTED_IN, OPTED_OUT)
        for event in TEXTS
    },
    **{
        (state, Event.STOP): (Case("23", CONSUMED, "opted_out", REJECT, OPTED_OUT, MT if state is NONE else None),)
        for state in (NONE, PENDING, OPTED_IN)
    },
    **{(state, Event.CARRIER): _carrier(MT if state is NONE else None) for state in (NONE, PENDING, OPTED_IN)},
    (OPTED_OUT, Event.EMPLOYEE): (Case("23", BLOCKED, "opted_out"),),
    (OPTED_OUT, Event.YES): (
        Case("23", CONSUMED, "opted_in", ACCEPT, OPTED_IN, when=When.SHOWN),
        Case("23", DELIVERED, None),
    ),
    (OPTED_OUT, Event.START): (Case("23", CONSUMED, "opted_in", ACCEPT, OPTED_IN),),
    (OPTED_OUT, Event.STOP): (Case("20", CONSUMED, "duplicate", flags=("duplicate",)),),
    (OPTED_OUT, Event.CARRIER): (Case("22", CONSUMED, "duplicate", flags=("duplicate",)),),
}

#: Mode disclaimer: the first text of either side goes through, after one notice (row 28); else as mode consent.
RULES_DISCLAIMER: Mapping[tuple[Consent, Event], tuple[Case, ...]] = {
    **RULES,
    (NONE, Event.EMPLOYEE): (Case("28", DELIVERED, None, ("disclaimer.contact",), OPTED_IN, MO),),
    **{
        (NONE, event): (Case("28", DELIVERED, None, ("disclaimer.contact",), OPTED_IN, MT),)
        for event in (Event.TEXT, Event.NO, Event.START, Event.YES)
    },
}

#: What happens beside the texts does the same in every mode; where nothing stands here, nothing changes.
RULES_EVENTS: Mapping[tuple[Consent, Event], Case] = {
    **{(state, Event.NUMBER_REASSIGNED): Case("25", None, None, (), NONE) for state in (PENDING, OPTED_IN, OPTED_OUT)},
    **{(state, Event.LINE_REASSIGNED): Case("26", None, None, (), NONE) for state in (PENDING, OPTED_IN)},
    (PENDING, Event.UNDELIVERABLE): Case("27", None, None, ("undeliverable.employee",), NONE),
    (NONE, Event.CARRIER): Case("22", None, None, ("o.rejected.employee",), OPTED_OUT, MT),
    **{(state, Event.CARRIER): Case("22", None, None, ("o.rejected.employee",), OPTED_OUT)
       for state in (PENDING, OPTED_IN)},
    (NONE, Event.REVOKED): Case("4", None, None, REJECT, OPTED_OUT, MT),
    (PENDING, Event.REVOKED): Case("10", None, None, REJECT, OPTED_OUT),
    (OPTED_IN, Event.REVOKED): Case("13", None, None, REJECT, OPTED_OUT),
}  # fmt: skip
