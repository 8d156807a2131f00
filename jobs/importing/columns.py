"""Which column of a list says what: told by its name, however it is written, or by whoever brings the list."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.exits import Exit, Problem

#: What a row of consents can say, and the names by which columns are known to say it.
CONSENTS: Mapping[str, tuple[str, ...]] = {
    "contact": ("phone", "phone_number", "mobile", "mobile_phone", "mobile_number", "contact_number", "msisdn",
                "number", "customer_number", "subscriber", "recipient"),
    "line": ("line_number", "our_number", "sender_number", "business_number"),
    "org": ("organization", "organisation", "sub_organization", "sub_org"),
    "channel": ("medium",),
    "consent": ("status", "consent_status", "opt_status", "decision", "opt_in_status"),
    "opted_in": ("opt_in", "optin", "sms_opt_in"),
    "opted_out": ("opt_out", "optout", "sms_opt_out", "do_not_text", "do_not_sms", "unsubscribed"),
    "at": ("date", "time", "timestamp", "datetime", "date_time", "consent_date", "consented_at", "opt_out_date",
           "opt_in_date", "opted_out_at", "opted_in_at", "effective_date", "captured_at"),
    "evidence": ("proof", "document", "consent_evidence", "consent_text", "form"),
    "reference": ("id", "ref", "record_id", "source_reference", "source_id"),
    "employee_id": ("employee", "user_id", "agent_id"),
    "employee_name": ("agent", "agent_name", "user_name"),
    "note": ("notes", "comment", "comments", "remark"),
}  # fmt: skip

#: Columns of ticks: a row without one says nothing.
TICKS = ("opted_in", "opted_out")

#: What a row of lines can say.
LINES: Mapping[str, tuple[str, ...]] = {
    "line": ("line_number", "number", "phone", "phone_number", "our_number", "business_number", "msisdn"),
    "org": ("organization", "organisation", "sub_organization", "sub_org"),
    "employee_id": ("employee", "user_id", "agent_id", "id"),
    "employee_name": ("name", "employee_full_name", "user_name", "agent_name", "agent"),
}

#: What a file of rejected rows has beside the columns of the list.
ADDED = ("row", "error")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which of a list's columns says what."""

    by_column: Mapping[str, str]

    def said(self, cells: Mapping[str, str]) -> dict[str, str]:
        """Return what a row says by our names, blanks cut off, empty cells left out but for ticks."""
        said = {}
        for column, cell in cells.items():
            name = self.by_column.get(column)
            if name is not None and ((text := cell.strip()) or name in TICKS):
                said[name] = text
        return said


def told_columns(
    columns: Sequence[str], fields: Mapping[str, tuple[str, ...]], mapped: Mapping[str, str], *, all_there: bool = True
) -> Columns:
    """Find out which column says what; Problem where two say the same, or a mapped one isn't there.

    Without `all_there` a mapped column may be missing: not every object has every member.
    """
    known = {alias: name for name, aliases in fields.items() for alias in (name, *aliases)}
    wanted = {plain(column): name for column, name in mapped.items()}
    taken: dict[str, str] = {}
    by_column: dict[str, str] = {}
    for column in [*columns, *([] if all_there else [one for one in mapped if plain(one) not in map(plain, columns)])]:
        name = wanted.get(plain(column))
        if name is None and plain(column) not in ADDED:
            name = known.get(plain(column))
            if name in mapped.values():  # whoever brings the list has said where that stands
                name = None
        if name is None:
            continue
        if name in taken:
            raise Problem(
                Exit.USAGE,
                f"two columns say `{name}`, {taken[name]!r} and {column!r}: choose with --map 'COLUMN={name}'",
            )
        taken[name] = column
        by_column[column] = name
    missing = [column for column in mapped if column not in by_column and plain(column) not in map(plain, by_column)]
    if missing:
        raise Problem(Exit.USAGE, f"there is no column {missing[0]!r} to map: the list has {', '.join(columns)}")
    return Columns(by_column)


def read_pairs(given: Sequence[str], option: str, names: Sequence[str]) -> dict[str, str]:
    """Return `--map COLUMN=NAME` as {column: name}, or `--set NAME=VALUE` as {name: value}."""
    pairs = {}
    for one in given:
        left, equals, right = one.rpartition("=") if option == "--map" else one.partition("=")
        name = right if option == "--map" else left
        if not equals or not left.strip() or name.strip() not in names:
            shape = "COLUMN=NAME" if option == "--map" else "NAME=VALUE"
            raise Problem(Exit.USAGE, f"{option} is {shape}, NAME one of {', '.join(names)}")
        pairs[left.strip()] = right.strip()
    return pairs


def plain(column: str) -> str:
    """Return a column's name without what writing it differently changes: capitals, blanks, `-`, `_` and marks."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.casefold()).strip("_")
