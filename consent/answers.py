"""The answer to a text, built from the entries that it wrote: the first time, and whenever it comes again."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from consent.entry import Entry


class Told(NamedTuple):
    """An entry as an answer needs it."""

    id: str
    kind: str
    conversation: str | None
    version: int | None
    body: Mapping[str, Any]
    values: Mapping[str, Any]


def told(entry: Entry) -> Told:
    """Return a stored entry as an answer needs it."""
    return Told(entry.id, entry.kind, entry.conversation, entry.version, entry.facts(), entry.revealed())


def answer(message_id: str, entries: Sequence[Told], released: Sequence[str]) -> dict[str, Any]:
    """Return the answer to a message; `released` are the ids of the texts that may now be delivered."""
    text = next(one for one in entries if one.kind == "message")
    body = text.body
    return {
        "id": message_id,
        "verdict": body["verdict"],
        "reason": body["reason"],
        "state": body["after"],
        "origin": body["origin"],
        "auto_messages": [_auto_message(one, text) for one in entries if one.kind == "auto_message"],
        "released": list(released),
        "flags": list(body.get("flags", ())),
        "entries": [one.id for one in entries],
    }


def releases(entries: Sequence[Told]) -> list[tuple[str, int]]:
    """Return which texts these entries release, in order: (conversation, version)."""
    return [
        (str(one.conversation), version) for one in entries if one.kind == "decision"
        for version in one.body.get("released", ())
    ]  # fmt: skip


def _auto_message(sent: Told, text: Told) -> dict[str, Any]:
    told_of = {
        "entry": sent.id,
        "to": sent.body["to"],
        "template": sent.body["template"],
        "text": sent.values.get("text"),
    }
    if sent.conversation != text.conversation:  # of another line than the text's: say which
        told_of |= {"line": sent.values.get("line"), "channel": sent.body["channel"]}
    return told_of
