"""How an entry stands in Salesforce: a record to send, and the digest of one that was read back."""

import re
from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from connectors.salesforce.fields import (
    ENTRY_KEY,
    ENTRY_OBJECT,
    FACT_FIELDS,
    FACTS,
    LINE,
    PARAGRAPH,
    PERSONAL_FIELDS,
    PORTAL_LINK,
    RUN_KEY,
    RUN_OBJECT,
    SLOW_FIELDS,
    SWIFT_FIELDS,
)
from connectors.salesforce.normalize import FieldType, line, normalized, paragraph, sendable
from consent.canonical import entry_id, timestamp
from consent.entry import Entry
from consent.values import new
from sync.port import Statement

_RUN_TYPE = {"type": RUN_OBJECT}
# By the name of the fact: the field, and its length.
_FACTS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {field.source or "": (field.name, field.length) for field in FACT_FIELDS}
)
# By the name of the value: the field, whether that is of one line, and whether it is a slow one.
_PERSONAL: Mapping[str, tuple[str, bool, bool]] = MappingProxyType(
    {field.source or "": (field.name, field.type is LINE, field in SLOW_FIELDS) for field in PERSONAL_FIELDS}
)
_NOTHING = blake2b(digest_size=8)  # a copy is made in a fifth of the time of a new one
# Of each: its name, its type, whether that is a text.
_SWIFT, _SLOW = (
    tuple((field.name, field.type, field.type in (LINE, PARAGRAPH)) for field in fields)
    for fields in (SWIFT_FIELDS, SLOW_FIELDS)
)
# What is different in each body where all else comes again and again: commitments (`{"commit":"…"}`), and times
# (`"sent_at":…`). Beginning in one way, they are found in two thirds of the steps.
_SINGULAR = re.compile(rb't":(?:"[^"]{43}(?<!\\)"(?=\})|\d{15,})')
_CUT = b't":0'
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
    slow: dict[str, Any] = {}  # as Salesforce will keep it
    sent: dict[str, Any] = {}  # what is sent in another form
    members = _members_by_form(entry)
    if members is None:
        members = _members(entry.facts(), entry.revealed(), slow, sent)
    if entry.body is not None:
        body = entry.body.decode()
        # Canonical JSON escapes all controls of ASCII but one, and begins and ends with a brace.
        slow[FACTS.name] = body if body.isascii() and "\x7f" not in body else paragraph(body)
    swift_json = f"{{{_head(entry, key)}{members}}}".encode()
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
            "Closed_At__c": f"{_time(statement.recorded_at)[0]}.000Z",
        }
        for lane, (size, settled) in statement.lanes.items()
    ]


def fits(text: str, length: int) -> bool:
    """Tell whether a text is no longer than a field: Salesforce counts as Java does, UTF-16 units."""
    return len(text) * 2 <= length or (len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2) <= length


def _head(entry: Entry, key: str) -> str:
    """Return the JSON members of what every entry has; its words are plain ASCII with nothing to escape."""
    organization, seq, lane, pos, kind, conversation, version, occurred_at, recorded_at, _, _, leaf = entry
    occurred, after_occurred = _time(occurred_at)
    recorded, after_recorded = _time(recorded_at)
    head = (
        f'"{ENTRY_KEY}":"{key}","Organization__c":"{organization}","Seq__c":{seq}'
        f',"Lane__c":"{lane}","Pos__c":{pos},"Kind__c":"{kind}"'
        # Sent without their fractions: an org that rounds instead of cutting them would else be a second off.
        f',"Occurred_At__c":"{occurred}.000Z","Occurred_At_Exact__c":"{occurred}.{after_occurred}Z"'
        f',"Recorded_At__c":"{recorded}.000Z","Recorded_At_Exact__c":"{recorded}.{after_recorded}Z"'
        f',"Leaf_Hash__c":"{leaf.hex()}"'
    )
    if conversation is not None:
        head += f',"Conversation__c":"{conversation}"'
    if version is not None:
        head += f',"Version__c":{version}'
    return head


