"""The rules: what follows when this is said in that state. Everything that decides stands in these tables.

Read a line as: in this state, when this is heard and the condition holds, the text gets this verdict, these
automatic messages go out in this order, and the conversation is in this state afterwards. Cases of one cell are
tried in order; the first whose condition holds counts. The numbers are those of the rows in consent/README.md.
`o` in an automatic message stands for the conversation's origin: the template set of the last request sent.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from consent.values import Consent, Origin, Verdict


class Event(StrEnum):
    """What a text is to the rules."""

    EMPLOYEE = "employee text"
    TEXT = "contact text"
    YES = "YES"
    STOP = "STOP"
    NO = "NO"
    START = "START"
    HELP = "HELP"
    CARRIER = "carrier opt-out"


class When(StrEnum):
    """The conditions that a case may have; the engine knows how to test each of them."""

    ALWAYS = ""
    REQUEST_DUE = "the last request is 24 h old and fewer than 3 are unanswered"
    AFTER_REQUEST = "it was sent after the request"
    UNSPOKEN = "no employee text was delivered since the opt-in"
    SHOWN = "a request was shown once"
    KEYWORD = "it is the opt-out word itself"
    UNHELPED = "no HELP was answered in 24 h"


class Case(NamedTuple):
    """What follows."""

    row: str
    verdict: Verdict
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
        for event in Event
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
