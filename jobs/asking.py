"""Questions about consent, put and answered in the words of the interface: for the HTTP API and the command line."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from consent.canonical import timestamp
from consent.database import Database
from consent.history import Question, Said, consent_at, gate
from consent.numbers import NumberError, is_sender_code, read_number
from consent.organizations import organization, read_policies
from consent.policy import Policy
from consent.tags import Tags
from consent.values import Group
from sync.migrate import tag_key

#: What a caller may name: a channel, or the group of channels that consent is kept for.
_GROUPS = {
    "text": Group.TEXT, "sms": Group.TEXT, "mms": Group.TEXT, "rcs": Group.TEXT, "whatsapp": Group.WHATSAPP,
}  # fmt: skip


class AskingError(Exception):
    """A question that can't be answered as put: `code` is a word, as in the answers to messages."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a caller puts it; numbers in any form."""

    org: str
    contact: str
    line: str | None = None
    channel: str | None = None


def show_consent(database: Database, asked: Asked, at: int) -> list[dict[str, Any]]:
    """Say what held at an instant (microseconds since 1970), one object a conversation; raise AskingError."""
    with database.read() as tx:
        question, _ = _question(tx, asked)
        moments = consent_at(tx, Tags(tag_key(tx)), question, at)
    return [
        {
            "org": moment.organization,
            "line": moment.line,
            "contact": moment.contact,
            "channel": moment.group.value,
            "at": timestamp(at),
            "allowed": moment.said.allowed,
            "state": moment.said.state.value,
            "origin": moment.said.origin.value if moment.said.origin else None,
            "entry": moment.said.entry,
            "known": {
                "allowed": moment.known.allowed,
                "state": moment.known.state.value,
                "entry": moment.known.entry,
            },
        }
        for moment in moments
    ]


def ask_gate(database: Database, asked: Asked) -> dict[str, Any]:
    """Say whether an employee's text may be sent now, with the entry that allows or forbids it; raise AskingError."""
    if asked.line is None or asked.channel is None:
        raise AskingError("invalid_request", "`line` and `channel` are needed: the gate is one conversation's")
    with database.read() as tx:
        question, policy = _question(tx, asked)
        said = gate(tx, Tags(tag_key(tx)), question, policy)
    return _gate_answer(said)


def contact_conversations(database: Database, org: str, contact: str) -> tuple[str, tuple[str, ...]]:
    """Return the main organization and the ids of a contact's conversations with it; raise AskingError."""
    from consent.conversations import find_standings

    with database.read() as tx:
        question, _ = _question(tx, Asked(org, contact))
        found = find_standings(tx, Tags(tag_key(tx)), question.organization, question.contact)
    return question.organization, tuple(one.conversation.id for one in found)


def _gate_answer(said: Said) -> dict[str, Any]:
    return {"allowed": said.allowed, "state": said.state.value, "reason": said.reason, "entry": said.entry}


def _question(tx: Connection, asked: Asked) -> tuple[Question, Policy]:
    try:
        one = organization(tx, asked.org)
    except LookupError:
        detail = "there is no organization of this id: see `assent org list`"
        raise AskingError("unknown_organization", detail) from None
    if asked.channel is not None and asked.channel not in _GROUPS:
        raise AskingError("invalid_request", f"`channel` is one of {', '.join(_GROUPS)}")
    policy = read_policies(tx, one.main)[one.id]
    question = Question(
        one.main,
        _number(asked.contact, "contact", policy),
        one.id if one.parent is not None else None,
        _number(asked.line, "line", policy) if asked.line is not None else None,
        _GROUPS[asked.channel] if asked.channel is not None else None,
    )
    return question, policy


def _number(given: str, name: str, policy: Policy) -> str:
    raw = given.strip()
    # A `+` in a query string that wasn't encoded arrives as a blank.
    if given[:1] == " " and raw[:1].isdigit():
        raw = "+" + raw
    if name == "contact" and is_sender_code(raw):
        return raw
    try:
        return read_number(raw, policy.default_region)
    except NumberError as error:
        raise AskingError("invalid_number", f"`{name}` {error}") from None
