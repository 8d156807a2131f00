"""What the pages work with, and what every subject asks of it: whose data somebody sees, and under which name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import phonenumbers
from fastapi import Request
from sqlalchemy import Connection

from consent.conversations import Standing
from consent.database import Database
from consent.organizations import Organization, organizations
from consent.tags import Tags
from jobs.access import Access, Viewer
from jobs.reviewing import Closes
from jobs.running import Runs
from jobs.web.asked import Asked
from jobs.web.problems import ProblemError
from jobs.web.whereabouts import Where
from jobs.web.words import masked
from sync.destinations import Destination
from sync.migrate import tag_key


@dataclass(frozen=True)
class Desk:
    """The parts of this process that pages read and change."""

    database: Database
    access: Access
    where: Where
    #: Closes reviews: the intake.
    closes: Closes
    destinations: Sequence[Destination]
    runs: Runs

    def tags(self, tx: Connection) -> Tags:
        """Return the maker of the tags that numbers are found by."""
        return Tags(tag_key(tx))

    def asked(self, tx: Connection) -> Asked:
        """Return what seals a question into a link."""
        return Asked(tag_key(tx))


def seen_organizations(tx: Connection, viewer: Viewer) -> list[Organization]:
    """Return the organizations of a viewer's tree, each main one followed by those below it."""
    found = [one for one in organizations(tx) if viewer.sees(one.id)]
    return sorted(found, key=lambda one: (one.main, one.parent is not None, one.id))


def seen_ledgers(tx: Connection, viewer: Viewer) -> list[str]:
    """Return the main organizations in whose ledgers something of a viewer's tree stands."""
    return list(dict.fromkeys(one.main for one in seen_organizations(tx, viewer)))


def seen_organization(tx: Connection, viewer: Viewer, org: str) -> Organization:
    """Return an organization of a viewer's tree; any other is answered as if it weren't there."""
    found = next((one for one in seen_organizations(tx, viewer) if one.id == org), None)
    if found is None:
        raise missing()
    return found


def sees_standing(viewer: Viewer, standing: Standing) -> bool:
    """Say whether a conversation belongs to a viewer's tree."""
    return viewer.sees(standing.conversation.organization, standing.conversation.sub_organization)


def missing() -> ProblemError:
    """Return the answer for what isn't there, or isn't theirs: the two look the same."""
    return ProblemError(404, "not_found", "There is no such page, or it is about another organization.")


def is_part(request: Request) -> bool:
    """Say whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true"


def readable(number: str | None, *, clear: bool) -> str:
    """Return a number for reading: masked, or in the way of its country."""
    if not number:
        return ""
    if not clear:
        return masked(number)
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return number
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def sentence(error: Exception) -> str:
    """Return an error's words as a sentence."""
    told = str(error)
    return f"{told[:1].upper()}{told[1:]}" + ("" if told.endswith((".", "!", "?")) else ".")


def given(fields: Mapping[str, str], names: Iterable[str]) -> dict[str, Any]:
    """Return what a person typed into these fields, without blanks around it."""
    return {name: fields.get(name, "").strip() for name in names}
