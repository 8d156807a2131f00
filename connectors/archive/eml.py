"""An entry as a mail that a supervisor reads and a mail archive indexes; the same entry gives the same bytes.

Who, when, the exact words, what was decided; the canonical record is attached, and the hash is over that
record, as every server on the way writes lines of its own into a mail. Each conversation is one thread.
Names and words come from strangers: none of them can begin a header, or pass for one of our lines.
"""

import json
import unicodedata
from binascii import b2a_base64, b2a_qp
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from consent.canonical import base64url
from consent.entry import Entry, entry_json
from consent.kinds import Kind

#: Bytes of one header line, its end not counted; archives index the first line of a folded one only.
_WIDTH = 78

#: Characters of a name that a header shows; the record has all of it.
_NAME = 64

_KEPT = 8192  # addresses and time zones remembered

#: Characters of a time up to its second, 2026-11-23T10:00:00.
_SECONDS = 19


@dataclass(frozen=True, slots=True)
class Form:
    """What an organization's mail archive wants of the mails."""

    #: Of Message-IDs, and of the addresses that stand for telephone numbers.
    domain: str = "assent.invalid"
    #: Local times are told in this zone; None: in that of the contact's number, where its area has one.
    time_zone: str | None = None


PLAIN = Form()


def eml(entry: Entry, form: Form = PLAIN) -> bytes:
    """Return an entry as a mail (RFC 5322): ASCII, lines of at most 998 bytes that end with CRLF."""
    record = entry_json(entry)
    return eml_of(record, orjson.loads(record), form)


def eml_of(record: bytes, entry: Mapping[str, Any], form: Form) -> bytes:
    """Return the mail of a record in canonical JSON, as it stands in a segment; `entry` is that, read."""
    facts, held = entry["body"] or {}, entry["values"] or {}
    revealed = {name: one["value"] for name, one in held.items()}
    digest = sha256(record).digest()
    boundary = f"=_{digest.hex()[:32]}"  # `=_` stands in no line of quoted-printable or base64
    words = revealed.get("text")
    head = [
        f"Message-ID: {message_id(entry['id'], form)}",
        f"Date: {_date(entry['occurred_at'][:_SECONDS])}",
        *_parties(entry["kind"], facts, revealed, form),
        f"Subject: {_subject(entry['kind'], facts)}",
        *_thread(entry["conversation"], form),
        "Auto-Submitted: auto-generated",
        *_marks(entry, facts, digest),
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{boundary}"',
    ]
    told = "\r\n".join(_told(entry, facts, revealed, digest, form))
    return b"\r\n".join(
        (
            "\r\n".join(head).encode("ascii"),
            b"",
            b"--" + boundary.encode(),
            b"Content-Type: text/plain; charset=utf-8",
            b"Content-Transfer-Encoding: quoted-printable",
            b"",
            b2a_qp(told.encode(), istext=True),
            *(() if words is None else (b"", _quoted(words))),
            b"--" + boundary.encode(),
            b"Content-Type: application/json",
            b"Content-Transfer-Encoding: base64",
            b'Content-Disposition: attachment; filename="record.json"',
            b"",
            _base64(record),
            b"--" + boundary.encode() + b"--",
            b"",
        )
    )


def message_id(entry_id: str, form: Form = PLAIN) -> str:
    """Return the Message-ID of an entry's mail: whoever gets it twice knows it."""
    return f"<{entry_id}@{form.domain}>"


def _parties(kind: str, facts: Mapping[str, Any], revealed: Mapping[str, Any], form: Form) -> tuple[str, str]:
    contact = _contact(revealed, form)
    employee = _employee(revealed, form)
    ours = _address("Assent", "assent", form.domain)
    match kind:
        case Kind.MESSAGE if facts.get("sender") == "employee":
            pair = employee, contact
        case Kind.MESSAGE | Kind.DECISION:
            pair = contact, employee
        case Kind.AUTO_MESSAGE:
            pair = ours, contact if facts.get("to") == "contact" else employee
        case _:
            pair = ours, contact if "contact" in revealed else ours
    return f"From: {pair[0]}", f"To: {pair[1]}"