@lru_cache(maxsize=1024)  # the entries of a commit share their times
def _time(micros: int) -> tuple[str, str]:
    """Return a time in two parts: `2026-11-23T10:00:00`, and the six digits behind its point."""
    minute, rest = divmod(micros, 60_000_000)
    digits = str(100_000_000 + rest)  # a 1, two of seconds, six behind their point
    return _minute(minute) + digits[1:3], digits[3:]


@lru_cache(maxsize=1024)
def _minute(minutes: int) -> str:
    """Return a time as `2026-11-23T10:00:`; minutes since 1970."""
    return timestamp(minutes * 60_000_000)[:17]


def _members(facts: Mapping[str, Any], values: Mapping[str, Any], slow: dict[str, Any], sent: dict[str, Any]) -> str:
    """Return the JSON members of personal values and facts as Salesforce keeps them, a comma before each.

    Adds those of slow fields to `slow`, and to `sent` what is sent in another form than it is kept.
    """
    swift: dict[str, str] = {}
    for source, value in values.items():
        if source not in _PERSONAL:
            continue
        name, is_line, is_slow = _PERSONAL[source]
        text = _text(value)
        kept = line(text) if is_line else paragraph(text)
        if kept is not None:
            (slow if is_slow else swift)[name] = kept
        if not is_line and kept != text:
            sent[name] = sendable(text)
    for source, fact in facts.items():
        if source not in _FACTS:
            continue
        name, length = _FACTS[source]
        if isinstance(fact, dict) and "commit" in fact:
            said = values.get(source)
        elif isinstance(fact, list) and all(isinstance(part, str) for part in fact):
            said = " ".join(fact)
        else:
            said = fact
        kept = None if said is None else line(_text(said))
        if kept is not None and fits(kept, length):
            swift[name] = kept
    return f",{orjson.dumps(swift)[1:-1].decode()}" if swift else ""


def _members_by_form(entry: Entry) -> str | None:
    """Return what `_members` does, at half its steps, for an entry like many; None for any other.

    That is one whose values are all texts which Salesforce keeps, and JSON writes, as they are, in swift fields.
    """
    body, stored = entry.body, entry.values
    if body is None or stored is None or len(body) > _LONGEST_KEPT or b"\\" in stored:
        return None
    form = _form(*_SINGULAR.split(body))
    if form is None:
        return None
    values = stored.decode()
    # isprintable is false for every control, line end and blank but U+0020, and takes long.
    if not (values.isascii() and "\x7f" not in values) and not values.isprintable():
        return None
    matched = form.values.fullmatch(values)
    return None if matched is None else form.personal % matched.groups() + form.facts


class _Form(NamedTuple):
    """What entries have in common that are alike in all but times and personal values."""

    #: What their values look like as they are stored, a group for each text.
    values: re.Pattern[str]
    #: The members of these, a `%s` for each text.
    personal: str
    #: The members of their facts.
    facts: str


@lru_cache(maxsize=1000)
def _form(*parts: bytes) -> _Form | None:
    """Return the form of entries with a body of these parts around what was cut out; None where a field needs that."""
    facts = orjson.loads(_CUT.join(parts))
    said = {source: fact for source, fact in facts.items() if source in _FACTS}
    if _CUT in orjson.dumps(said):
        return None
    sources = [source for source, fact in facts.items() if fact == {"commit": 0}]
    if any(source not in _PERSONAL or _PERSONAL[source][2] for source in sources):
        return None
    personal = "".join([f',"{_PERSONAL[source][0]}":"%s"' for source in sources])
    return _Form(_plain_values(*sources), personal, _members(said, {}, {}, {}))


@lru_cache(maxsize=256)
def _plain_values(*sources: str) -> re.Pattern[str]:
    """Return the form of values of these names where each is a text without blanks at its ends."""
    text = r'"(?! )([^"]+)(?<! )"'
    held = [rf'"{source}":\{{"salt":".{{22}}","value":{text}\}}' for source in sources]
    return re.compile(rf"\{{{','.join(held)}\}}")


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
    erased = {name for source, (name, _) in _FACTS.items() if isinstance(facts.get(source), dict)}
    personal = {field.name for field in PERSONAL_FIELDS}
    meant = {field.name for field in (*SWIFT_FIELDS, *SLOW_FIELDS)} if whole else erased | personal
    return dict.fromkeys(sorted(meant - filled))
