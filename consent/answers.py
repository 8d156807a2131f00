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
    if not body:
        # Years later. To take it anew would send everything a second time.
        detail = "this id was used for a message whose record was disposed of: ids are used once"
        return {"id": message_id, "error": {"code": "id_conflict", "detail": detail}}
    return {
        "id": message_id,
        "verdict": body["verdict"],
        "reason": body["reason"],
        "state": body["after"],
        "origin": body["origin"],
        "auto_messages": [_auto_message(one, text) for one in entries if one.kind == "auto_message" and one.body],
        "released": list(released),
        "flags": list(body.get("flags", ())),
        "entries": [one.id for one in entries],
    }


def event_answer(event_id: str, event: str, entries: Sequence[Told]) -> dict[str, Any]:
    """Return the answer to an event: which conversations it changed, and what was sent because of it."""
    return {
        "id": event_id,
        "event": event,
        "changed": [
            {"line": one.values.get("line"), "contact": one.values.get("contact"), "channel": one.body["channel"],
             "state": one.body["after"]}
            for one in entries
            if one.kind != "auto_message" and "after" in one.body and one.body["after"] != one.body.get("before")
        ],
        "auto_messages": [_sent_beside(one) for one in entries if one.kind == "auto_message" and one.body],
        "entries": [one.id for one in entries],
    }  # fmt: skip


def releases(entries: Sequence[Told]) -> list[tuple[str, int]]:
    """Return which texts these entries release, in order: (conversation, version)."""
    return [
        (str(one.conversation), version) for one in entries if one.kind == "decision"
        for version in one.body.get("released", ())
    ]  # fmt: skip


def _auto_message(sent: Told, text: Told) -> dict[str, Any]:
    if sent.conversation != text.conversation:  # of another line than the text's: say which
        return _sent_beside(sent)
    body = sent.body
    return {"entry": sent.id, "to": body["to"], "template": body["template"], "text": sent.values.get("text")}


def _sent_beside(sent: Told) -> dict[str, Any]:
    body, values = sent.body, sent.values
    return {"entry": sent.id, "to": body["to"], "template": body["template"], "text": values.get("text"),
            "line": values.get("line"), "channel": body["channel"]}  # fmt: skip
