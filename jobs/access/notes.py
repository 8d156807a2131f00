"""What people do with what they see, written down: sign-ins, reveals, downloads, changes of users and tokens."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from consent.database import run
from consent.entry import Entry
from consent.kinds import SYSTEM, Kind
from consent.ledger import append, create_ledger
from consent.values import Record


def note_access(
    tx: Connection, operation: str, *, actor: str, organization: str | None, now: int,
    facts: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None,
) -> Entry:  # fmt: skip
    """Record that somebody looked or took; `operation` is a word: sign_in, sign_out, reveal, download.

    It stands in the ledger of the main organization whose data it was, or in `system`. `facts` may stay for ever;
    `values` holds what is personal (a number, or the reason that a person typed, as `note`).
    """
    told = {"operation": operation, "actor": actor, **(facts or {})}
    return _append(tx, Record(Kind.ACCESS, now, told, values or {}), organization, now)


def note_setting(
    tx: Connection, setting: str, *, actor: str, organization: str | None, now: int,
    facts: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None,
) -> Entry:  # fmt: skip
    """Record a change of users or tokens (organizations' settings write their own entries)."""
    told = {"setting": setting, "actor": actor, **(facts or {})}
    return _append(tx, Record(Kind.SETTING, now, told, values or {}), organization, now)


def ledger_of(tx: Connection, organization: str | None) -> str:
    """Return the ledger that an organization's records stand in: its main organization's; `system` without one."""
    if organization is None or organization == SYSTEM:
        return SYSTEM
    main = run(tx, "SELECT main FROM organization WHERE id = ?", [organization]).scalar()
    return SYSTEM if main is None else str(main)


def _append(tx: Connection, record: Record, organization: str | None, now: int) -> Entry:
    ledger = ledger_of(tx, organization)
    if ledger == SYSTEM:
        create_ledger(tx, SYSTEM)
    elif organization != ledger:
        record = record._replace(body={**record.body, "sub_organization": organization})
    [entry] = append(tx, ledger, [record], now)
    return entry
