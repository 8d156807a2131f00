"""What a contact had agreed to at an instant, with the entry that proves it, and what was known of it by then.

A conversation's changes are read from the ledger, never from the state beside it. Each holds from the time it
occurred at (the events' own clock), and the one that was recorded last goes before those recorded earlier: so
a STOP that reached us late counts from when it was sent, over what was decided in between without knowing of it.
The rules see to it that nothing older than a decision in force is recorded as a change, and that at the same
instant STOP wins. What an import says of the time before is recorded without a change, and tells of that time only.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import NamedTuple

import orjson
from sqlalchemy import Connection

from consent.canonical import entry_id
from consent.contacts import find_stops, own_lines
from consent.conversation import Conversation, begin
from consent.conversations import find_standings
from consent.database import run
from consent.engine import allowed
from consent.entry import Entry
from consent.kinds import Kind, Lane
from consent.ledger import read_range
from consent.organizations import lineage, organizations, read_policies
from consent.owners import find_line
from consent.policy import STRICTNESS, Policy
from consent.tags import Tags
from consent.values import Consent, Group, Mode, Origin, Scope

#: The kinds that change what a contact agreed to; a request is an automatic message.
_KINDS = (Kind.DECISION, Kind.AUTO_MESSAGE, Kind.REASSIGNMENT, Kind.DELIVERY)


class Question(NamedTuple):
    """Which conversations are asked about: a contact's, all or some."""

    #: The main organization.
    organization: str
    contact: str
    sub_organization: str | None = None
    line: str | None = None
    group: Group | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What held, and what says so."""

    allowed: bool
    #: Why an employee's text may not go out: a word.
    reason: str | None
    state: Consent
    origin: Origin | None
    #: The id of the entry that proves it, None where there never was one.
    entry: str | None


@dataclass(frozen=True, slots=True)
class Moment:
    """One conversation at one instant."""

    organization: str
    line: str
    contact: str
    group: Group
    #: By the events' own clock.
    said: Said
    #: By what had been recorded until then.
    known: Said


class _Set(NamedTuple):
    """A mode that was set: by which entry, when."""

    seq: int
    at: int
    mode: Mode


class _Change(NamedTuple):
    occurred_at: int
    recorded_at: int
    seq: int
    after: Consent
    origin: Origin | None
    #: False: it was said of an instant (by an import, on the telephone), and nothing changed when it was recorded.
    in_force: bool = True


def consent_at(tx: Connection, tags: Tags, question: Question, at: int) -> list[Moment]:
    """Say for each conversation asked about what held at an instant, microseconds since 1970.

    A named line that the contact has no conversation with is answered too where its channel group is named, or
    where the contact stopped everything.
    """
    policies, modes = read_policies(tx, question.organization), _Modes(tx, question.organization)
    question = _on_its_line(tx, tags, question)
    stopped = cache(partial(_stops, tx, tags, question))
    moments = []
    for told in _conversations(tx, tags, question, stopped(question.sub_organization)):
        organization = told.sub_organization or question.organization
        began, first = _beginning(tx, question.organization, told, stopped(told.sub_organization))
        changes = [*_changes(tx, question.organization, told), *([began] if began is not None else [])]
        last = _last(one for one in changes if one.occurred_at <= at)
        # A text may be dated before the settings that it was decided under: what decided about it counts.
        mode = modes.at(organization, at, last.seq if last is not None else first)
        policy = replace(policies[organization], mode=mode)
        said = _judged(question.organization, _then(told, last), policy, last)
        last = _last(one for one in changes if one.recorded_at <= at)
        policy = replace(policy, mode=modes.at(organization, at, -1) if modes.began <= at else mode)
        known = _judged(question.organization, _then(told, last), policy, last)
        line = told.line or question.line or ""
        moments.append(Moment(organization, line, question.contact, told.group, said, known))
    return moments


def gate(tx: Connection, tags: Tags, question: Question, policy: Policy) -> Said:
    """Say whether an employee's text may go out now on the line asked about, and what says so."""
    question = _on_its_line(tx, tags, question._replace(group=question.group or Group.TEXT))
    [told] = _conversations(tx, tags, question, [])
    if not told.id:
        told = _unbegun(question, told.group, _stops(tx, tags, question, told.sub_organization))
    changes = _changes(tx, question.organization, told)
    proof = next((one for one in changes if one.in_force and one.after is told.consent), None)
    if proof is None and told.consent is Consent.OPTED_OUT:
        stops = _stops(tx, tags, question, told.sub_organization)
        proof, _ = _beginning(tx, question.organization, told, stops)
    return _judged(question.organization, told, policy, proof)


