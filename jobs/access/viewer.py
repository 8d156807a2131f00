"""Somebody who is signed in: who that is, what they may do, and whose data they see."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from consent.database import run
from consent.entry import Entry
from consent.organizations import SettingError


class Role(StrEnum):
    """What a user may do; one may have several."""

    SETUP = "setup"  # organizations, features, texts, keywords, lines
    REPORTS = "reports"  # read, reveal, download, close reviews
    OPERATIONS = "operations"  # destinations, refused entries, resync


@dataclass(frozen=True, slots=True)
class Sight:
    """Whose data somebody sees: one organization and those below it, or all."""

    #: None: all of them, and the `system` ledger.
    organizations: frozenset[str] | None = None

    def sees(self, organization: str, sub_organization: str | None = None) -> bool:
        """Say whether what belongs to an organization, or to a sub-organization of it, may be shown."""
        seen = self.organizations
        return seen is None or organization in seen or (sub_organization is not None and sub_organization in seen)

    def sees_entry(self, entry: Entry) -> bool:
        """Say whether a ledger's entry may be shown: who sees only a sub-organization sees what names it."""
        if self.organizations is None or entry.organization in self.organizations:
            return True
        return self.sees(entry.organization, _sub_organization(entry.facts()))


@dataclass(frozen=True, slots=True)
class Viewer(Sight):
    """A signed-in user, as of this request."""

    #: Opaque, and what stands in entries as `actor`.
    id: str = ""
    name: str = field(default="", repr=False)
    roles: frozenset[Role] = frozenset()
    #: The organization they belong to; None for those who see all.
    organization: str | None = None
    #: Which of their sessions this is: an id for lists and for what was revealed, no secret.
    session: str = ""

    def may(self, role: Role) -> bool:
        """Say whether they have a role."""
        return role in self.roles


def tree_of(tx: Connection, organization: str | None) -> frozenset[str] | None:
    """Return the ids of an organization and of all below it; None, for all, where it is None."""
    if organization is None:
        return None
    rows = run(
        tx,
        "SELECT id, parent FROM organization WHERE main = (SELECT main FROM organization WHERE id = ?)",
        [organization],
    )
    parents = {row.id: row.parent for row in rows}
    return frozenset(one for one in parents if organization in _line_of(parents, one))


def require_organization(tx: Connection, organization: str | None) -> None:
    """Raise SettingError where there is no such organization; None is all of them."""
    known = "SELECT 1 FROM organization WHERE id = ?"
    if organization is not None and run(tx, known, [organization]).first() is None:
        raise SettingError("there is no organization of this id: see `assent org list`")


def _line_of(parents: Mapping[str, str | None], one: str | None) -> list[str]:
    line = []
    while one is not None:
        line.append(one)
        one = parents.get(one)
    return line


def _sub_organization(facts: Mapping[str, Any]) -> str | None:
    # Texts and what follows from them name it so; a change of an organization's settings names it by its id.
    found = facts.get("sub_organization") or (facts.get("id") if "setting" in facts else None)
    return found if isinstance(found, str) else None
