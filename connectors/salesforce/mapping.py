"""How an entry stands in Salesforce: the table of fields, a record to send, the digest of one that was read back.

The package (`package/`) declares these fields; the tests hold the two together.
"""

from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from hashlib import blake2b
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
    Field("To__c", LINE, 40, "to"),
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
    Field("Status__c", LINE, 40, "status"),
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

# A query that selects two Long Text Areas gets 200 records a page instead of 2,000 (SOQL and SOSL Reference, "Change
# the Batch Size in Queries"). So a digest is made of two halves: one over all that a query with a single Long Text
# Area can read, the text among it, and one over the other Long Text Areas.
_TEXT = "Text__c"
_COMPARED = tuple(field for field in ENTRY_FIELDS if field.compared)
SWIFT_FIELDS = tuple(field for field in _COMPARED if field.type is not PARAGRAPH or field.name == _TEXT)
SLOW_FIELDS = tuple(field for field in _COMPARED if field.type is PARAGRAPH and field.name != _TEXT)
_HALF = 8  # bytes
_SCALARS = frozenset({str, int, bool})
_OPENING = b'{"attributes":{"type":"' + ENTRY_OBJECT.encode() + b'"},'


class Row(NamedTuple):
    """An entry as it goes to Salesforce."""

    #: The entry's id.
    key: str
    #: The record, ready to be sent.
    json: bytes
    #: What `digest_of` gives for the record once it is there.
    digest: bytes


def row_of(entry: Entry, portal_url: str | None = None, *, whole: bool = False) -> Row:
    """Return an entry as a record to upsert; a `whole` one also empties what stands where the entry has nothing."""
    swift = _head(entry)
    slow: dict[str, Any] = {}  # these two as Salesforce will keep them
    sent: dict[str, Any] = {}  # and what is sent in another form, or isn't compared
    facts, values = entry.facts(), entry.revealed()
    for source, fact in facts.items():
        if source in _FACTS_BY_NAME:
            said = _said_once(source, fact) if type(fact) in _SCALARS else _said(source, fact, values.get(source))
            if said is not None:
                swift[_FACTS_BY_NAME[source][0]] = said
    _add_personal(values, swift, slow, sent)
    if entry.body is not None:
        body = entry.body.decode()
        # Canonical JSON escapes all controls of ASCII but one, and begins and ends with a brace.
        slow[FACTS.name] = body if body.isascii() and "\x7f" not in body else paragraph(body)
    if portal_url is not None:
        sent[PORTAL_LINK.name] = f"{portal_url}/portal/entries/{swift[ENTRY_KEY]}"
    if whole or entry.values is None:
        sent |= _emptied(swift.keys() | slow.keys() | sent.keys(), facts, whole=whole)
    swift_json = orjson.dumps(swift, option=orjson.OPT_SORT_KEYS)
    slow_json = orjson.dumps(slow, option=orjson.OPT_SORT_KEYS)
    return Row(swift[ENTRY_KEY], _record(swift, swift_json, slow, slow_json, sent), _joined(swift_json, slow_json))


def digest_of(row: Mapping[str, Any], *, slow: bool = True) -> bytes:
    """Return 16 bytes over what a record read back from Salesforce says, whatever Salesforce did to its form.

    Without the `slow` fields, which weren't asked for then, it is the first 8 of these bytes.
    """
    return _joined(_kept(row, SWIFT_FIELDS), _kept(row, SLOW_FIELDS) if slow else None)


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
            "Closed_At__c": _second(statement.recorded_at // 1_000_000) + ".000Z",
        }
        for lane, (size, settled) in statement.lanes.items()
    ]


def fits(text: str, length: int) -> bool:
    """Tell whether a text is no longer than a field: Salesforce counts as Java does, UTF-16 units."""
    return len(text) * 2 <= length or (len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2) <= length