class _Modes:
    """Every consent mode that the organizations of a tree had; each began with off."""

    def __init__(self, tx: Connection, main: str) -> None:
        self._tree = {one.id: one for one in organizations(tx, main)}
        self._set: dict[str, list[_Set]] = {}
        rows = run(
            tx,
            "SELECT seq, occurred_at, body FROM entry WHERE organization = ? AND lane = ? AND kind = ? ORDER BY pos",
            [main, Lane.AUDIT.value, Kind.SETTING.value],
        )
        for row in rows:
            facts = orjson.loads(row.body) if row.body else {}
            if facts.get("setting") in ("organization", "mode"):
                mode = Mode(facts["after"]["mode"]) if facts["setting"] == "mode" else Mode.OFF
                self._set.setdefault(facts["id"], []).append(_Set(row.seq, row.occurred_at, mode))
        #: When the main organization was set up.
        self.began = self._set[main][0].at if main in self._set else 0

    def at(self, organization: str, at: int, before: int) -> Mode:
        """Return the mode in force at an instant, or when the entry `before` was written, if that was later.

        Of an instant before there was the organization nothing is known but its mode now.
        """
        return max(
            (self._own(one, at, before) for one in lineage(self._tree, organization)), key=STRICTNESS.__getitem__
        )

    def _own(self, organization: str, at: int, before: int) -> Mode:
        known = self._set.get(organization) or [_Set(0, 0, Mode.OFF)]
        held = [one.mode for one in known if one.at <= at or one.seq < before]
        return held[-1] if held else known[-1].mode


def _last(changes: Iterable[_Change]) -> _Change | None:
    """Return the change recorded last, or what an import says of a later instant than that one's."""
    known = list(changes)
    last = max((one for one in known if one.in_force), key=lambda one: one.seq, default=None)
    said = [one for one in known if not one.in_force and (last is None or one.occurred_at > last.occurred_at)]
    return max(said, key=lambda one: (one.occurred_at, one.after is Consent.OPTED_OUT, one.seq), default=last)


def _then(told: Conversation, last: _Change | None) -> Conversation:
    return told._replace(consent=last.after if last else Consent.NONE, origin=last.origin if last else None)


def _judged(organization: str, told: Conversation, policy: Policy, proof: _Change | None) -> Said:
    may, reason = allowed(told, policy)
    if not told.contact.startswith("+"):  # short codes and lettered senders are never asked
        may, reason = True, None
    return Said(may, reason, told.consent, told.origin, entry_id(organization, proof.seq) if proof else None)


def _on_its_line(tx: Connection, tags: Tags, asked: Question) -> Question:
    """Return the question with the sub-organization that its line is registered in, where it names none."""
    if asked.line is None or asked.sub_organization is not None:
        return asked
    line = find_line(tx, tags, asked.organization, asked.line)
    return asked._replace(sub_organization=line.sub_organization) if line is not None and line.registered else asked


def _conversations(tx: Connection, tags: Tags, asked: Question, stops: Sequence[_Change]) -> list[Conversation]:
    standings = find_standings(tx, tags, asked.organization, asked.contact, line=asked.line, group=asked.group)
    # Erasure takes the numbers out of the state; who asks knows them.
    found = [one.conversation._replace(contact=asked.contact) for one in standings]
    if asked.line is None:
        # A sub-organization sees its own; a line has one owner, whoever asks.
        own = asked.sub_organization
        return [one for one in found if own is None or one.sub_organization == own]
    wanted = [asked.group] if asked.group is not None else list(Group) if stops else []
    met = {one.group for one in found}
    return found + [_unbegun(asked, group, stops) for group in wanted if group not in met]


