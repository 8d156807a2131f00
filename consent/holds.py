"""Legal holds: what must be kept whatever its retention says, and whatever a person asks to have erased.

A hold has a name of its own, a case's number, and covers contacts, conversations, or a whole ledger. Each thing that
comes under it or is let go is an entry; the table beside the ledger only says what is held now.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, Table

from consent.conversations import conversation_ids
from consent.database import fetch, metadata, run, upsert
from consent.entry import Entry
from consent.kinds import Kind
from consent.ledger import append, lock, read_lane
from consent.organizations import ForbiddenError, SettingError
from consent.tags import Tags
from consent.values import Record

hold_table = Table(
    "hold",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("cover", String(16), primary_key=True),
    # A contact's keyed tag, a conversation's id, nothing for all.
    Column("subject", LargeBinary, primary_key=True),
    Column("since", BigInteger, nullable=False),
    # The entry that says so, and why.
    Column("seq", BigInteger, nullable=False),
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ROW = "organization, name, cover, subject, since, seq"


class Cover(StrEnum):
    """What one line of a hold covers."""

    CONTACT = "contact"  # every conversation of a contact, those to come too
    CONVERSATION = "conversation"
    ALL = "all"  # the whole ledger


class HeldError(ForbiddenError):
    """Something is under a legal hold: it can be neither erased nor disposed of."""


class Covered(NamedTuple):
    """One thing that a hold covers, as a person names it: a number in E.164, a conversation's id, nothing for all."""

    cover: Cover
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """One line of a hold."""

    organization: str
    name: str
    cover: Cover
    #: A contact's keyed tag, a conversation's id, nothing for all.
    subject: bytes
    #: Microseconds since 1970.
    since: int
    seq: int


class Holds:
    """What is held in one ledger now, asked entry by entry."""

    def __init__(self, tx: Connection, tags: Tags, organization: str, *, name: str | None = None) -> None:
        """Read the holds in force, all or those of one name."""
        self._tags = tags
        holds = [one for one in list_holds(tx, organization) if name in (None, one.name)]
        self.names = {one.name for one in holds}
        #: Whether the whole ledger is held.
        self.all = any(one.cover is Cover.ALL for one in holds)
        self._contacts = {one.subject for one in holds if one.cover is Cover.CONTACT}
        #: The ids of the conversations that are held.
        self.conversations = {one.subject.decode() for one in holds if one.cover is Cover.CONVERSATION}
        self.conversations |= set(conversation_ids(tx, organization, "contact_tag", sorted(self._contacts)))

    def cover(self, entry: Entry) -> bool:
        """Tell whether an entry is under a hold."""
        if self.all or entry.conversation in self.conversations:
            return True
        # What belongs to no conversation (a revocation by mail) is held with the contact whom it names.
        return entry.conversation is None and bool(self._contacts) and self._names_held(entry)

    def cover_contact(self, tag: bytes, conversations: Iterable[str]) -> bool:
        """Tell whether a contact, by its tag, or one of these conversations is under a hold."""
        return self.all or tag in self._contacts or not self.conversations.isdisjoint(conversations)

    def _names_held(self, entry: Entry) -> bool:
        contact = entry.revealed().get("contact")
        return isinstance(contact, str) and self._tags("contact", contact) in self._contacts


def set_hold(
    tx: Connection, tags: Tags, organization: str, name: str, covered: Sequence[Covered], *, actor: str, note: str,
    now: int,
) -> list[Entry]:  # fmt: skip
    """Put things under a hold, new or in force; what it covers already writes nothing."""
    if not _NAME.fullmatch(name):
        raise SettingError(
            "a hold's name is 1 to 64 of letters, digits, `.`, `_` and `-`: a case's number, no person's"
        )
    if not note.strip():
        raise SettingError("a hold needs a reason: what was asked for, by whom")
    lock(tx, organization)
    known = {(one.name, one.cover, one.subject) for one in list_holds(tx, organization)}
    news = [one for one in dict.fromkeys(covered) if (name, one.cover, _subject(tags, one)) not in known]
    for one in news:
        _check_known(tx, organization, one)
    entries = append(tx, organization, [_record("hold", name, one, actor, note, now) for one in news], now)
    upsert(tx, hold_table, [
        (organization, name, one.cover.value, _subject(tags, one), entry.recorded_at, entry.seq)
        for one, entry in zip(news, entries, strict=True)
    ])  # fmt: skip
    return entries


