"""Imported rows meet what is kept of their contacts: inside the intake, or as a preview that writes nothing."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from consent.answers import Told
from consent.contacts import EVERYWHERE, reach_of
from consent.conversation import Conversation, begin
from consent.conversations import Standing
from consent.database import Database, DatabaseError, among, explain, fetch
from consent.engine import Decision
from consent.events import Event, Happened
from consent.imports import Imported, Outcome, read_import, take_everywhere, take_row
from consent.kinds import Kind
from consent.messages import MessageError
from consent.organizations import Directory, read_policies
from consent.policy import Policy
from consent.standings import Standings
from consent.tags import Tags
from consent.values import Consent, Group, Message, Record, Scope
from sync.migrate import tag_key

#: A conversation of a contact: line, channel group and sub-organization; what it is in, and since when.
_Key = tuple[str, Group, str | None]
_State = tuple[Consent, int | None]


@dataclass(frozen=True, slots=True)
class Met:
    """What one row does: each conversation that it is written down in, its own first."""

    outcome: Outcome
    decisions: tuple[tuple[Standing, Decision], ...] = ()
    #: The record of an opt-out that finds no conversation.
    everywhere: Record | None = None
    #: The reach of the lines that begin opted out from now on, None where the row says nothing of lines to come.
    stops: str | None = None


class Imports:
    """Rows of one ledger in one transaction."""

    def __init__(
        self, tx: Connection, organization: str, policies: Mapping[str, Policy], standings: Standings, tags: Tags
    ) -> None:
        self._tx, self._organization, self._policies, self._standings = tx, organization, policies, standings
        self._tags, self._contacts = tags, standings.contacts
        #: When the line of a conversation came to somebody else.
        self._lines: dict[str, int] = {}

    def load(self, events: Iterable[Event]) -> None:
        """Look up in a few queries what these rows are about."""
        rows = [event for event in events if event.happened is Happened.IMPORTED]
        if not rows:
            return
        self._standings.load(_about(event, event.line) for event in rows if event.line is not None)
        contacts = sorted({self._tags("contact", str(event.contact)) for event in rows})
        self._contacts.load_reassigned(contacts)
        self._load_hand_overs(contacts)

    def meet(self, event: Event) -> Met:
        """Say what a row does; MessageError where it can't be taken."""
        contact, line = event.contact or "", event.line
        policy = self._policies[event.sub_organization or self._organization]
        if line is None:
            return self._everywhere(event, contact)
        self._check_employee(event, line)
        about = _about(event, line)
        main = self._standings.of(about)
        opts_out = event.consent is Consent.OPTED_OUT
        reaches = opts_out and policy.scope is not Scope.PAIR
        others = self._standings.others(main, policy.scope, about) if reaches else []
        if main.conversation.version == 0 and not opts_out and self._is_barred(event, main, policy):
            return Met(Outcome.SUPERSEDED)
        stops = reach_of(policy.scope, main.conversation.sub_organization) if opts_out else None
        return self._reached(event, [main, *others], stops)

    def _everywhere(self, event: Event, contact: str) -> Met:
        if self._is_anothers(event, contact):
            return Met(Outcome.SUPERSEDED)
        reached = [
            one for one in self._standings.of_contact(contact) if event.group in (None, one.conversation.group)
        ]  # fmt: skip
        if reached:
            return self._reached(event, reached, EVERYWHERE)
        record, outcome = take_everywhere(event, self._contacts.stopped_since(contact, EVERYWHERE))
        stops = None if outcome is Outcome.SUPERSEDED else EVERYWHERE
        return Met(outcome, everywhere=record, stops=stops)

    def _reached(self, event: Event, reached: Sequence[Standing], stops: str | None) -> Met:
        """Write the row down in each conversation that it reaches; the first names those that it closes with it."""
        main, *others = reached
        taken = [(one, *self._taken(event, one, main=main.conversation.id)) for one in others]
        closed = [one.conversation.id for one, _, outcome in taken if outcome is Outcome.OPTED_OUT]
        taken.insert(0, (main, *self._taken(event, main, closed=closed)))
        outcomes = {outcome for _, _, outcome in taken}
        stopped_at = self._contacts.stopped_since(event.contact or "", stops) if stops is not None else None
        if stops is not None and (stopped_at is None or event.at > stopped_at):
            outcomes.add(Outcome.OPTED_OUT if stopped_at is None else Outcome.UNCHANGED)
        else:
            stops = None
        outcome = next(one for one in Outcome if one in outcomes)
        return Met(outcome, tuple((one, decision) for one, decision, _ in taken), stops=stops)

    def _taken(self, event: Event, standing: Standing, **more: Any) -> tuple[Decision, Outcome]:
        conversation = standing.conversation
        policy = self._policies[conversation.sub_organization or self._organization]
        since = self._since(event, standing)
        # Which employee it was given to, only the row can say, and of its own line only.
        here = event if event.line == conversation.line else event._replace(employee_id=None, employee_name=None)
        return take_row(conversation, here, policy, since=since, **more)

    def _since(self, event: Event, standing: Standing) -> int | None:
        """Return before when nothing counts: an opt-out stays with a line that is given on (row 26)."""
        changed = [self._contacts.reassigned_at(event.contact or "")]
        if event.consent is Consent.OPTED_IN:
            changed.append(self._lines.get(standing.conversation.id))
        return max((at for at in changed if at is not None), default=None)

    def _is_barred(self, event: Event, main: Standing, policy: Policy) -> bool:
        """Whether something of another conversation forbids to begin one by an opt-in of this date."""
        if self._is_anothers(event, event.contact or ""):
            return True
        if policy.scope is Scope.PAIR:
            return False
        reach = self._standings.others(main, policy.scope, _about(event, event.line or ""))
        closed = [one.conversation for one in reach if one.conversation.consent is Consent.OPTED_OUT]
        return any(event.at <= (one.decided_at or 0) for one in closed)

    def _is_anothers(self, event: Event, contact: str) -> bool:
        """Whether the number came to somebody else since."""
        since = self._contacts.reassigned_at(contact)
        return since is not None and event.at <= since

    def _check_employee(self, event: Event, number: str) -> None:
        line = self._standings.owners.line(number) if event.consent is Consent.OPTED_IN and event.employee_id else None
        if line is not None and line.employee_id not in (None, event.employee_id):
            raise MessageError(
                "other_employee",
                "the line is another employee's than the one who was given this consent: it doesn't go over to others",
            )

    def _load_hand_overs(self, contacts: Sequence[bytes]) -> None:
        condition, parameters = among(self._tx, "c.contact_tag", contacts)
        sql = f"""SELECT c.id, e.occurred_at, e.body FROM conversation c JOIN entry e
        ON e.organization = c.organization AND e.conversation = c.id
        WHERE c.organization = ? AND {condition} AND e.kind = ? ORDER BY e.occurred_at"""
        for conversation, at, body in fetch(self._tx, sql, [self._organization, *parameters, Kind.REASSIGNMENT.value]):
            if body is None or orjson.loads(body).get("event") != Happened.NUMBER_REASSIGNED:
                self._lines[conversation] = at


