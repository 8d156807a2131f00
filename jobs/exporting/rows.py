"""An entry as a row of a table: the columns of CSV and XLSX."""

import json
from collections.abc import Mapping
from typing import Any

from consent.canonical import timestamp
from consent.entry import Entry

_HEAD = ("id", "organization", "sub_organization", "kind", "occurred_at", "recorded_at", "conversation", "version")
_PEOPLE = ("contact", "contact_name", "line", "employee_id", "employee_name")
#: Facts and values by their own names, each in a column of its own.
_FACTS = (
    "channel", "sender", "text", "verdict", "reason", "decision", "before", "after", "origin", "source", "scope",
    "word", "tier", "to", "template", "template_version", "template_sha256", "language", "answers", "flags", "note",
    "actor", "message_id", "media",
)  # fmt: skip
_TAIL = ("state", "lane", "pos", "seq", "leaf_hash", "other")
COLUMNS = (*_HEAD, *_PEOPLE, *_FACTS, *_TAIL)


def row(entry: Entry) -> list[str]:
    """Return an entry's cells in the order of COLUMNS; what has no column of its own stands in `other` as JSON."""
    facts = entry.facts()
    shown: dict[str, Any] = {**facts, **entry.revealed()}
    # What was committed to and is erased says nothing to a reader.
    shown = {name: value for name, value in shown.items() if not _is_commitment(value)}
    state = "disposed" if entry.body is None else "erased" if entry.values is None else ""
    cells: dict[str, Any] = {
        "id": entry.id, "organization": entry.organization, "kind": entry.kind, "lane": entry.lane, "pos": entry.pos,
        "seq": entry.seq, "occurred_at": timestamp(entry.occurred_at), "recorded_at": timestamp(entry.recorded_at),
        "conversation": entry.conversation, "version": entry.version, "state": state, "leaf_hash": entry.leaf.hex(),
    }  # fmt: skip
    for name in ("sub_organization", *_PEOPLE, *_FACTS):
        cells[name] = shown.pop(name, None)
    cells["other"] = shown or None
    return [_cell(cells[name]) for name in COLUMNS]


def visible(text: str) -> str:
    """Return a text with control characters as their pictures (␀), line ends and tabs left as they are."""
    return text.translate(_PICTURES)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _is_commitment(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"commit"}


_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"} | {127: 0x2421}
