"""What waited for a YES goes out when nobody is asked any more: the mode of an organization was switched off."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from consent.conversation import Conversation
from consent.conversations import keep, pending
from consent.kinds import Kind
from consent.ledger import Appending, lock, read_conversation
from consent.policy import Policy
from consent.step import Step
from consent.values import Message, Mode, Sender


def release_waiting(
    tx: Connection, organization: str, policies: Mapping[str, Policy], *, actor: str, now: int
) -> list[str]:
    """Release the texts of a main organization's pending contacts; return their message ids, oldest first by contact.

    The states stay: who was asked and did not answer has still not agreed. Each conversation's release is an entry
    of its own, so that a replay knows of it.
    """
    released: list[str] = []
    after = ""
    while page := pending(tx, organization, after=after):
        after = page[-1].conversation.id
        waiting = [
            one for one in page
            if (one.conversation.held or one.conversation.waiting)
            and policies[one.conversation.sub_organization or organization].mode is Mode.OFF
        ]  # fmt: skip
        appending = Appending(tx, lock(tx, organization), now)
        for standing in waiting:
            told = standing.conversation
            step = Step(told, _about(told, now), policies[told.sub_organization or organization])
            step.release({"setting": "held_texts", "mode": Mode.OFF.value, "actor": actor})
            appending.add(step.records)
            released += _message_ids(tx, told, step.records[0].body.get("released", ()))
            standing.conversation = step.conversation
        appending.write()
        keep(tx, waiting)
    return released


def _about(told: Conversation, now: int) -> Message:
    """Return the empty text that the step is written about."""
    return Message(
        "", told.organization, told.sub_organization, told.group.value, told.group, Sender.EMPLOYEE, told.line,
        told.contact, "", now, now,
    )  # fmt: skip


def _message_ids(tx: Connection, told: Conversation, versions: Sequence[int]) -> list[str]:
    if not versions:
        return []
    entries = read_conversation(tx, told.organization, told.id, versions)
    ids = [entry.revealed().get("message_id") for entry in entries if entry.kind == Kind.MESSAGE]
    return [one for one in ids if one is not None]  # None where it was lawfully erased
