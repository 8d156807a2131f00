"""Replay: the states that follow from a ledger's entries alone, from its beginning or from a snapshot.

What the database keeps beside the ledger is only kept for speed: replaying the entries gives the same states,
also after every name, number and text in them was erased. Where entries were disposed of after their retention,
replay begins at a snapshot of the states as they were then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from consent.canonical import canonical
from consent.conversation import Conversation, begin, evolve
from consent.entry import Entry
from consent.kinds import Kind
from consent.values import Group


class ReplayError(Exception):
    """These entries can't be replayed; the message names the entry and what to do."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every conversation's state after a ledger's first `size` entries."""

    organization: str
    size: int
    #: By conversation id; line and contact are empty: a snapshot holds nothing personal.
    conversations: Mapping[str, Conversation] = field(default_factory=dict)


def replay(entries: Iterable[Entry], start: Snapshot | None = None) -> dict[str, Conversation]:
    """Return each conversation's state after these entries, by conversation id.

    The entries are all of one ledger, in order, from its first or from the one at `start.size`. Line and contact
    are as the entries' values tell them, empty where those were erased. Raises ReplayError at a gap, and at a
    disposed entry.
    """
    states = dict(start.conversations) if start is not None else {}
    seq = start.size if start is not None else 0
    for entry in entries:
        if entry.seq != seq or (start is not None and entry.organization != start.organization):
            raise ReplayError(f"{entry.id} isn't the ledger's next entry: replay all of one ledger, in order")
        if entry.body is None:
            raise ReplayError(f"{entry.id} was disposed of: replay from a snapshot taken after it")
        if entry.conversation is not None and entry.version is not None:
            facts = entry.facts()
            before = states.get(entry.conversation) or begun(entry, entry.conversation, facts)
            states[entry.conversation] = evolve(before, Kind(entry.kind), entry.version, entry.occurred_at, facts)
        seq += 1
    return states


def snapshot(organization: str, size: int, conversations: Mapping[str, Conversation]) -> bytes:
    """Return the states after a ledger's first `size` entries as canonical JSON, without anything personal."""
    return canonical({
        "organization": organization,
        "size": size,
        "conversations": {
            id: {
                "sub_organization": told.sub_organization, "channel": told.group.value, "version": told.version,
                "state": told.state(),
            }
            for id, told in conversations.items()  # noqa: A001
        },
    })  # fmt: skip


def restore(data: bytes) -> Snapshot:
    """Return what `snapshot` made these bytes of."""
    kept = orjson.loads(data)
    organization: str = kept["organization"]
    return Snapshot(organization, kept["size"], {
        id: begin(id, organization, one["sub_organization"], "", "", Group(one["channel"])).restored(
            one["version"], one["state"]
        )
        for id, one in kept["conversations"].items()  # noqa: A001
    })  # fmt: skip


def begun(entry: Entry, conversation: str, facts: Mapping[str, Any]) -> Conversation:
    """Return a conversation as its first entry finds it: that entry is always a text, which names the channel."""
    values = entry.revealed()
    group = Group.WHATSAPP if facts.get("channel") == "whatsapp" else Group.TEXT
    return begin(
        conversation, entry.organization, facts.get("sub_organization"), str(values.get("line", "")),
        str(values.get("contact", "")), group,
    )  # fmt: skip
