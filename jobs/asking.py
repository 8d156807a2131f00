"""Questions about consent, put and answered in the words of the interface: for the HTTP API and the command line."""

from typing import Any

from sqlalchemy import Connection

from consent.canonical import timestamp
from consent.conversations import find_standings
from consent.history import Moment, Question, Said, consent_at, gate
from consent.numbers import NumberError, read_number, read_sender
from consent.organizations import Organization, organization, organizations, read_policies
from consent.policy import Policy
from consent.tags import Tags
from consent.values import Group
from sync.migrate import tag_key

#: What a caller may name: a channel, or the group of channels that consent is kept for.
CHANNELS = {"text": Group.TEXT, "sms": Group.TEXT, "mms": Group.TEXT, "rcs": Group.TEXT, "whatsapp": Group.WHATSAPP}


class QuestionError(Exception):
    """A question that can't be answered as put: `code` is a word, `detail` names the field, never what stands in it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


def told_consent(
    tx: Connection, org: str, contact: str, line: str | None, channel: str | None, at: int
) -> list[dict[str, Any]]:
    """Return what `/v1/consent` and `consent show` tell of a contact at an instant, one object a conversation."""
    question, _ = _question(tx, org, contact, line, channel)
    return [_moment(one, at) for one in consent_at(tx, Tags(tag_key(tx)), question, at)]


def told_gate(tx: Connection, org: str, line: str, contact: str, channel: str) -> dict[str, Any]:
    """Return what `/v1/gate` answers: whether an employee's text may be sent now, and the entry that says so."""
    question, policy = _question(tx, org, contact, line, channel)
    said = gate(tx, Tags(tag_key(tx)), question, policy)
    return {"allowed": said.allowed, "state": said.state.value, "reason": said.reason, "entry": said.entry}


def conversations_of(tx: Connection, org: str | None, contact: str) -> tuple[str, ...]:
    """Return the ids of a contact's conversations, with one organization or all."""
    asked = main_organizations(tx) if org is None else [org]
    found: list[str] = []
    for one in asked:
        question, _ = _question(tx, one, contact, None, None)
        standings = find_standings(tx, Tags(tag_key(tx)), question.organization, question.contact)
        found += [standing.conversation.id for standing in standings]
    return tuple(found)


def main_organizations(tx: Connection) -> list[str]:
    """Return the ids of all main organizations."""
    return [one.id for one in organizations(tx) if one.parent is None]


def found_organization(tx: Connection, org: str) -> tuple[Organization, Policy]:
    """Return an organization and its effective policy; QuestionError where there is none of this id."""
    try:
        one = organization(tx, org)
    except LookupError:
        detail = "there is no organization of this id: see `assent org list`"
        raise QuestionError("unknown_organization", detail) from None
    return one, read_policies(tx, one.main)[one.id]


def number(given: str, name: str, policy: Policy) -> str:
    """Return a number in E.164; a contact may be a short code or a sender's name."""
    if name == "contact" and (sender := read_sender(given)) is not None:
        return sender
    try:
        return read_number(given, policy.default_region)
    except NumberError as error:
        raise QuestionError("invalid_number", f"`{name}` {error}") from None


def _question(
    tx: Connection, org: str, contact: str, line: str | None, channel: str | None
) -> tuple[Question, Policy]:  # fmt: skip
    one, policy = found_organization(tx, org)
    if channel is not None and channel not in CHANNELS:
        raise QuestionError("invalid_request", f"`channel` is one of {', '.join(CHANNELS)}")
    question = Question(
        one.main,
        number(contact, "contact", policy),
        policy.sub_organization,
        None if line is None else number(line, "line", policy),
        None if channel is None else CHANNELS[channel],
    )
    return question, policy


def _moment(one: Moment, at: int) -> dict[str, Any]:
    known = _said(one.known)
    del known["origin"]
    return {
        "org": one.organization,
        "line": one.line,
        "contact": one.contact,
        "channel": one.group.value,
        "at": timestamp(at),
        **_said(one.said),
        "known": known,
    }


def _said(said: Said) -> dict[str, Any]:
    return {
        "allowed": said.allowed,
        "state": said.state.value,
        "origin": said.origin.value if said.origin else None,
        "entry": said.entry,
    }
