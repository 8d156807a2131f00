"""Disposal of what is past its retention, ledger after ledger; one process at a time."""

import structlog

from consent.database import Database
from consent.ledger import ledgers
from consent.retention import Disposed, dispose
from consent.tags import Tags
from jobs.exits import Exit, Problem
from sync import leases
from sync.leases import Keeper
from sync.migrate import tag_key
from sync.workers import holder_name

log = structlog.get_logger()

_LEASE_SECONDS = 60.0


def dispose_all(
    database: Database, *, organization: str | None = None, actor: str, now: int, dry_run: bool = False
) -> list[Disposed]:
    """Dispose in every ledger, or one; Problem where another process is at it."""
    with database.read() as tx:
        tags, known = Tags(tag_key(tx)), ledgers(tx)
    if organization is not None and organization not in known:
        raise Problem(Exit.USAGE, f"there is no ledger {organization}: see `assent org list`")
    names = known if organization is None else [organization]
    keeper = Keeper(database, _LEASE_SECONDS)
    with database.write() as tx:
        right = leases.take(tx, "*", "retention", holder_name(), _LEASE_SECONDS)
    if right is None:
        raise Problem(Exit.RUNNING, "another process disposes at this time: wait for it")
    lost, done = keeper.keep(right), list[Disposed]()
    try:
        for name in names:
            if lost.is_set():
                raise Problem(Exit.RUNNING, "another process took over while this one slept: see what it disposed of")
            done.append(dispose(database, tags, name, actor=actor, now=now, dry_run=dry_run))
    finally:
        keeper.end()
        with database.write() as tx:
            leases.release(tx, right)
    for one in done:
        if one.entries and not dry_run:
            log.info("entries.disposed", organization=one.organization, count=one.entries, held=one.held)
    return done