def lift_hold(
    tx: Connection, tags: Tags, organization: str, name: str, covered: Sequence[Covered] | None, *, actor: str,
    note: str, now: int,
) -> list[Entry]:  # fmt: skip
    """Let go of some of what a hold covers, or of all of it; SettingError where it covers no such thing."""
    lock(tx, organization)
    held = {(one.cover, one.subject): one for one in list_holds(tx, organization) if one.name == name}
    named = None if covered is None else [(one.cover, _subject(tags, one)) for one in dict.fromkeys(covered)]
    wanted = list(held) if named is None else named
    if not wanted or any(one not in held for one in wanted):
        raise SettingError("this hold covers no such thing: see `assent hold list`")
    if not note.strip():
        raise SettingError("lifting a hold needs a reason: who decided it")
    records = [
        # Whom it covered is told by the entry that set it: its number isn't written a second time.
        Record(Kind.RETENTION, now, {"retention": "lift", "hold": name, "cover": cover.value, "actor": actor,
                                     "set_by": held[cover, subject].seq}, {"note": note})
        for cover, subject in wanted
    ]  # fmt: skip
    for cover, subject in wanted:
        run(
            tx,
            "DELETE FROM hold WHERE organization = ? AND name = ? AND cover = ? AND subject = ?",
            [organization, name, cover.value, subject],
        )
    return append(tx, organization, records, now)


def list_holds(tx: Connection, organization: str | None = None) -> list[Hold]:
    """Return what is held now, in one ledger or all."""
    sql, parameters = f"SELECT {_ROW} FROM hold", []
    if organization is not None:
        sql, parameters = sql + " WHERE organization = ?", [organization]
    rows = fetch(tx, sql + " ORDER BY organization, name, cover, subject", parameters)
    return [Hold(org, name, Cover(cover), bytes(subject), since, seq) for org, name, cover, subject, since, seq in rows]


def is_any_held(tx: Connection, holds: Holds, organization: str, lane: str, first: int, last: int) -> bool:
    """Tell whether a lane's entries between two positions, both included, are under a hold, any of them.

    For stores that can hold a file: one with any of these in it is held, one without is free.
    """
    if holds.all or not holds.names:
        return holds.all
    return any(map(holds.cover, read_lane(tx, organization, lane, first, last + 1 - first)))


def _subject(tags: Tags, covered: Covered) -> bytes:
    match covered.cover:
        case Cover.CONTACT:
            return tags("contact", covered.subject)
        case Cover.CONVERSATION:
            return covered.subject.encode()
        case Cover.ALL:
            return b""


def _check_known(tx: Connection, organization: str, covered: Covered) -> None:
    # A contact may be unknown as yet; a conversation's id is random, so one that isn't there is a mistake.
    if covered.cover is Cover.CONVERSATION:
        sql = "SELECT 1 FROM conversation WHERE organization = ? AND id = ?"
        if run(tx, sql, [organization, covered.subject]).first() is None:
            raise SettingError("there is no conversation of this id: see `assent entry show`")


def _record(what: str, name: str, covered: Covered, actor: str, note: str, now: int) -> Record:
    facts: dict[str, Any] = {"retention": what, "hold": name, "cover": covered.cover.value, "actor": actor}
    values = {"note": note}
    if covered.cover is Cover.CONVERSATION:
        facts["conversation"] = covered.subject
    if covered.cover is Cover.CONTACT:
        values["contact"] = covered.subject
    return Record(Kind.RETENTION, now, facts, values)