def _contact(revealed: Mapping[str, Any], form: Form) -> str:
    number = str(revealed.get("contact", ""))
    return _address(str(revealed.get("contact_name") or number or "Contact"), number or "contact", form.domain)


def _employee(revealed: Mapping[str, Any], form: Form) -> str:
    number = str(revealed.get("line", ""))
    return _address(str(revealed.get("employee_name") or number or "Employee"), number or "line", form.domain)


@lru_cache(_KEPT)
def _address(name: str, local: str, domain: str) -> str:
    """Return a mailbox whose display name can't leave its place, folded where it is long."""
    shown = _harmless(name)[:_NAME].strip() or "-"
    if shown.isascii():
        quoted = shown.replace("\\", "\\\\").replace('"', '\\"')
        phrase = f'"{quoted}"'
    else:
        phrase = Header(shown, "utf-8", header_name="From").encode(linesep="\r\n")
    mailbox = "".join(c for c in local if c.isascii() and c.isalnum())[:32] or "unknown"
    fold = "\r\n" if len(phrase.rpartition("\n")[2]) + len(mailbox) + len(domain) > _WIDTH - 12 else ""
    return f"{phrase}{fold} <{mailbox}@{domain}>"


@lru_cache(_KEPT)
def _harmless(text: str) -> str:
    """Return a text as one line without anything that ends, hides or reorders it."""
    return "".join(" " if unicodedata.category(c) in _UNSEEN else c for c in text)


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def _subject(kind: str, facts: Mapping[str, Any]) -> str:
    channel = str(facts.get("channel", "")).upper()
    match kind:
        case Kind.MESSAGE:
            return _one_line(f"{channel} text from the {facts.get('sender')}: {facts.get('verdict')}")
        case Kind.AUTO_MESSAGE:
            return _one_line(f"{channel} automatic message: {facts.get('template')}")
        case Kind.DECISION:
            return _one_line(f"{channel} consent: {facts.get('decision')}")
        case _:
            return _one_line(f"Consent record: {kind}")


@lru_cache(_KEPT)
def _one_line(said: str) -> str:
    return "".join(c for c in said if " " <= c <= "~").strip()[: _WIDTH - len("Subject: ")]


def _thread(conversation: str | None, form: Form) -> Iterator[str]:
    # The root is no mail: readers and archives join what names the same one.
    if conversation is not None:
        root = f"<{conversation}@{form.domain}>"
        yield f"In-Reply-To: {root}"
        yield f"References: {root}"


def _marks(entry: Mapping[str, Any], facts: Mapping[str, Any], digest: bytes) -> Iterator[str]:
    """Give what archives index, at most ten headers, each on one line."""
    template = f"{facts['template']}; version={facts.get('template_version')}" if "template" in facts else None
    marks = (
        ("Kind", entry["kind"]),
        ("Conversation", entry["conversation"]),
        ("Channel", facts.get("channel")),
        ("Decision", facts.get("decision")),
        ("Before", facts.get("before")),
        ("After", facts.get("after")),
        ("Template", template),
    )
    yield f"X-Assent-Entry: {entry['id']}"
    for name, value in marks:
        if value and (line := _mark(name, str(value))):
            yield line
    yield f"X-Assent-Leaf: {base64url(bytes.fromhex(entry['leaf_hash']))}"
    yield f"X-Assent-SHA256: {base64url(digest)}"


@lru_cache(_KEPT)
def _mark(name: str, value: str) -> str:
    line = f"X-Assent-{name}: {value}"
    # A longer one would be folded, and is in the record anyway.
    return line if len(line) <= _WIDTH and line.isascii() and line.isprintable() else ""


