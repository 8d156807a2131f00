"""Who has each line: the employee it was registered to, or who texted from it last."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Boolean, Column, Connection, LargeBinary, String, Table

from consent.database import PERSONAL, among, fetch, metadata, run, upsert
from consent.tags import Tags

line_table = Table(
    "line",
    metadata,
    Column("organization", String(32), primary_key=True),
    Column("line_tag", LargeBinary, primary_key=True),
    Column("line", String(32), nullable=True, info=PERSONAL),
    Column("sub_organization", String(32), nullable=True),
    Column("employee_id", String(200), nullable=True, info=PERSONAL),
    Column("employee_name", String(400), nullable=True, info=PERSONAL),
    # The events' clock: since when this employee is known to have the line.
    Column("since", BigInteger, nullable=False),
    Column("registered", Boolean, nullable=False),
)

employee_line_table = Table(
    "employee_line",
    metadata,
    # Every line that an employee is known to have had: what an employee's entries are found by.
    Column("organization", String(32), primary_key=True),
    Column("employee_tag", LargeBinary, primary_key=True),
    Column("line_tag", LargeBinary, primary_key=True),
)


@dataclass(frozen=True, slots=True)
class Line:
    """Who has a line."""

    line: str
    sub_organization: str | None
    employee_id: str | None
    employee_name: str | None
    #: The events' clock, microseconds since 1970.
    since: int
    registered: bool = False


class Owners:
    """The lines that one transaction meets in one ledger: loaded and written together."""

    def __init__(self, tx: Connection, organization: str, tags: Callable[..., bytes]) -> None:
        self._tx, self._organization, self._tags = tx, organization, tags
        self._lines: dict[bytes, Line | None] = {}
        self._new: set[bytes] = set()
        #: Employees, by id, and lines that they are known to have had.
        self._had: set[tuple[str, str]] = set()

    def load(self, tags: Sequence[bytes]) -> None:
        """Look up who has these lines."""
        self._lines.update(dict.fromkeys(tags))
        self._lines.update(_read_lines(self._tx, self._organization, tags))

    def line(self, number: str) -> Line | None:
        """Return who is known to have a line."""
        tag = self._tags("line", number)
        if tag not in self._lines:
            self.load([tag])
        return self._lines[tag]

    def assign(self, line: Line) -> None:
        """Note who has a line from now on."""
        tag = self._tags("line", line.line)
        self._lines[tag] = line
        self._new.add(tag)
        if line.employee_id is not None:
            self.had(line.employee_id, line.line)

    def had(self, employee_id: str, number: str) -> None:
        """Note that an employee had a line once."""
        self._had.add((employee_id, number))

    def give(self, number: str, employee_id: str | None, employee_name: str | None, at: int) -> None:
        """Note to which employee a line was given at an instant, unless that is older than what is known."""
        line = self.line(number)
        if line is None or at >= line.since:
            sub_organization = line.sub_organization if line is not None else None
            registered = line is not None and line.registered
            self.assign(Line(number, sub_organization, employee_id, employee_name, at, registered))

    def write(self) -> None:
        """Store what has changed."""
        upsert(self._tx, line_table, [self._row(tag) for tag in self._new])
        for employee_id, line in self._had:
            run(
                self._tx,
                """INSERT INTO employee_line (organization, employee_tag, line_tag) VALUES (?, ?, ?)
                ON CONFLICT DO NOTHING""",
                [self._organization, self._tags("employee", employee_id), self._tags("line", line)],
            )

    def _row(self, tag: bytes) -> tuple[object, ...]:
        line = self._lines[tag]
        assert line is not None
        return (self._organization, tag, line.line, line.sub_organization, line.employee_id, line.employee_name,
                line.since, line.registered)  # fmt: skip


def find_line(tx: Connection, tags: Tags, organization: str, number: str) -> Line | None:
    """Return who is known to have a line."""
    tag = tags("line", number)
    return _read_lines(tx, organization, [tag]).get(tag)


def lines_of_employee(tx: Connection, tags: Tags, organization: str, employee_id: str) -> list[bytes]:
    """Return the tags of the lines that an employee is known to have had."""
    sql = "SELECT line_tag FROM employee_line WHERE organization = ? AND employee_tag = ?"
    return [bytes(row[0]) for row in fetch(tx, sql, [organization, tags("employee", employee_id)])]


def _read_lines(tx: Connection, organization: str, tags: Sequence[bytes]) -> dict[bytes, Line]:
    condition, parameters = among(tx, "line_tag", tags)
    sql = f"""SELECT line_tag, line, sub_organization, employee_id, employee_name, since, registered FROM line
    WHERE organization = ? AND {condition}"""
    rows = fetch(tx, sql, [organization, *parameters])
    return {
        tag: Line(line, sub_organization, employee_id, employee_name, since, bool(registered))
        for tag, line, sub_organization, employee_id, employee_name, since, registered in rows
    }