def _head(entry: Entry) -> dict[str, Any]:
    occurred = _second(entry.occurred_at // 1_000_000)
    recorded = _second(entry.recorded_at // 1_000_000)
    head = {
        ENTRY_KEY: entry.id,
        "Organization__c": entry.organization,
        "Seq__c": entry.seq,
        "Lane__c": entry.lane,
        "Pos__c": entry.pos,
        "Kind__c": entry.kind,
        # Sent without their fractions: an org that rounds instead of cutting them would else be a second off.
        "Occurred_At__c": f"{occurred}.000Z",
        "Occurred_At_Exact__c": f"{occurred}.{entry.occurred_at % 1_000_000:06d}Z",
        "Recorded_At__c": f"{recorded}.000Z",
        "Recorded_At_Exact__c": f"{recorded}.{entry.recorded_at % 1_000_000:06d}Z",
        "Leaf_Hash__c": entry.leaf.hex(),
    }
    if entry.conversation is not None:
        head["Conversation__c"] = entry.conversation
    if entry.version is not None:
        head["Version__c"] = entry.version
    return head


def _add_personal(values: Mapping[str, Any], swift: dict[str, Any], slow: dict[str, Any], sent: dict[str, Any]) -> None:
    for source, value in values.items():
        text = value if type(value) is str else _text(value)
        if source in _PERSONAL_LINES:
            if (kept := line(text)) is not None:
                swift[_PERSONAL_LINES[source]] = kept
        elif source in _PERSONAL_PARAGRAPHS:
            name = _PERSONAL_PARAGRAPHS[source]
            if (kept := paragraph(text)) is not None:
                (swift if name == _TEXT else slow)[name] = kept
            if kept != text:
                sent[name] = sendable(text)


def _record(
    swift: Mapping[str, Any], swift_json: bytes, slow: Mapping[str, Any], slow_json: bytes, sent: Mapping[str, Any]
) -> bytes:
    """Return the record to send, of the parts that were made for the digest where nothing differs from them."""
    if any(name in swift or name in slow for name in sent):
        return _OPENING + orjson.dumps({**swift, **slow, **sent})[1:]
    parts = [swift_json[1:-1]]
    if slow:
        parts.append(slow_json[1:-1])
    if sent:
        parts.append(orjson.dumps(sent)[1:-1])
    return _OPENING + b",".join(parts) + b"}"


def _kept(row: Mapping[str, Any], fields: Iterable[Field]) -> bytes:
    # Nulls are left out: a field that is added later and empty in old records changes no digest.
    kept = {field.name: normalized(row.get(field.name), field.type) for field in fields}
    return orjson.dumps({name: value for name, value in kept.items() if value is not None}, option=orjson.OPT_SORT_KEYS)


def _joined(swift: bytes, slow: bytes | None) -> bytes:
    half = blake2b(swift, digest_size=_HALF).digest()
    return half if slow is None else half + blake2b(slow, digest_size=_HALF).digest()


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Return a time as `2026-11-23T10:00:00`; `seconds` since 1970."""
    days, rest = divmod(seconds, 86_400)
    hour, rest = divmod(rest, 3600)
    minute, second = divmod(rest, 60)
    return f"{_day(days)}T{hour:02d}:{minute:02d}:{second:02d}"


@lru_cache(maxsize=256)  # few days come again and again
def _day(days: int) -> str:
    return timestamp(days * 86_400_000_000)[:10]


def _said(source: str, fact: Any, value: Any) -> str | None:
    """Return what a fact's field says, None where it has nothing to say or has no room for it.

    `value` stands beside the body where the fact is a commitment to it.
    """
    if fact is None:
        return None
    if isinstance(fact, dict) and "commit" in fact:
        said = None if value is None else line(_text(value))
    elif isinstance(fact, list) and all(isinstance(part, str) for part in fact):
        said = line(" ".join(fact))
    else:
        said = line(_text(fact))
    return said if said is not None and fits(said, _FACTS_BY_NAME[source][1]) else None


@lru_cache(maxsize=4096, typed=True)
def _said_once(source: str, fact: str | int | bool) -> str | None:
    """Do the same for words and numbers, which are few, and never personal."""
    return _said(source, fact, None)


def _text(value: Any) -> str:
    return value if type(value) is str else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _emptied(filled: Set[str], facts: Mapping[str, Any], *, whole: bool) -> dict[str, None]:
    """Return the fields to empty by name: an absent field stays as it is in Salesforce.

    Those of an erased entry; where the record is sent `whole`, all that the entry has nothing for.
    """
    erased = {name for source, (name, _) in _FACTS_BY_NAME.items() if isinstance(facts.get(source), dict)}
    meant = {field.name for field in _COMPARED} if whole else erased | {field.name for field in PERSONAL_FIELDS}
    return dict.fromkeys(sorted(meant - filled))
