"""Brings a list of lines in: which number is whose, each row registered or refused by itself."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection

from consent.database import Database
from consent.lines import set_line
from consent.numbers import NumberError, read_number
from consent.organizations import SettingError
from consent.policy import Policy
from consent.tags import Tags
from jobs.importing.bringing import Repeats, Summary
from jobs.importing.columns import Columns
from jobs.importing.consents import RowError
from jobs.importing.files import Row
from jobs.importing.rejected import Rejected

#: Rows in one transaction of one ledger at most: texts wait for it.
_CHUNK = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a row says of a line."""

    row: Row
    main: str
    sub_organization: str | None
    line: str
    employee_id: str
    name: str


class _DryRunError(Exception):
    """Takes a transaction back."""


@dataclass(frozen=True)
class Registry:
    """Where lines are registered, and by whom."""

    database: Database
    policies: Mapping[str, Policy]
    tags: Tags
    actor: str
    now: int
    #: The organization of rows that name none.
    org: str | None = None

    def read(self, row: Row, columns: Columns) -> Wanted:
        """Return what a row says; RowError where it can't be taken."""
        if row.fault is not None:
            raise RowError("invalid_row", row.fault)
        said = columns.said(row.cells)
        org = said.get("org") or self.org
        policy = self.policies.get(org or "")
        if policy is None:
            told = "there is no organization of this id: see `assent org list`"
            raise RowError(
                "unknown_organization", told if org else "`org` is missing: name it with --org, or in a column"
            )
        for name in ("line", "employee_id", "employee_name"):
            if name not in said:
                raise RowError(f"missing_{name}", f"`{name}` is missing")
        try:
            line = read_number(said["line"], policy.default_region)
        except NumberError as error:
            raise RowError("invalid_number", f"`line` {error}") from None
        return Wanted(
            row, policy.organization, policy.sub_organization, line, said["employee_id"], said["employee_name"]
        )

    def register(self, tx: Connection, wanted: Wanted) -> str:
        """Register one line and say what became of it: `registered`, or `unchanged`; RowError where it can't be."""
        try:
            done = set_line(
                tx, self.tags, wanted.main, wanted.line, wanted.employee_id, wanted.name,
                sub_organization=wanted.sub_organization, actor=self.actor, now=self.now,
            )  # fmt: skip
        except SettingError as error:
            raise RowError("invalid_employee", str(error)) from None
        return "registered" if done.entries else "unchanged"


def bring_lines(
    rows: Iterator[Row], columns: Columns, registry: Registry, rejected: Rejected, *, dry_run: bool,
    progress: Callable[[int], None],
) -> Summary:  # fmt: skip
    """Register the lines of a list; the same list again changes nothing."""
    summary = Summary(dry_run)
    with closing(Repeats()) as repeats:
        while chunk := list(islice(rows, _CHUNK)):
            by_ledger: dict[str, list[Wanted]] = {}
            for row in chunk:
                try:
                    wanted = registry.read(row, columns)
                    repeats.check(f"{wanted.main} {wanted.line}", row.number, "it names the same line as row {}")
                except RowError as error:
                    summary.refuse(row, error, rejected)
                else:
                    by_ledger.setdefault(wanted.main, []).append(wanted)
            # One ledger a transaction: who locks two in another order than somebody else waits for ever.
            for several in by_ledger.values():
                _register(registry, several, summary, rejected, dry_run=dry_run)
            summary.rows += len(chunk)
            progress(len(chunk))
    return summary


def _register(
    registry: Registry, several: list[Wanted], summary: Summary, rejected: Rejected, *, dry_run: bool
) -> None:  # fmt: skip
    outcomes: list[tuple[Row, str | RowError]] = []
    with suppress(_DryRunError), registry.database.write() as tx:
        for wanted in several:
            try:
                outcomes.append((wanted.row, registry.register(tx, wanted)))
            except RowError as error:
                outcomes.append((wanted.row, error))
        if dry_run:
            raise _DryRunError
    for row, outcome in outcomes:
        if isinstance(outcome, RowError):
            summary.refuse(row, outcome, rejected)
        else:
            summary.outcomes[outcome] += 1
