"""Looking conversations up for a person: by number, by name, by employee; each by an index."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from consent.conversations import Standing, conversation_table, standing_of
from consent.database import among, fetch, run
from consent.entry import Entry
from consent.ledger import page_conversation
from consent.names import find_contacts, fold, names_of
from consent.tags import Tags

_CONVERSATION = ", ".join(column.name for column in conversation_table.columns)


class Met(NamedTuple):
    """A conversation for who looks through several."""

    standing: Standing
    #: What its contact was called last.
    contact_name: str | None
    employee_name: str | None
    #: Its newest entry.
    last: Entry | None

    @property
    def at(self) -> int:
        """When something was last said of it, microseconds since 1970."""
        return self.last.occurred_at if self.last is not None else 0


def by_number(tx: Connection, tags: Tags, organization: str, number: str, *, limit: int = 200) -> list[Standing]:
    """Return the conversations of a number in E.164, be it a contact's or a line's."""
    found = _standings(tx, organization, "contact_tag", [tags("contact", number)], limit)
    return found or _standings(tx, organization, "line_tag", [tags("line", number)], limit)


def by_name(tx: Connection, organization: str, name: str, *, limit: int = 200) -> list[Standing]:
    """Return the conversations of contacts, and on lines of employees, one of whose names has a word that begins so."""
    contacts = [tag for _, tag in find_contacts(tx, [organization], name, limit)]
    found = _standings(tx, organization, "contact_tag", contacts, limit)
    known = {one.tag for one in found}
    lines = _lines_called(tx, organization, name, limit)
    return found + [one for one in _standings(tx, organization, "line_tag", lines, limit) if one.tag not in known]


def by_id(tx: Connection, organization: str, conversation: str) -> Standing | None:
    """Return one conversation."""
    found = _standings(tx, organization, "id", [conversation], 1)
    return found[0] if found else None


def of_contact(tx: Connection, organization: str, contact_tag: bytes, *, limit: int = 200) -> list[Standing]:
    """Return all conversations of one contact, by line and channel group."""
    found = _standings(tx, organization, "contact_tag", [contact_tag], limit)
    return sorted(found, key=lambda one: (one.conversation.line, one.conversation.group))


def met(tx: Connection, organization: str, standings: Sequence[Standing]) -> list[Met]:
    """Return conversations with the names of both sides and their newest entry, the one of the newest first."""
    names = names_of(tx, organization, list({one.contact_tag for one in standings}))
    employees = _employees(tx, organization, list({one.line_tag for one in standings}))
    found = []
    for one in standings:
        newest = page_conversation(tx, organization, one.conversation.id, limit=1)
        found.append(
            Met(one, names.get(one.contact_tag), employees.get(one.line_tag), newest[0] if newest else None)
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one.at, one.standing.conversation.id))


def _standings(tx: Connection, organization: str, column: str, values: Sequence[Any], limit: int) -> list[Standing]:
    if not values:
        return []
    condition, parameters = among(tx, column, list(values))
    sql = f"SELECT {_CONVERSATION} FROM conversation WHERE organization = ? AND {condition} LIMIT {int(limit)}"
    return [standing_of(row) for row in fetch(tx, sql, [organization, *parameters])]


def _lines_called(tx: Connection, organization: str, name: str, limit: int) -> list[bytes]:
    """Return the tags of lines whose employee has such a name: an organization's lines are few beside its entries."""
    wanted = fold(name)
    if not wanted:
        return []
    sql = "SELECT line_tag, employee_name FROM line WHERE organization = ? AND employee_name IS NOT NULL"
    rows = fetch(tx, sql, [organization])
    return [bytes(tag) for tag, called in rows if b" " + wanted in b" " + fold(called)][:limit]


def _employees(tx: Connection, organization: str, line_tags: Sequence[bytes]) -> dict[bytes, str | None]:
    if not line_tags:
        return {}
    condition, parameters = among(tx, "line_tag", list(line_tags))
    rows = run(
        tx,
        f"SELECT line_tag, employee_name FROM line WHERE organization = ? AND {condition}",
        [organization, *parameters],
    )
    return {bytes(row.line_tag): row.employee_name for row in rows}
