"""Reads rows of consents: what each says, in our words, or why it can't be taken."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from consent.canonical import canonical
from consent.database import Database
from consent.imports import Imported
from consent.messages import storable
from consent.numbers import NumberError, read_number
from consent.organizations import organizations, read_policies
from consent.policy import Policy
from consent.tags import Tags
from consent.values import Consent, Group
from jobs.asking import QuestionError
from jobs.importing.moments import MomentError, Moments
from sync.migrate import tag_key

#: How an opt-in and an opt-out may be written, in small letters, blanks and marks as `_`.
WORDS: Mapping[Consent, frozenset[str]] = {
    Consent.OPTED_IN: frozenset((
        "opted_in", "opt_in", "optin", "in", "yes", "y", "true", "1", "x", "subscribed", "granted", "consented",
        "agreed", "accepted", "express", "explicit_opt_in", "explicitly_opted_in", "double_opt_in", "double_opted_in",
        "start", "unstop",
    )),
    Consent.OPTED_OUT: frozenset((
        "opted_out", "opt_out", "optout", "out", "no", "n", "false", "0", "unsubscribed", "revoked", "withdrawn",
        "declined", "rejected", "refused", "denied", "stop", "stopall", "unsubscribe", "cancel", "end", "quit",
        "revoke", "blocked", "do_not_text", "do_not_contact", "dnc",
    )),
}  # fmt: skip

#: What an import may say of every row that doesn't say it itself; a date stands in each row.
SETTABLE = ("line", "channel", "consent", "evidence", "reference", "employee_id", "employee_name", "note")

_TICKED = frozenset(("yes", "y", "true", "1", "x", "t", "checked"))
_UNTICKED = frozenset(("no", "n", "false", "0", "f", "unchecked", "-"))
_CHANNELS = {"sms": Group.TEXT, "mms": Group.TEXT, "rcs": Group.TEXT, "text": Group.TEXT, "texting": Group.TEXT,
             "whatsapp": Group.WHATSAPP}  # fmt: skip
_SHORTENED = re.compile(r"[0-9](?:[.,][0-9]+)?E\+[0-9]+", re.IGNORECASE)
_LONGEST = {"evidence": 10_000, "note": 10_000, "reference": 1_000, "employee_id": 200, "employee_name": 400}
_EARLIEST = 631_152_000_000_000  # 1990
_DAY = 86_400 * 1_000_000
_NOTHING = re.compile(r"[^a-z0-9]+")


class RowError(Exception):
    """A row that can't be taken: `code` is a word, `detail` says what to mend and never what stands in the row."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


