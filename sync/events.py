"""Events meet what is kept of the conversations that they concern, inside the intake."""

from collections.abc import Mapping
from typing import assert_never

from consent.answers import Told
from consent.contacts import reach_of
from consent.conversation import begin
from consent.conversations import Standing
from consent.events import (
    Event,
    Happened,
    is_late,
    note_delivery,
    reassign_line,
    reassign_number,
    reassigned,
    revoke,
    revoke_everywhere,
)
from consent.messages import MessageError
from consent.policy import Policy
from consent.values import Consent, Group, Message, Scope
from sync.writing import Writing


class Events:
    """Events of one ledger in one transaction."""

    def __init__(self, writing: Writing, policies: Mapping[str, Policy], organization: str) -> None:
        self._writing, self._standings = writing, writing.standings
        self._policies, self._organization = policies, organization

    def write_down(self, event: Event) -> list[Told]:
        """Write down what an event does to each conversation that it concerns; MessageError where it can't be taken."""
        match event.happened:
            case Happened.NUMBER_REASSIGNED:
                return self._number_reassigned(event, event.contact or "")
            case Happened.LINE_REASSIGNED:
                return self._line_reassigned(event, event.line or "")
            case Happened.DELIVERY_STATUS:
                return self._delivery_noted(event)
            case Happened.REVOKED:
                return self._revoked(event, event.contact or "")
            case Happened.IMPORTED:
                raise AssertionError("imported rows are met by sync.imports")
            case _:
                assert_never(event.happened)

    def _number_reassigned(self, event: Event, contact: str) -> list[Told]:
        written: list[Told] = []
        for standing in self._standings.of_contact(contact):
            here, policy = self._here(standing, event)
            written += self._writing.keep(standing, reassign_number(standing.conversation, here, policy))
        self._standings.contacts.reassign(contact, event.at)
        return written or self._writing.note(reassigned(event))

    def _line_reassigned(self, event: Event, line: str) -> list[Told]:
        written: list[Told] = []
        if self._standings.is_another(line, event.employee_id, event.at):
            for standing in self._standings.on_line(line):
                here, policy = self._here(standing, event)
                written += self._writing.keep(standing, reassign_line(standing.conversation, here, policy))
            self._standings.owners.give(line, event.employee_id, event.employee_name, event.at)
        return written or self._writing.note(reassigned(event))

    def _delivery_noted(self, event: Event) -> list[Told]:
        assert event.entry is not None
        entry = self._writing.entry(*event.entry)
        concerned = self._standings.by_id(entry.conversation) if entry is not None and entry.conversation else []
        if not concerned:
            raise MessageError("invalid_message", "`entry` names no message of this organization")
        [standing] = concerned
        here, policy = self._here(standing, event)
        outstanding = standing.request_seq == event.entry[1]
        return self._writing.keep(standing, note_delivery(standing.conversation, here, policy, outstanding=outstanding))

    def _revoked(self, event: Event, contact: str) -> list[Told]:
        """Close each conversation that a revocation reaches; the contact is told once, each line's employee once."""
        event, within, reached = self._reached(event)
        open_ = [one for one in reached if one.conversation.consent is not Consent.OPTED_OUT]
        closing = [one for one in open_ if not is_late(one.conversation, event)]
        # Where the line that it was said of is closed already, the contact was told.
        told = event.line is not None and all(one.conversation.line != event.line for one in closing)
        untold = set[str]() if told else {"contact"}
        written: list[Told] = []
        told_lines = set[str]()
        main = next(iter(reached), None)
        for standing in reached:
            here, policy = self._here(standing, event)
            tell = {*untold, *(() if here.line in told_lines else ("employee",))}
            others = [one.conversation.id for one in closing if one is not standing] if standing is main else []
            about = None if main is None or standing is main else main.conversation.id
            decision = revoke(standing.conversation, here, policy, main=about, tell=tuple(tell), closed=others)
            if standing in closing:
                untold = set[str]()
                told_lines.add(here.line or "")
            written += self._writing.keep(standing, decision)
        if main is None:  # no conversation to close: it holds for every line that has none yet
            event = event if event.scope is Scope.SUB_ORG else event._replace(scope=Scope.ORG)
            written += self._writing.note(revoke_everywhere(event))
        self._standings.contacts.stop(contact, reach_of(event.scope, within), event.at, self._writing.next_seq - 1)
        return written

    def _reached(self, event: Event) -> tuple[Event, str | None, list[Standing]]:
        """Return a revocation with its scope, its sub-organization, and what it reaches, the one it was said of first.

        Said of no line, it is meant for all of them, those to come too. A line that the contact has no conversation
        with begins one, opted out.
        """
        of_contact = self._standings.of_contact(event.contact or "")
        named = [
            one for one in of_contact
            if event.line in (None, one.conversation.line) and event.group in (None, one.conversation.group)
        ]  # fmt: skip
        if event.line is None:
            within = event.sub_organization
            scope = event.scope or (Scope.ORG if event.group is None else Scope.PAIR)
        else:
            named = named or [self._standings.of(self._standings.on_its_line(_first_text(event)))]
            within = named[0].conversation.sub_organization
            scope = event.scope or self._policies[within or self._organization].scope
        if scope is Scope.SUB_ORG:
            inside = [one for one in of_contact if one.conversation.sub_organization == within]
            named = [one for one in named if one.conversation.sub_organization == within]
        else:
            inside = of_contact if scope is Scope.ORG else []
        return event._replace(scope=scope), within, [*named, *(one for one in inside if one not in named)]

    def _here(self, standing: Standing, event: Event) -> tuple[Event, Policy]:
        """Return an event as it concerns one conversation, with that line's employee, and the policy that rules it."""
        policy = self._policies[standing.conversation.sub_organization or self._organization]
        return self._standings.on_the_line_of(standing.conversation, event), policy


def _first_text(event: Event) -> Message:
    """Return the empty text by which the conversation that an event names is found, or begun."""
    return event.about(
        begin("", event.organization, event.sub_organization, event.line or "", event.contact or "",
              event.group or Group.TEXT)
    )  # fmt: skip
