"""An entry as a mail that a supervisor reads and a mail archive indexes; the same entry gives the same bytes.

Who, when, the exact words, what was decided; the canonical record is attached, and the hash is over that
record, as every server on the way writes lines of its own into a mail. Each conversation is one thread.
Names and words come from strangers: none of them can begin a header, or pass for one of our lines.
"""

import json
import re
import unicodedata
from binascii import b2a_base64, b2a_qp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any, NamedTuple
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
    kind, conversation, second = entry["kind"], entry["conversation"], entry["occurred_at"][:_SECONDS]
    from_employee, to_contact = facts.get("sender") == "employee", facts.get("to") == "contact"
    who = _who(kind, from_employee, to_contact, form.domain, *_texts(revealed, _NAMES))
    about = _about(kind, *_texts(facts, _INDEXED))
    hashed = sha256(record)
    digest = hashed.hexdigest()
    boundary = f"=_{digest[:32]}"  # `=_` stands in no line of quoted-printable or base64
    head = "\r\n".join(
        [
            f"Message-ID: {message_id(entry['id'], form)}",
            f"Date: {_date(second)}",
            who.parties,
            about.subject,
            *(() if conversation is None else _thread(conversation, form.domain)),
            "Auto-Submitted: auto-generated",
            f"X-Assent-Entry: {entry['id']}",
            *_mark("Kind", kind),
            *_mark("Conversation", conversation),
            *about.marks,
            f"X-Assent-Leaf: {base64url(bytes.fromhex(entry['leaf_hash']))}",
            f"X-Assent-SHA256: {base64url(hashed.digest())}",
            "MIME-Version: 1.0",
            f'Content-Type: multipart/mixed; boundary="{boundary}"',
            "",
            f"--{boundary}",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: quoted-printable",
            "",
            f"Record         {entry['id']}, {kind}",
            *who.told,
            f"When (UTC)     {entry['occurred_at']}",
            *_local(second, revealed.get("contact"), form.time_zone),
            f"Recorded       {entry['recorded_at']}",
            *about.told,
            *_others(facts, revealed),
            # All hashes are of one length: here is where quoted-printable breaks their line.
            f"SHA-256        {digest[:60]}=\r\n{digest[60:]} (of record.json)",
            *_words(entry, facts, revealed),
            f"--{boundary}",
            "Content-Type: application/json",
            "Content-Transfer-Encoding: base64",
            'Content-Disposition: attachment; filename="record.json"',
            "",
            "",
        ]
    )
    return b"".join((head.encode("ascii"), _base64(record), f"\r\n--{boundary}--\r\n".encode()))


def message_id(entry_id: str, form: Form = PLAIN) -> str:
    """Return the Message-ID of an entry's mail: whoever gets it twice knows it."""
    return f"<{entry_id}@{form.domain}>"


#: Values that say who takes part, and facts that an archive's index tells apart: few different ones come together.
_NAMES = ("contact", "contact_name", "line", "employee_name", "employee_id")
_INDEXED = ("channel", "sender", "verdict", "decision", "before", "after", "template", "template_version")


def _texts(known: Mapping[str, Any], names: Sequence[str]) -> list[str | None]:
    return [None if (value := known.get(name)) is None else str(value) for name in names]


class _Who(NamedTuple):
    """Who takes part: two headers, and the lines that a person reads."""

    parties: str
    told: Sequence[str]


@lru_cache(_KEPT)
def _who(
    kind: str, from_employee: bool, to_contact: bool, domain: str, contact: str | None, contact_name: str | None,
    line: str | None, employee_name: str | None, employee_id: str | None,
) -> _Who:  # fmt: skip
    them = _address(contact_name or contact or "Contact", contact or "contact", domain)
    employee = _address(employee_name or line or "Employee", line or "line", domain)
    ours = _address("Assent", "assent", domain)
    match kind:
        case Kind.MESSAGE if from_employee:
            pair = employee, them
        case Kind.MESSAGE | Kind.DECISION:
            pair = them, employee
        case Kind.AUTO_MESSAGE:
            pair = ours, them if to_contact else employee
        case _:
            pair = ours, ours if contact is None else them
    told = []
    if contact is not None or contact_name is not None:
        name = f"{_harmless(contact_name)}, " if contact_name else ""
        told.append(_line(f"Contact        {name}{_harmless(str(contact))}"))
    if line is not None or employee_name is not None:
        name, known = _harmless(employee_name or ""), f" ({_harmless(employee_id)})" if employee_id else ""
        told.append(_line(f"Employee       {f'{name}{known}, ' if name or known else ''}{_harmless(str(line))}"))
    return _Who(f"From: {pair[0]}\r\nTo: {pair[1]}", told)


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


class _About(NamedTuple):
    """What it is about: the subject, what archives index, and the lines that a person reads."""

    subject: str
    marks: Sequence[str]
    told: Sequence[str]


