"""How an entry stands in Salesforce: the table of fields, a record to send, the digest of one that was read back.

The package (`package/`) declares these fields; the tests hold the two together.
"""

import re
from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from connectors.salesforce.normalize import FieldType, line, normalized, paragraph, sendable
from consent.canonical import entry_id, timestamp
from consent.entry import Entry
from consent.values import new
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
    Field("Occurred_At__c", MOMENT),
    # A DateTime keeps whole seconds only; these two keep the microseconds that the leaf hash was made of.
    Field("Occurred_At_Exact__c", LINE, 32),
    Field("Recorded_At__c", MOMENT),
    Field("Recorded_At_Exact__c", LINE, 32),
    Field("Leaf_Hash__c", LINE, 64),
    # An entry may belong to no conversation.
    Field("Conversation__c", LINE, 64),
    Field("Version__c", NUMBER),
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
# A query that selects two Long Text Areas gets 200 records a page instead of 2,000 (SOQL and SOSL Reference, "Change
# the Batch Size in Queries"). So a digest is made of two halves: one over all that a query with a single Long Text
# Area can read, the text among it, and one over the other Long Text Areas. Each is over JSON in the order of these
# two: the order in which bodies and values are stored (sorted by name), so that nothing is sorted to make one.
_TEXT = "Text__c"
_STORED = (*HEAD_FIELDS, *sorted(PERSONAL_FIELDS, key=lambda field: str(field.source)),
           *sorted(FACT_FIELDS, key=lambda field: str(field.source)), FACTS)  # fmt: skip
SWIFT_FIELDS = tuple(field for field in _STORED if field.type is not PARAGRAPH or field.name == _TEXT)
SLOW_FIELDS = tuple(field for field in _STORED if field.type is PARAGRAPH and field.name != _TEXT)
# By the name of the value: the field, whether that is of one line, and whether it is a slow one.
_PERSONAL: Mapping[str, tuple[str, bool, bool]] = {
    field.source or "": (field.name, field.type is LINE, field in SLOW_FIELDS) for field in PERSONAL_FIELDS
}
_NOTHING = blake2b(digest_size=8)  # a copy is made in a fifth of the time of a new one
# Of each: its name, its type, whether that is a text.
_SWIFT, _SLOW = (
    tuple((field.name, field.type, field.type in (LINE, PARAGRAPH)) for field in fields)
    for fields in (SWIFT_FIELDS, SLOW_FIELDS)
)
# What is different in each body where all else comes again and again: commitments, and times. The members of the
# rest are remembered; they are never personal.
_SINGULAR = re.compile(rb'":(?:\{"commit":"[^"]*"\}|\d{15,})')
_LONGEST_KEPT = 4096  # bytes; a thousand are kept at most
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
    # This runs once for each record that leaves: what could be a call of its own is written out here and below.
    key = entry_id(entry.organization, entry.seq)
    values = orjson.loads(entry.values) if entry.values else {}
    slow: dict[str, Any] = {}  # as Salesforce will keep it
    sent: dict[str, Any] = {}  # what is sent in another form
    personal = _plain_members(values)
    if personal is None:
        personal = _personal_members(values, slow, sent)
    members = ""
    if entry.body is not None:
        body = entry.body.decode()
        # Canonical JSON escapes all controls of ASCII but one, and begins and ends with a brace.
        slow[FACTS.name] = body if body.isascii() and "\x7f" not in body else paragraph(body)
        members = _members_of(entry.body, values)
    swift_json = f"{{{_head(entry, key)}{personal}{members}}}".encode()
    slow_json = orjson.dumps(slow)
    if whole or entry.values is None:
        filled = {**orjson.loads(swift_json), **slow, **sent}.keys()
        sent |= _emptied(filled, entry.facts(), whole=whole)
    link = b""
    if portal_url is not None:
        link = b"," + orjson.dumps({PORTAL_LINK.name: f"{portal_url}/portal/entries/{key}"})[1:-1]
    if sent:
        merged = orjson.dumps({**orjson.loads(swift_json), **orjson.loads(slow_json), **sent})
        json = b"".join((_OPENING, merged[1:-1], link, b"}"))
    else:
        json = b"".join((_OPENING, swift_json[1:-1], b"," if slow else b"", slow_json[1:-1], link, b"}"))
    return new(Row, (key, json, _joined(swift_json, slow_json)))