def _told(
    entry: Mapping[str, Any], facts: Mapping[str, Any], revealed: Mapping[str, Any], digest: bytes, form: Form
) -> Iterator[str]:
    """Give the lines that a person reads; the words, which may hold anything, come last and alone."""
    yield f"Record         {entry['id']}, {entry['kind']}"
    yield from _people(revealed)
    yield f"When (UTC)     {entry['occurred_at']}"
    local = _local(entry["occurred_at"][:_SECONDS], str(revealed.get("contact", "")), form.time_zone)
    if local:
        yield f"When (local)   {local}"
    yield f"Recorded       {entry['recorded_at']}"
    if "before" in facts or "after" in facts:
        yield f"Consent        before: {facts.get('before')}, after: {facts.get('after')}"
    if "template" in facts:
        yield f"Template       {facts['template']}, version {facts.get('template_version')}"
    for name, fact in facts.items():
        if name not in _TOLD and not (type(fact) is dict and fact.keys() == _COMMITMENT):
            yield _label(name) + _plain(fact)
    for name, value in revealed.items():
        if name not in _TOLD:
            yield _label(name) + _plain(value)
    yield f"SHA-256        {digest.hex()} (of record.json)"
    if entry["body"] is None:
        yield "This record was disposed of after its retention: what it said is gone."
    elif entry["values"] is None:
        yield "Names, numbers and words of this record were lawfully erased."
    elif (words := revealed.get("text")) is not None:
        kind = entry["kind"]
        sent = kind == Kind.AUTO_MESSAGE or (kind == Kind.MESSAGE and facts.get("sender") == "employee")
        yield ""
        how = "sent" if sent else "received"
        yield f"The words, exactly as {how}, to the end of this part ({len(words)} characters):"


_COMMITMENT = frozenset({"commit"})
_TOLD = frozenset(
    {"after", "before", "contact", "contact_name", "employee_id", "employee_name", "line", "template",
     "template_version", "text"}
)  # fmt: skip


def _people(revealed: Mapping[str, Any]) -> Iterator[str]:
    if "contact" in revealed or "contact_name" in revealed:
        name = _harmless(str(revealed.get("contact_name") or ""))
        yield f"Contact        {f'{name}, ' if name else ''}{_harmless(str(revealed.get('contact')))}"
    if "line" in revealed or "employee_name" in revealed:
        name = _harmless(str(revealed.get("employee_name") or ""))
        known = f" ({_harmless(str(revealed['employee_id']))})" if revealed.get("employee_id") else ""
        yield f"Employee       {f'{name}{known}, ' if name or known else ''}{_harmless(str(revealed.get('line')))}"


@lru_cache(_KEPT)
def _label(name: str) -> str:
    return f"{name:<14} "


def _plain(value: Any) -> str:
    """Return a fact on one line: as it is, or as JSON in ASCII where anything in it ends a line or reorders it."""
    told = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return told if told.isprintable() else json.dumps(value, sort_keys=True)


def _quoted(words: str) -> bytes:
    """Encode words so that they come out exactly, line ends of any kind, blanks and NUL among them."""
    return b2a_qp(words.encode(), istext=False).replace(b"=\n", b"=\r\n")


def _base64(data: bytes) -> bytes:
    """Encode bytes in lines of 76 characters (RFC 2045, 6.8)."""
    told = b2a_base64(data, newline=False)
    return b"\r\n".join([told[at : at + 76] for at in range(0, len(told), 76)])


@lru_cache(_KEPT)
def _date(second: str) -> str:
    return format_datetime(datetime.fromisoformat(second).replace(tzinfo=UTC))


def _local(second: str, contact: str, time_zone: str | None) -> str:
    zone = _zone(time_zone) if time_zone else _zone_of(contact)
    return "" if zone is None else _told_in(second, zone, time_zone is not None)


@lru_cache(_KEPT)
def _told_in(second: str, zone: ZoneInfo, chosen: bool) -> str:
    at = datetime.fromisoformat(second).replace(tzinfo=UTC).astimezone(zone)
    whose = "" if chosen else ", where the contact's number is from"
    return f"{at:%Y-%m-%d %H:%M:%S} {at.tzname()} ({zone.key}{whose})"


@lru_cache(_KEPT)
def _zone_of(number: str) -> ZoneInfo | None:
    if not number.startswith("+"):
        return None
    from phonenumbers import NumberParseException, parse
    from phonenumbers.timezone import time_zones_for_number

    try:
        zones = time_zones_for_number(parse(number))
    except NumberParseException:
        return None
    return _zone(zones[0]) if len(zones) == 1 else None


@lru_cache(512)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # a machine without time zones, or without this one
        return None
