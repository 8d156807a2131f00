"""The registered lines: which employee has which line, written down whenever somebody changes it.

A line that nobody registered is known by the last employee who texted from it (`consent.owners`); registering
one says so beforehand, and for lines whose contacts write first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from consent.database import run
from consent.entry import Entry
from consent.events import Event, Happened, reassign_line
from consent.kinds import Kind
from consent.ledger import Appending, lock
from consent.organizations import ForbiddenError, SettingError, read_policies
from consent.owners import Line
from consent.standings import Standings
from consent.tags import Tags
from consent.values import Record

_LONGEST_ID, _LONGEST_NAME = 200, 400


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered line, and what was written of it: nothing where it was registered so already."""

    line: Line
    entries: tuple[Entry, ...]

    @property
    def begun_anew(self) -> int:
        """How many conversations begin anew with another employee."""
        return sum(entry.kind == Kind.REASSIGNMENT for entry in self.entries)


def set_line(
    tx: Connection, tags: Tags, organization: str, line: str, employee_id: str, name: str, *,
    sub_organization: str | None, actor: str, now: int, may_take: Callable[[str | None], bool] | None = None,
) -> Registered:  # fmt: skip
    """Register a line of a main organization, given in E.164, to an employee.

    Where that is another employee than the last known, the line's conversations begin anew (an opt-out stays),
    as they do when the first text of another employee comes.

    `may_take` says whether the actor may move a line away from a sub-organization (None: from the main one itself);
    ForbiddenError where not, SettingError where employee or name can't be.
    """
    employee_id, name = employee_id.strip(), name.strip()
    if not employee_id or len(employee_id) > _LONGEST_ID or not name or len(name) > _LONGEST_NAME:
        raise SettingError(f"an employee's id is 1 to {_LONGEST_ID} characters, the name 1 to {_LONGEST_NAME}")
    appending = Appending(tx, lock(tx, organization), now)
    standings = Standings(tx, organization, tags)
    known = standings.owners.line(line)
    if known is not None and may_take is not None and not may_take(known.sub_organization):
        raise ForbiddenError("this line belongs to another organization: ask somebody who looks after both")
    another = known is not None and known.employee_id not in (None, employee_id)
    # The same employee has had it for as long as is known.
    since = now if known is None or known.employee_id is None or another else known.since
    registered = Line(line, sub_organization, employee_id, name, since, registered=True)
    if registered == known:
        return Registered(registered, ())
    appending.add([_setting(registered, known, actor, now)])
    if another:
        _begin_anew(tx, appending, standings, registered, actor)
    appending.write()
    standings.owners.assign(registered)
    standings.write()
    return Registered(registered, tuple(appending.entries))


def list_lines(
    tx: Connection, organization: str, *, sub_organization: str | None = None, after: str = "", limit: int = 1_000
) -> list[Line]:
    """Return lines of a main organization by number, from the one after `after` on; erased ones are left out."""
    sql, parameters = "SELECT * FROM line WHERE organization = ? AND line > ?", [organization, after]
    if sub_organization is not None:
        sql += " AND sub_organization = ?"
        parameters.append(sub_organization)
    return [
        Line(row.line, row.sub_organization, row.employee_id, row.employee_name, row.since, bool(row.registered))
        for row in run(tx, sql + " ORDER BY line LIMIT ?", [*parameters, limit])
    ]


def owners_of_line(tx: Connection, tags: Tags, line: str) -> list[str]:
    """Return the organizations that a line, in E.164, is known in: who registered it first, then the latest."""
    rows = run(
        tx,
        """SELECT l.organization, l.sub_organization FROM ledger g
        JOIN line l ON l.organization = g.organization AND l.line_tag = ?
        ORDER BY l.registered DESC, l.since DESC""",
        [tags("line", line)],
    )
    return [row.sub_organization or row.organization for row in rows]


def _setting(line: Line, before: Line | None, actor: str, now: int) -> Record:
    facts: dict[str, Any] = {"setting": "line", "actor": actor}
    if line.sub_organization is not None:
        facts["sub_organization"] = line.sub_organization
    values: dict[str, Any] = {
        "line": line.line,
        "employee_id": line.employee_id,
        "employee_name": line.employee_name,
    }
    if before is not None:
        older = {"employee_id_before": before.employee_id, "employee_name_before": before.employee_name}
        values |= {name: value for name, value in older.items() if value is not None}
    return Record(Kind.SETTING, now, facts, values)


def _begin_anew(tx: Connection, appending: Appending, standings: Standings, line: Line, actor: str) -> None:
    """Let the line's conversations begin anew (row 26), under the id of the entry that says so."""
    organization = appending.head.organization
    policy = read_policies(tx, organization)[organization]
    event = Event(
        appending.entries[0].id, organization, line.sub_organization, Happened.LINE_REASSIGNED, line.since,
        line=line.line, employee_id=line.employee_id, employee_name=line.employee_name, actor=actor,
    )  # fmt: skip
    for standing in standings.on_line(line.line):
        decision = reassign_line(standing.conversation, event, policy)
        appending.add(decision.records)
        standing.conversation, standing.changed = decision.conversation, standing.changed or bool(decision.records)