class Preview:
    """Answers rows as the intake would, one chunk after another, and writes nothing."""

    def __init__(self, database: Database) -> None:
        self._database, self._directory = database, Directory(database)
        # What earlier rows would have made of the conversations and of the stops of everything, by contacts' tags.
        self._states: dict[bytes, dict[_Key, _State]] = {}
        self._stops: dict[bytes, dict[str, int]] = {}

    def take(self, rows: Sequence[Imported]) -> list[dict[str, Any]]:
        """Answer each row in its order; DatabaseError where the database can't be used."""
        answers: dict[int, dict[str, Any]] = {}
        by_ledger: dict[str, list[int]] = {}
        try:
            for place, row in enumerate(rows):
                by_ledger.setdefault(self._directory.main_of(row["org"]) or "", []).append(place)
            with self._database.read() as tx:
                tags = Tags(tag_key(tx))
                for main, places in by_ledger.items():
                    given = self._of_ledger(tx, tags, main, [rows[place] for place in places])
                    answers.update(zip(places, given, strict=True))
        except DBAPIError as error:
            raise DatabaseError(explain(error)) from None
        return [answers[place] for place in range(len(rows))]

    def _of_ledger(self, tx: Connection, tags: Tags, main: str, rows: Sequence[Imported]) -> list[dict[str, Any]]:
        policies, now = read_policies(tx, main), time.time_ns() // 1000
        standings = Standings(tx, main, tags)
        imports = Imports(tx, main, policies, standings, tags)
        events = [read_import(row, now, policies[row["org"]]) for row in rows]
        imports.load(events)
        known = self._known(tx, main, [tags("id", row["id"]) for row in rows])
        return [
            import_answer(event.id, Outcome.ALREADY_IMPORTED, (), ())
            if tags("id", event.id) in known
            else self._previewed(imports, standings, tags, event)
            for event in events
        ]

    def _previewed(self, imports: Imports, standings: Standings, tags: Tags, event: Event) -> dict[str, Any]:
        contact = event.contact or ""
        tag = tags("contact", contact)
        for reach, stopped_at in self._stops.get(tag, {}).items():
            standings.contacts.stop(contact, reach, stopped_at, 0)
        states = self._states.setdefault(tag, {})
        self._recall(standings, event, states)
        try:
            met = imports.meet(event)
        except MessageError as error:
            return {"id": event.id, "error": {"code": error.code, "detail": error.detail}}
        for standing, decision in met.decisions:
            told = standing.conversation = decision.conversation
            states[told.line, told.group, told.sub_organization] = (told.consent, told.decided_at)
        if met.stops is not None:
            self._stops.setdefault(tag, {})[met.stops] = event.at
        return import_answer(event.id, met.outcome, (), ())

    @staticmethod
    def _recall(standings: Standings, event: Event, states: Mapping[_Key, _State]) -> None:
        """Give a contact's conversations the states that earlier rows would have left them in."""
        if not states:
            return
        standings.of_contact(event.contact or "")
        for (line, group, sub_organization), (consent, decided_at) in states.items():
            about = event._replace(group=group, sub_organization=sub_organization)
            standing = standings.of(_about(about, line))
            # Of a version, since an earlier row would have begun it at the latest.
            standing.conversation = standing.conversation._replace(
                consent=consent, decided_at=decided_at, version=max(1, standing.conversation.version)
            )

    @staticmethod
    def _known(tx: Connection, main: str, id_tags: Sequence[bytes]) -> set[bytes]:
        condition, parameters = among(tx, "id_tag", id_tags)
        sql = f"SELECT id_tag FROM inbox WHERE organization = ? AND {condition}"
        return {tag for (tag,) in fetch(tx, sql, [main, *parameters])}


def import_answer(row_id: str, outcome: Outcome, entries: Sequence[Told], released: Sequence[str]) -> dict[str, Any]:
    """Return the answer to an imported row; `released` are the ids of the held texts that may now be delivered."""
    return {
        "id": row_id,
        "event": Happened.IMPORTED.value,
        "outcome": outcome.value,
        "changed": [
            {"line": one.values.get("line"), "contact": one.values.get("contact"), "channel": one.body["channel"],
             "state": one.body["after"]}
            for one in entries if one.body["before"] != one.body["after"]
        ],
        "auto_messages": [],
        "released": list(released),
        "entries": [one.id for one in entries],
    }  # fmt: skip


def _about(event: Event, line: str) -> Message:
    """Return the row as the empty text by which its conversation is found."""
    conversation: Conversation = begin(
        "", event.organization, event.sub_organization, line, event.contact or "", event.group or Group.TEXT
    )
    return event.about(conversation)