def _unbegun(asked: Question, group: Group, stops: Sequence[_Change]) -> Conversation:
    """Return a conversation that no text has begun yet."""
    return begin(
        "", asked.organization, asked.sub_organization, asked.line or "", asked.contact, group,
        stopped_at=stops[0].occurred_at if stops else None,
    )  # fmt: skip


def _changes(tx: Connection, organization: str, told: Conversation) -> Iterator[_Change]:
    """Yield a conversation's changes, the one recorded last first."""
    marks = ", ".join("?" * len(_KINDS))
    # In the order of an index: who needs only the last change reads no further.
    rows = run(
        tx,
        f"""SELECT seq, occurred_at, recorded_at, body FROM entry WHERE organization = ? AND conversation = ?
        AND kind IN ({marks}) ORDER BY version DESC, seq DESC""",
        [organization, told.id, *(kind.value for kind in _KINDS)],
    )
    for row in rows:
        facts = orjson.loads(row.body) if row.body else {}
        if "after" in facts:
            origin = Origin(facts["origin"]) if facts.get("origin") else None
            in_force = "decision" not in facts or facts["before"] != facts["after"]
            after = facts["after"] if in_force else facts["decision"]
            yield _Change(row.occurred_at, row.recorded_at, row.seq, Consent(after), origin, in_force)


def _beginning(
    tx: Connection, organization: str, told: Conversation, stops: Sequence[_Change]
) -> tuple[_Change | None, int]:
    """Return the STOP of everything by which a conversation began opted out, if it did, and its first entry's seq."""
    if not told.id:
        return stops[0] if stops else None, -1
    sql = """SELECT seq, recorded_at, body FROM entry WHERE organization = ? AND conversation = ? AND version = 1
    ORDER BY seq LIMIT 1"""
    first = run(tx, sql, [organization, told.id]).first()
    if first is None:
        return None, -1
    since = orjson.loads(first.body).get("stopped_at") if first.body else None
    if since is None:
        return None, first.seq
    for stop in stops:
        if stop.occurred_at == since:
            return stop, first.seq
    # An earlier one than the newest, which is the one that is remembered: the first text tells of it.
    return _Change(since, first.recorded_at, first.seq, Consent.OPTED_OUT, Origin.MT), first.seq


def _stops(tx: Connection, tags: Tags, asked: Question, sub_organization: str | None) -> list[_Change]:
    """Return what a contact stopped for the lines of a sub-organization to come, or for all of them; the newest first.

    Lines that it has no conversation with begin opted out by it.
    """
    reach = own_lines(sub_organization)
    stops = find_stops(tx, asked.organization, tags("contact", asked.contact), reach)
    changes = []
    for at, last in stops:
        entry = _proof_of_stop(tx, asked.organization, last, at)
        recorded_at, seq = (entry.recorded_at, entry.seq) if entry is not None else (at, last)
        changes.append(_Change(at, recorded_at, seq, Consent.OPTED_OUT, Origin.MT))
    return changes


def _proof_of_stop(tx: Connection, organization: str, last: int, at: int) -> Entry | None:
    """Return the decision itself: what is remembered is the last entry of the step that it was taken in."""
    while last >= 0:
        first = max(0, last - 99)
        for entry in reversed(read_range(tx, organization, first, last + 1 - first)):
            if entry.occurred_at != at:
                return None
            facts = entry.facts()
            decided = entry.kind == Kind.DECISION and facts.get("scope") in _WIDE and "elsewhere" not in facts
            if decided or entry.kind == Kind.MESSAGE:  # the text alone, where everything was closed already
                return entry
        last = first - 1
    return None


#: An opt-out of such a scope holds for lines to come.
_WIDE = (Scope.ORG, Scope.SUB_ORG)