@lru_cache(_KEPT)
def _about(
    kind: str, channel: str | None, sender: str | None, verdict: str | None, decision: str | None,
    before: str | None, after: str | None, template: str | None, template_version: str | None,
) -> _About:  # fmt: skip
    what = (channel or "").upper()
    match kind:
        case Kind.MESSAGE:
            subject = f"{what} text from the {sender}: {verdict}"
        case Kind.AUTO_MESSAGE:
            subject = f"{what} automatic message: {template}"
        case Kind.DECISION:
            subject = f"{what} consent: {decision}"
        case _:
            subject = f"Consent record: {kind}"
    shown = "".join(c for c in subject if " " <= c <= "~").strip()[: _WIDTH - len("Subject: ")]
    marks = [*_mark("Channel", channel), *_mark("Decision", decision), *_mark("Before", before), *_mark("After", after)]
    told = []
    if before is not None or after is not None:
        told.append(_line(f"Consent        before: {before}, after: {after}"))
    if template is not None:
        marks += _mark("Template", f"{template}; version={template_version}")
        told.append(_line(f"Template       {template}, version {template_version}"))
    return _About(f"Subject: {shown}", marks, told)


def _thread(conversation: str, domain: str) -> tuple[str, str]:
    # The root is no mail: readers and archives join what names the same one.
    return f"In-Reply-To: <{conversation}@{domain}>", f"References: <{conversation}@{domain}>"


@lru_cache(_KEPT)
def _mark(name: str, value: str | None) -> Sequence[str]:
    """Give one of at most ten headers of ours, on one line of its own."""
    line = f"X-Assent-{name}: {value}"
    # A longer one would be folded, and is in the record anyway.
    return [line] if value not in _NOTHING and len(line) <= _WIDTH and line.isascii() and line.isprintable() else []


_NOTHING = frozenset({None, "", "0", "False", "[]", "{}"})


def _others(facts: Mapping[str, Any], revealed: Mapping[str, Any]) -> Iterator[str]:
    """Give what the lines before don't tell."""
    for name, fact in facts.items():
        if name not in _TOLD and not (type(fact) is dict and fact.keys() == _COMMITMENT):
            yield _word(name, fact) if type(fact) is str else _fact(name, fact)
    for name, value in revealed.items():
        if name not in _TOLD:
            yield _fact(name, value)


_COMMITMENT = frozenset({"commit"})
_TOLD = frozenset({*_NAMES, "after", "before", "template", "template_version", "text"})


def _words(entry: Mapping[str, Any], facts: Mapping[str, Any], revealed: Mapping[str, Any]) -> Sequence[str]:
    """Return the words, which may hold anything: they come last and alone."""
    if entry["body"] is None:
        return ["This record was disposed of after its retention: what it said is gone."]
    if entry["values"] is None:
        return ["Names, numbers and words of this record were lawfully erased."]
    if (words := revealed.get("text")) is None:
        return []
    kind = entry["kind"]
    sent = kind == Kind.AUTO_MESSAGE or (kind == Kind.MESSAGE and facts.get("sender") == "employee")
    how = "sent" if sent else "received"
    title = f"The words, exactly as {how}, to the end of this part ({len(words)} characters):"
    return ["", _exact(title), "", _exact(words)]


@lru_cache(_KEPT)
def _word(name: str, fact: str) -> str:
    """Give a fact that is a word, as nearly all are, and most of a short list."""
    return _fact(name, fact)


def _fact(name: str, value: Any) -> str:
    """Give a fact on one line: as it is, or as JSON in ASCII where anything in it ends a line or reorders it."""
    told = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return _line(f"{name:<14} {told if told.isprintable() else json.dumps(value, sort_keys=True)}")


def _line(text: str) -> str:
    """Encode one of our lines in quoted-printable (RFC 2045, 6.7)."""
    if _PLAIN.fullmatch(text):
        return text
    return b2a_qp(f"{text}\r\n".encode(), istext=True).decode("ascii").removesuffix("\r\n")


def _exact(words: str) -> str:
    """Encode words so that they come out exactly, line ends of any kind, blanks and NUL among them."""
    if _PLAIN.fullmatch(words):
        return words
    return b2a_qp(words.encode(), istext=False).decode("ascii").replace("=\n", "=\r\n")


#: What quoted-printable leaves as it is: one line that fits, with no sign of equality, and no blank or dot at its ends.
_PLAIN = re.compile(r"[!-\-/-<>-~](?:[ -<>-~]{0,73}[!-<>-~])?")


def _base64(data: bytes) -> bytes:
    """Encode bytes in lines of 76 characters (RFC 2045, 6.8)."""
    told = b2a_base64(data, newline=False)
    whole = len(told) // _COLUMNS
    return b"\r\n".join([*_cut(whole).unpack_from(told), told[whole * _COLUMNS :]]).removesuffix(b"\r\n")


_COLUMNS = 76


@lru_cache(512)
def _cut(count: int) -> Struct:
    """Return what cuts so many lines off at once, in a third of the time that slices take."""
    return Struct(f"{_COLUMNS}s" * count)


@lru_cache(_KEPT)
def _date(second: str) -> str:
    return format_datetime(datetime.fromisoformat(second).replace(tzinfo=UTC))


def _local(second: str, contact: object, time_zone: str | None) -> Sequence[str]:
    zone = _zone(time_zone) if time_zone else _zone_of(str(contact))
    return () if zone is None else [_told_in(second, zone, time_zone is not None)]


@lru_cache(_KEPT)
def _told_in(second: str, zone: ZoneInfo, chosen: bool) -> str:
    at = datetime.fromisoformat(second).replace(tzinfo=UTC).astimezone(zone)
    whose = "" if chosen else ", where the contact's number is from"
    return _line(f"When (local)   {at:%Y-%m-%d %H:%M:%S} {at.tzname()} ({zone.key}{whose})")


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
