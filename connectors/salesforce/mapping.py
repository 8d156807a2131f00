"""How an entry stands in Salesforce: the table of fields, a record to send, the digest of one that was read back.

The package (`package/`) declares these fields; the tests hold the two together.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from connectors.salesforce.normalize import FieldType, line, normalized, paragraph, sendable
from consent.canonical import timestamp
from consent.entry import Entry
from sync.port import Statement

ENTRY_OBJECT = "Assent_Entry__c"
ENTRY_KEY = "Entry_Id__c"
RUN_OBJECT = "Assent_Sync_Run__c"
RUN_KEY = "Run_Key__c"


class Field(NamedTuple):
    """One field of an object in Salesforce."""

    name: str
    type: FieldType
    #: Characters, for texts; 0 where length means nothing.
    length: int = 0
    #: The name of the fact in the entry's body, or of the value beside it, that goes here.
    source: str | None = None
    #: False for what may differ without meaning anything.
    compared: bool = True


LINE, PARAGRAPH, NUMBER, MOMENT = FieldType.LINE, FieldType.PARAGRAPH, FieldType.NUMBER, FieldType.MOMENT

# What every entry has. These never change.
HEAD_FIELDS = (
    Field(ENTRY_KEY, LINE, 64),
    Field("Organization__c", LINE, 32),
    Field("Seq__c", NUMBER),
    Field("Lane__c", LINE, 16),
    Field("Pos__c", NUMBER),
    Field("Kind__c", LINE, 40),
    Field("Conversation__c", LINE, 64),
    Field("Version__c", NUMBER),
    Field("Occurred_At__c", MOMENT),
    # A DateTime keeps whole seconds only; these two keep the microseconds that the leaf hash was made of.
    Field("Occurred_At_Exact__c", LINE, 32),
    Field("Recorded_At__c", MOMENT),
    Field("Recorded_At_Exact__c", LINE, 32),
    Field("Leaf_Hash__c", LINE, 64),
)

# Facts of the body by their names there. One that doesn't fit its column stands whole in Facts__c only.
FACT_FIELDS = (
    Field("Sub_Organization__c", LINE, 64, "sub_organization"),
    Field("Sender__c", LINE, 40, "sender"),
    Field("Channel__c", LINE, 40, "channel"),
    Field("Verdict__c", LINE, 40, "verdict"),
    Field("Reason__c", LINE, 255, "reason"),
    Field("Decision__c", LINE, 40, "decision"),
    Field("Before__c", LINE, 255, "before"),
    Field("After__c", LINE, 255, "after"),
    Field("Origin__c", LINE, 40, "origin"),
    Field("Word__c", LINE, 255, "word"),
    Field("Tier__c", LINE, 40, "tier"),
    Field("Template__c", LINE, 80, "template"),
    Field("Template_Version__c", LINE, 40, "template_version"),
    Field("Template_SHA256__c", LINE, 64, "template_sha256"),
    Field("Language__c", LINE, 40, "language"),
    Field("Source__c", LINE, 40, "source"),
    Field("Actor__c", LINE, 255, "actor"),
    Field("Scope__c", LINE, 40, "scope"),
    Field("Answers__c", LINE, 64, "answers"),
    Field("Flags__c", LINE, 255, "flags"),
)

# Personal values, by their names beside the body; erasure clears them.
PERSONAL_FIELDS = (
    Field("Contact_Number__c", LINE, 40, "contact"),
    Field("Contact_Name__c", LINE, 255, "contact_name"),
    Field("Line__c", LINE, 40, "line"),
    Field("Employee_Id__c", LINE, 255, "employee_id"),
    Field("Employee_Name__c", LINE, 255, "employee_name"),
    Field("Message_Id__c", LINE, 255, "message_id"),
    Field("Text__c", PARAGRAPH, 32768, "text"),
    Field("Media__c", PARAGRAPH, 32768, "media"),
    Field("Note__c", PARAGRAPH, 32768, "note"),
)

# The body as it was hashed, so that the leaf hash can be made again from the record alone.
FACTS = Field("Facts__c", PARAGRAPH, 131072)
PORTAL_LINK = Field("Portal_Link__c", FieldType.LINK, 255, compared=False)

ENTRY_FIELDS = (*HEAD_FIELDS, *FACT_FIELDS, *PERSONAL_FIELDS, FACTS, PORTAL_LINK)

RUN_FIELDS = (
    Field(RUN_KEY, LINE, 64),
    Field("Organization__c", LINE, 32),
    Field("Lane__c", LINE, 16),
    Field("Ledger_Size__c", NUMBER),
    Field("Lane_Size__c", NUMBER),
    Field("Settled__c", NUMBER),
    Field("Root__c", LINE, 64),
    Field("Checkpoint__c", PARAGRAPH, 32768),
    Field("Closed_At__c", MOMENT),
)

_ENTRY_TYPE = {"type": ENTRY_OBJECT}
_RUN_TYPE = {"type": RUN_OBJECT}
_FACTS_BY_NAME: Mapping[str, tuple[str, int]] = MappingProxyType(
    {field.source or "": (field.name, field.length) for field in FACT_FIELDS}
)
_PERSONAL_LINES: Mapping[str, str] = MappingProxyType(
    {field.source or "": field.name for field in PERSONAL_FIELDS if field.type is LINE}
)
_PERSONAL_PARAGRAPHS: Mapping[str, str] = MappingProxyType(
    {field.source or "": field.name for field in PERSONAL_FIELDS if field.type is PARAGRAPH}
)
_COMPARED = tuple((field.name, field.type) for field in ENTRY_FIELDS if field.compared)


def record_of(entry: Entry, portal_url: str | None = None) -> tuple[dict[str, Any], bytes]:
    """Return an entry as a record to upsert, and the digest that `digest_of` gives for it once it is there."""
    kept, sent = _head(entry)  # as Salesforce will keep it, and what is sent in another form than that
    facts = entry.facts()
    values = entry.revealed()
    for source, fact in facts.items():
        if fact is not None and source in _FACTS_BY_NAME:
            name, length = _FACTS_BY_NAME[source]
            said = line(fact) if type(fact) is str else _said(fact, values.get(source))
            if said is not None and len(said) <= length:
                kept[name] = said
    for source, value in values.items():
        text = value if type(value) is str else _text(value)
        if source in _PERSONAL_LINES:
            kept[_PERSONAL_LINES[source]] = line(text)
        elif source in _PERSONAL_PARAGRAPHS:
            name = _PERSONAL_PARAGRAPHS[source]
            kept[name] = paragraph(text)
            sent[name] = sendable(text)
    if entry.body is not None:
        kept["Facts__c"] = entry.body.decode()
    digest = _digest(kept)
    record = {"attributes": _ENTRY_TYPE, **kept, **sent}
    if entry.values is None:
        _clear(record, facts)
    if portal_url is not None:
        record["Portal_Link__c"] = f"{portal_url}/portal/entries/{kept[ENTRY_KEY]}"
    return record, digest


def digest_of(row: Mapping[str, Any]) -> bytes:
    """Return 16 bytes over what a record read back from Salesforce says, whatever Salesforce did to its form."""
    return _digest({name: normalized(row.get(name), type_) for name, type_ in _COMPARED})


def run_records(statement: Statement) -> list[dict[str, Any]]:
    """Return a statement as records to upsert, one for each lane: how far the ledger is, and how far this org."""
    return [
        {
            "attributes": _RUN_TYPE,
            RUN_KEY: f"{statement.organization}-{lane}",
            "Organization__c": statement.organization,
            "Lane__c": lane,
            "Ledger_Size__c": statement.size,
            "Lane_Size__c": size,
            "Settled__c": settled,
            "Root__c": statement.root.hex(),
            "Checkpoint__c": statement.checkpoint,
            "Closed_At__c": _moments(statement.recorded_at)[0] + ".000Z",
        }
        for lane, (size, settled) in statement.lanes.items()
    ]


def _head(entry: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    occurred_second, occurred = _moments(entry.occurred_at)
    recorded_second, recorded = _moments(entry.recorded_at)
    kept = {
        ENTRY_KEY: entry.id,
        "Organization__c": entry.organization,
        "Seq__c": entry.seq,
        "Lane__c": entry.lane,
        "Pos__c": entry.pos,
        "Kind__c": entry.kind,
        "Conversation__c": entry.conversation,
        "Version__c": entry.version,
        "Occurred_At__c": occurred_second,
        "Occurred_At_Exact__c": occurred,
        "Recorded_At__c": recorded_second,
        "Recorded_At_Exact__c": recorded,
        "Leaf_Hash__c": entry.leaf.hex(),
    }
    # Sent without their fractions: an org that rounds instead of cutting them would else be a second off.
    return kept, {"Occurred_At__c": occurred_second + ".000Z", "Recorded_At__c": recorded_second + ".000Z"}


def _moments(micros: int) -> tuple[str, str]:
    """Return a time as compared (whole seconds) and as hashed (microseconds)."""
    seconds, fraction = divmod(micros, 1_000_000)
    second = _second(seconds)
    return second, f"{second}.{fraction:06d}Z"


@lru_cache(maxsize=4096)  # the entries of a batch share their seconds
def _second(seconds: int) -> str:
    return timestamp(seconds * 1_000_000)[:19]


def _said(fact: Any, value: Any) -> str | None:
    """Return a fact that is no text as one line; `value` stands beside the body where that holds a commitment."""
    if isinstance(fact, dict) and "commit" in fact:
        return None if value is None else line(_text(value))
    if isinstance(fact, list) and all(isinstance(part, str) for part in fact):
        return line(" ".join(fact))
    return line(_text(fact))


def _text(value: Any) -> str:
    return value if type(value) is str else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _clear(record: dict[str, Any], facts: Mapping[str, Any]) -> None:
    """Name what was erased, so that an earlier copy in Salesforce is cleared too (an absent field stays as it is)."""
    for field in PERSONAL_FIELDS:
        record[field.name] = None
    for source, (name, _) in _FACTS_BY_NAME.items():
        if isinstance(facts.get(source), dict):
            record.setdefault(name, None)


def _digest(kept: Mapping[str, Any]) -> bytes:
    # Nulls are left out: a field that is added later and empty in old records changes no digest.
    if None in kept.values():
        kept = {name: value for name, value in kept.items() if value is not None}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).digest()[:16]