@dataclass(frozen=True)
class Reader:
    """Reads what rows say."""

    policies: Mapping[str, Policy]
    tags: Tags
    actor: str
    #: Microseconds since 1970: what is dated later can't be.
    now: int
    org: str | None = None
    moments: Moments = field(default_factory=Moments)
    #: What rows say that don't say it themselves.
    constants: Mapping[str, str] = field(default_factory=dict)

    def read(self, said: Mapping[str, str]) -> Imported | None:
        """Return a row as the intake takes it, None where it says nothing (a tick that isn't there)."""
        consent = self._consent(said)
        if consent is None:
            return None
        org = said.get("org") or self.org
        if org is None:
            raise RowError("unknown_organization", "`org` is missing: name it with --org, or in a column")
        policy = self.policies.get(org)
        if policy is None:
            raise RowError("unknown_organization", "there is no organization of this id: see `assent org list`")
        row, raw = self._numbers(said, policy)
        line = row.get("line")
        if line is None and consent is Consent.OPTED_IN:
            raise RowError("missing_line", "an opt-in names the line that it was given for: `line`")
        channel = self._channel(said)
        if channel is not None or line is not None:
            row["channel"] = (channel or Group.TEXT).value
        row |= {"org": org, "consent": consent.value, "at": self._at(said, consent)}
        row["evidence"] = self._evidence(said, consent)
        for name in ("reference", "employee_id", "employee_name", "note"):
            if text := said.get(name) or self.constants.get(name):
                row[name] = _storable(name, text)
        # Made of what the row says, under the database's key: the same row is the same row in whichever file.
        row["id"] = "import-" + self.tags.of(b"import\x00" + canonical(row)).hex()
        return Imported(row, actor=self.actor, raw=raw)

    def _consent(self, said: Mapping[str, str]) -> Consent | None:
        told = said.get("consent")
        if told is not None:
            return _word(told)
        for name, consent in (("opted_out", Consent.OPTED_OUT), ("opted_in", Consent.OPTED_IN)):
            if name in said:
                tick = _plain(said[name])
                if tick in _TICKED or tick == consent.value:
                    return consent
                if tick not in _UNTICKED and tick:
                    raise RowError("invalid_consent", f"`{name}` is yes or no")
        if "opted_out" in said or "opted_in" in said:
            return None
        told = self.constants.get("consent")
        if told is None:
            raise RowError("invalid_consent", "`consent` is missing: opted_in or opted_out")
        return _word(told)

    def _numbers(self, said: Mapping[str, str], policy: Policy) -> tuple[dict[str, Any], dict[str, str]]:
        row, raw = {}, {}
        for name in ("contact", "line"):
            given = said.get(name) or (self.constants.get("line") if name == "line" else None)
            if given is None:
                if name == "contact":
                    raise RowError("invalid_number", "`contact` is missing: a number such as +14045550123")
                continue
            if _SHORTENED.fullmatch(given):
                raise RowError("invalid_number", f"a spreadsheet has shortened `{name}`: keep its column as text")
            try:
                row[name] = read_number(given, policy.default_region)
            except NumberError as error:
                raise RowError("invalid_number", f"`{name}` {error}") from None
            if row[name] != given:
                raw[name] = storable(given, [])[:100]
        return row, raw

    def _channel(self, said: Mapping[str, str]) -> Group | None:
        given = said.get("channel") or self.constants.get("channel")
        if given is None:
            return Group.WHATSAPP if said.get("contact", "").casefold().startswith("whatsapp:") else None
        channel = _CHANNELS.get(given.casefold())
        if channel is None:
            raise RowError("invalid_channel", "`channel` is sms, mms, rcs or whatsapp")
        return channel

    def _at(self, said: Mapping[str, str], consent: Consent) -> int:
        given = said.get("at")
        if given is None:
            raise RowError("missing_date", "`at` is missing: when the contact said so")
        try:
            # Of one day, the opt-out is taken as its end and the opt-in as its beginning: in doubt there is no consent.
            at = self.moments.read(given, latest=consent is Consent.OPTED_OUT)
        except MomentError as error:
            raise RowError("invalid_date", str(error)) from None
        ahead = _DAY if consent is Consent.OPTED_OUT else 300 * 1_000_000
        if not _EARLIEST <= at <= self.now + ahead:
            raise RowError("invalid_date", "`at` lies in the future, or before 1990")
        return at

    def _evidence(self, said: Mapping[str, str], consent: Consent) -> str:
        own = said.get("evidence")
        if own is None and "evidence" in self.constants:
            if consent is Consent.OPTED_IN:
                raise RowError("missing_evidence", "an opt-in needs evidence of its own, not one for the whole list")
            own = self.constants["evidence"]
        if own is None:
            raise RowError(
                "missing_evidence", "`evidence` is missing: what it rests on (a form, a document's id, a text)"
            )
        return _storable("evidence", own)


def reader_of(
    database: Database, actor: str, now: int, *, org: str | None, moments: Moments, constants: Mapping[str, str]
) -> Reader:
    """Return a reader for the organizations that there are now; QuestionError where `org` is none of them."""
    with database.read() as tx:
        tags, policies = Tags(tag_key(tx)), all_policies(tx)
    if org is not None and org not in policies:
        raise QuestionError("unknown_organization", "there is no organization of this id: see `assent org list`")
    return Reader(policies, tags, actor, now, org, moments, constants)


def all_policies(tx: Connection) -> dict[str, Policy]:
    """Return the effective policy of every organization, by id."""
    mains = [one.id for one in organizations(tx) if one.parent is None]
    return {org: policy for main in mains for org, policy in read_policies(tx, main).items()}


def _word(given: str) -> Consent:
    told = _plain(given)
    for consent, words in WORDS.items():
        if told in words:
            return consent
    raise RowError(
        "invalid_consent", "`consent` is opted_in or opted_out (or yes, no, subscribed, unsubscribed, stop …)"
    )


def _plain(given: str) -> str:
    return _NOTHING.sub("_", given.casefold()).strip("_") or given.strip()


def _storable(name: str, text: str) -> str:
    if len(text) > _LONGEST[name]:
        raise RowError("too_long", f"`{name}` is longer than {_LONGEST[name]:,} characters")
    return storable(text, [])