def digest_of(row: Mapping[str, Any], *, slow: bool = True) -> bytes:
    """Return 16 bytes over what a record read back from Salesforce says, whatever Salesforce did to its form.

    Without the `slow` fields, which weren't asked for then, it is the first 8 of these bytes.
    """
    return _joined(_kept(row, _SWIFT), _kept(row, _SLOW) if slow else None)


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
            "Closed_At__c": _times(statement.recorded_at)[0],
        }
        for lane, (size, settled) in statement.lanes.items()
    ]


def fits(text: str, length: int) -> bool:
    """Tell whether a text is no longer than a field: Salesforce counts as Java does, UTF-16 units."""
    return len(text) * 2 <= length or (len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2) <= length


def _head(entry: Entry, key: str) -> str:
    """Return the JSON members of what every entry has; its words are plain ASCII with nothing to escape."""
    organization, seq, lane, pos, kind, conversation, version, occurred_at, recorded_at, _, _, leaf = entry
    occurred, occurred_exactly = _times(occurred_at)
    recorded, recorded_exactly = _times(recorded_at)
    head = (
        f'"{ENTRY_KEY}":"{key}","Organization__c":"{organization}","Seq__c":{seq}'
        f',"Lane__c":"{lane}","Pos__c":{pos},"Kind__c":"{kind}"'
        # Sent without their fractions: an org that rounds instead of cutting them would else be a second off.
        f',"Occurred_At__c":"{occurred}","Occurred_At_Exact__c":"{occurred_exactly}"'
        f',"Recorded_At__c":"{recorded}","Recorded_At_Exact__c":"{recorded_exactly}"'
        f',"Leaf_Hash__c":"{leaf.hex()}"'
    )
    if conversation is not None:
        head += f',"Conversation__c":"{conversation}"'
    if version is not None:
        head += f',"Version__c":{version}'
    return head


