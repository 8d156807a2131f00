"""The words of the consent engine as values: closed choices, a text that came in, a decision about it.

Standard library only: the rules import this file and no clock, no database, no network.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from consent.kinds import Kind


class Sender(StrEnum):
    """Who wrote a text."""

    EMPLOYEE = "employee"
    CONTACT = "contact"


class Consent(StrEnum):
    """What a contact has agreed to in one conversation."""

    NONE = "none"
    PENDING = "pending"
    OPTED_IN = "opted_in"
    OPTED_OUT = "opted_out"


class Origin(StrEnum):
    """Whose text started it, in the vendor's sense: the template set of the last request sent to the contact."""

    MO = "mo"  # employee-initiated
    MT = "mt"  # contact-initiated


class Verdict(StrEnum):
    """What becomes of the text that was decided about."""

    DELIVERED = "delivered"
    HELD = "held"  # kept, not shown to the employee yet
    BLOCKED = "blocked"  # an employee's text that is not sent
    CONSUMED = "consumed"  # a keyword: acted on, not relayed as chat


class Mode(StrEnum):
    """An organization's consent mode: a gate in front of the state, not a state."""

    OFF = "off"
    CONSENT = "consent"
    DISCLAIMER = "disclaimer"


class Scope(StrEnum):
    """How far an opt-out reaches."""

    PAIR = "pair"
    SUB_ORG = "sub_org"
    ORG = "org"


class Group(StrEnum):
    """A channel group: consent on one says nothing of the other."""

    TEXT = "text"  # SMS, MMS, RCS
    WHATSAPP = "whatsapp"


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Message(NamedTuple):
    """One text, read and normalized: numbers in E.164, times in microseconds since 1970 (UTC)."""

    id: str
    #: The main organization, whose ledger this goes to.
    organization: str
    sub_organization: str | None
    channel: str
    group: Group
    sender: Sender
    line: str
    contact: str
    text: str
    #: The clock of the rules: the sender's, or the time of receipt where that is missing or ahead.
    sent_at: int
    received_at: int
    employee_id: str | None = None
    employee_name: str | None = None
    contact_name: str | None = None
    language: str | None = None
    #: All contact numbers of a group text, this contact's among them.
    recipients: tuple[str, ...] = ()
    media: tuple[Mapping[str, str], ...] = ()
    provider: Mapping[str, Any] = _NOTHING
    #: The numbers as they came, where that differs from E.164.
    raw: Mapping[str, Any] = _NOTHING
    flags: tuple[str, ...] = ()


#: Makes a named tuple of its fields, `new(Record, (...))`, without the step in Python that calling it takes: a decision
#: makes half a dozen, and is a twentieth quicker by it.
new = tuple.__new__


class Record(NamedTuple):
    """What is to be written down, before the ledger numbers it."""

    kind: Kind
    #: The events' own clock, microseconds since 1970.
    occurred_at: int
    #: Facts that may stay for ever: ASCII keys; strings, integers, booleans, null, lists, objects.
    body: Mapping[str, Any]
    #: Personal facts (numbers, names, texts, message ids); they enter the body as commitments only.
    values: Mapping[str, Any]
    conversation: str | None = None
    #: The conversation's version after the step that wrote this; all records of one step share it.
    version: int | None = None
