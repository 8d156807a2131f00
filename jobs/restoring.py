"""`assent db restore`: a backup in the database's place, compared with every destination, caught up from archives."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from consent.database import explain
from jobs.access.sessions import end_all
from jobs.build import Parts
from jobs.exits import Exit, Problem
from sync import backup, restored
from sync.destinations import register

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What came back, and what is left to a person."""

    brought_back: dict[str, int]
    #: Each entry that is out there and unknown here: its id, lane, and which destinations hold it.
    left: list[dict[str, Any]]
    refused: list[str]
    unreachable: dict[str, str]

    @property
    def advice(self) -> str:
        """What to do next."""
        if self.unreachable:
            return "bring back the destinations named above, then run `assent db restore --compare`"
        return (
            "name an archive that holds these entries in the settings, or restore a newer backup, then run "
            "`assent db restore --compare`"
        )

    def told(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        open_ = bool(self.left or self.refused or self.unreachable)
        return {
            "ok": not open_,
            "brought_back": self.brought_back,
            "left": self.left,
            "refused": self.refused,
            "unreachable": self.unreachable,
            "advice": self.advice if open_ else None,
        }


def look_at(parts: Parts, file: Path) -> dict[str, Any]:
    """Say what a restore would do; Problem where the file is no backup, or others are at work in the database."""
    try:
        there = backup.look_into(file)
    except backup.BackupError as error:
        raise Problem(Exit.USAGE, str(error)) from error
    try:
        here = backup.sizes_in(parts.database)
        busy = bool(here) and backup.is_used_by_others(parts.database)
    except DBAPIError as error:  # the restore needs a database to restore into
        raise Problem(Exit.SETTINGS, _unusable(error)) from error
    if busy:
        raise Problem(
            Exit.RUNNING, "another process has this database open: stop every `serve`, `sync` and `ingest` first"
        )
    return {"file": str(file), "entries_there": there.entries, "entries_here": sum(here.values()),
            "ledgers": {name: {"there": there.ledgers.get(name, 0), "here": here.get(name, 0)}
                        for name in sorted({*there.ledgers, *here})}}  # fmt: skip


def restore_from(parts: Parts, file: Path, tell: Tell) -> None:
    """Put a backup in the place of what the database holds, marked until it was compared."""
    try:
        backup.restore(
            parts.database, file, parts.migrations, mark=_mark,
            progress=lambda done, total: tell("rows restored", done, total),
        )  # fmt: skip
    except backup.BackupError as error:
        raise Problem(Exit.USAGE, str(error)) from error
    if parts.portal_database is not parts.database:
        from connectors.portal import migrate as portal

        portal.upgrade(parts.portal_database)


def _mark(tx: Connection) -> None:
    restored.mark_restored(tx)
    # Those that were ended since the backup must not come to life again.
    end_all(tx)


def catch_up(parts: Parts, tell: Tell, *, dry_run: bool = False) -> CaughtUp:
    """Bring back what archives hold of entries that the database doesn't know, and say what is left."""
    register(parts.database, parts.destinations)
    if dry_run:
        found = restored.compare(parts.database, parts.destinations)
    else:
        found = restored.catch_up(
            parts.database, parts.destinations, lambda name, count: tell(f"{name} brought back", count, 0)
        )
    holders: dict[str, dict[str, Any]] = {}
    for one in sorted(found.beyond, key=lambda one: one.entry):
        row = holders.setdefault(one.entry, {"entry": one.entry, "lane": one.lane, "pos": one.pos, "destinations": []})
        row["destinations"].append(one.destination)
    return CaughtUp(found.brought_back, list(holders.values()), found.refused, found.unreachable)


def _unusable(error: DBAPIError) -> str:
    advice = explain(error)
    if "damaged" in advice or "no SQLite database" in advice:
        return "the database file is damaged: move it away, with its -wal and -shm beside it, then restore again"
    return advice