@lru_cache(maxsize=1024)  # the entries of a commit share their times
def _times(micros: int) -> tuple[str, str]:
    """Return a time in whole seconds, and exactly."""
    minute, digits = _minute(micros // 60_000_000), f"{micros % 60_000_000:08d}"  # two are seconds
    return f"{minute}{digits[:2]}.000Z", f"{minute}{digits[:2]}.{digits[2:]}Z"


@lru_cache(maxsize=1024)
def _minute(minutes: int) -> str:
    """Return a time as `2026-11-23T10:00:`; minutes since 1970."""
    return timestamp(minutes * 60_000_000)[:17]


def _plain_members(values: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the JSON members of personal values, a comma before each, where Salesforce keeps all as they are.

    None where it may not, where JSON writes one in another way, and where one belongs among the slow fields.
    """
    form = _plain_form(tuple(values))
    if form is None:
        return None
    texts = [held["value"] for held in values.values()]
    try:
        joined = "|".join(["", *texts, ""])
    except TypeError:  # a value that is no text
        return None
    # isprintable is false for every control, line end and blank but U+0020: most values are kept as they are.
    if not joined.isprintable() or '"' in joined or "\\" in joined:
        return None
    if "| " in joined or " |" in joined or "||" in joined:  # blanks at an end, or nothing at all
        return None
    return form % tuple(texts)


@lru_cache(maxsize=256)
def _plain_form(sources: tuple[str, ...]) -> str | None:
    """Return the members of personal values by name, `%s` where each stands; None where not all have a swift field."""
    places = [_PERSONAL.get(source) for source in sources]
    if not places or any(place is None or place[2] for place in places):
        return None
    return "".join([f',"{place[0]}":"%s"' for place in places if place])


def _personal_members(values: Mapping[str, Mapping[str, Any]], slow: dict[str, Any], sent: dict[str, Any]) -> str:
    """Return the JSON members of personal values as Salesforce keeps them, a comma before each.

    Adds those of slow fields to `slow`, and to `sent` what is sent in another form than it is kept.
    """
    swift: dict[str, str] = {}
    for source, held in values.items():
        place = _PERSONAL.get(source)
        if place is None:
            continue
        name, is_line, is_slow = place
        text = _text(held["value"])
        kept = line(text) if is_line else paragraph(text)
        if kept is not None:
            (slow if is_slow else swift)[name] = kept
        if not is_line and kept != text:
            sent[name] = sendable(text)
    return f",{orjson.dumps(swift)[1:-1].decode()}" if swift else ""


def _members_of(body: bytes, values: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the JSON members of the facts that have a field and something to say, a comma before each."""
    said = _members_said(_SINGULAR.sub(b'":{}', body)) if len(body) <= _LONGEST_KEPT else None
    if said is not None:
        return said
    return "".join([_member(source, fact, values.get(source)) for source, fact in _fielded(body)])


@lru_cache(maxsize=1000)
def _members_said(body: bytes) -> str | None:
    """Return the members of a body whose singular parts are cut out as `{}`; None where one of them has a field."""
    facts = _fielded(body)
    # What was cut out, of a text among others, has left these two.
    if any(b"{}" in orjson.dumps(fact) for _, fact in facts):
        return None
    return "".join([_member(source, fact, None) for source, fact in facts])


def _fielded(body: bytes) -> list[tuple[str, Any]]:
    return [(source, fact) for source, fact in orjson.loads(body).items() if source in _FACTS_BY_NAME]


def _member(source: str, fact: Any, held: Mapping[str, Any] | None) -> str:
    """Return `,"Field__c":"what it says"`, or nothing where it has nothing to say or no room for it.

    `held` stands among the values where the fact is a commitment to one.
    """
    if isinstance(fact, dict) and "commit" in fact:
        fact = None if held is None else held["value"]
    elif isinstance(fact, list) and all(isinstance(part, str) for part in fact):
        fact = " ".join(fact)
    name, length = _FACTS_BY_NAME[source]
    kept = None if fact is None else line(_text(fact))
    return f',"{name}":{orjson.dumps(kept).decode()}' if kept is not None and fits(kept, length) else ""


def _kept(row: Mapping[str, Any], fields: Iterable[tuple[str, FieldType, bool]]) -> bytes:
    kept = {}
    for name, type_, is_text in fields:
        value = row.get(name)
        # Nulls are left out: a field that is added later and empty in old records changes no digest.
        if value is None:
            continue
        if is_text and type(value) is str and value.isprintable() and value[:1] != " " != value[-1:]:
            if value:
                kept[name] = value
        elif (normal := normalized(value, type_)) is not None:
            kept[name] = normal
    return orjson.dumps(kept)


def _joined(swift: bytes, slow: bytes | None) -> bytes:
    digest = _NOTHING.copy()
    digest.update(swift)
    half = digest.digest()
    if slow is None:
        return half
    digest.update(slow)
    return half + digest.digest()


def _text(value: Any) -> str:
    return value if type(value) is str else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _emptied(filled: Set[str], facts: Mapping[str, Any], *, whole: bool) -> dict[str, None]:
    """Return the fields to empty by name: an absent field stays as it is in Salesforce.

    Those of an erased entry; where the record is sent `whole`, all that the entry has nothing for.
    """
    erased = {name for source, (name, _) in _FACTS_BY_NAME.items() if isinstance(facts.get(source), dict)}
    meant = {field.name for field in _STORED} if whole else erased | {field.name for field in PERSONAL_FIELDS}
    return dict.fromkeys(sorted(meant - filled))
