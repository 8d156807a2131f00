"""Runs: what was read back and brought again, by whom, how far it is, and what it came to.

A run is told of in the database while it is at work, so that anybody sees it live and can end it, from any host; and
it is kept afterwards. Who is killed in the middle falls silent: a run that was not told of for long is dead.
"""

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson
import structlog
from sqlalchemy import BigInteger, Boolean, Column, Connection, Index, LargeBinary, String, Table
from sqlalchemy.exc import DBAPIError

from consent.database import Database, insert, metadata, run
from sync.clock import database_now
from sync.port import SuspendedError, TransientError
from sync.resync import AlreadyRunningError

log = structlog.get_logger()

#: Seconds between two looks at whether to stop, each of which tells how far the work is.
_TELL_EVERY = 0.5
#: Microseconds of silence after which a run is taken for dead.
SILENT = 30 * 1_000_000

run_table = Table(
    "run",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("work", String(16), nullable=False),
    Column("destination", String(64), nullable=False),
    # The ledger that it is about; null: all that the destination takes.
    Column("organization", String(32), nullable=True),
    # Canonical JSON: what was asked for, and how far it is. Neither holds anything personal.
    Column("asked", LargeBinary, nullable=False),
    Column("told", LargeBinary, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("advice", String(1000), nullable=True),
    Column("begun_at", BigInteger, nullable=False),
    Column("told_at", BigInteger, nullable=False),
    Column("stopping", Boolean, nullable=False),
    Index("run_begun_at_ix", "begun_at", "id"),
)


class Work(StrEnum):
    """What a run does."""

    RECONCILE = "reconcile"
    RESYNC = "resync"


class RunState(StrEnum):
    """How far a run is; `lost` is never stored: it is read from a run that fell silent."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Run:
    """One run as it was last told of; times in microseconds since 1970, on the database's clock."""

    id: str
    work: Work
    destination: str
    organization: str | None
    asked: Mapping[str, Any]
    told: Mapping[str, Any]
    actor: str
    state: RunState
    advice: str | None
    begun_at: int
    told_at: int
    stopping: bool


@dataclass(slots=True)
class Noted:
    """A run at work: `told` is written down as it stands every half second, `stop` is set when somebody asks."""

    id: str
    stop: threading.Event
    told: dict[str, Any] = field(default_factory=dict)
    advice: str | None = None


@contextmanager
def noted(
    database: Database, work: Work, destination: str, *, actor: str, organization: str | None = None,
    asked: Mapping[str, Any] | None = None, stop: threading.Event | None = None, name: str | None = None,
) -> Iterator[Noted]:  # fmt: skip
    """Tell of a run from its begin to its end; an exception ends it as failed, with what to do, and goes on up.

    A signal's stops it. `stop` ends it, and whatever else it is shared with; the run's own ends this one alone.
    """
    outer, noted = stop or threading.Event(), Noted(name or secrets.token_hex(6), threading.Event())
    with database.write() as tx:
        now = database_now(tx)
        row = (noted.id, work.value, destination, organization, orjson.dumps(asked or {}), b"{}", actor,
               RunState.RUNNING.value, None, now, now, False)  # fmt: skip
        insert(tx, run_table, [row])
    ended = threading.Event()
    teller = threading.Thread(
        target=_keep_telling, args=(database, noted, outer, ended), name="run-teller", daemon=True
    )
    teller.start()
    state = RunState.FAILED
    try:
        yield noted
        state = RunState.STOPPED if noted.stop.is_set() or outer.is_set() else RunState.DONE
    except (KeyboardInterrupt, SystemExit):  # a command that a signal ended
        state = RunState.STOPPED
        raise
    except AlreadyRunningError as error:  # nothing is broken: it was not this one's turn
        state, noted.advice = RunState.STOPPED, f"{error}: wait for it"
        raise
    except BaseException as error:
        noted.advice = _advice(error)
        raise
    finally:
        ended.set()
        teller.join()
        _tell(database, noted, state)


def stop_run(tx: Connection, run_id: str) -> bool:
    """Ask a run to end after what it has at hand; False where it isn't at work."""
    sql = "UPDATE run SET stopping = ? WHERE id = ? AND state = ?"
    return run(tx, sql, [True, run_id, RunState.RUNNING.value]).rowcount > 0


def find_run(tx: Connection, run_id: str) -> Run:
    """Return one run; LookupError where there is none of this id."""
    found = _runs(tx, "id = ?", [run_id], 1)
    if not found:
        raise LookupError("there is no such run")
    return found[0]


def list_runs(
    tx: Connection, *, destination: str | None = None, work: Work | None = None, organization: str | None = None,
    before: tuple[int, str] | None = None, limit: int = 50,
) -> list[Run]:  # fmt: skip
    """Return runs, the newest first, behind (begun_at, id); those of one ledger, where one is named."""
    where, parameters = ["1 = 1"], list[Any]()
    for column, value in (("destination", destination), ("work", work and work.value), ("organization", organization)):
        if value is not None:
            where.append(f"{column} = ?")
            parameters.append(value)
    if before is not None:
        where.append("(begun_at, id) < (?, ?)")
        parameters += before
    return _runs(tx, " AND ".join(where), parameters, limit)


def _runs(tx: Connection, where: str, parameters: list[Any], limit: int) -> list[Run]:
    sql = f"SELECT * FROM run WHERE {where} ORDER BY begun_at DESC, id DESC LIMIT {int(limit)}"
    now = database_now(tx)
    return [
        Run(row.id, Work(row.work), row.destination, row.organization, orjson.loads(row.asked),
            orjson.loads(row.told), row.actor, _state(row, now), row.advice, row.begun_at, row.told_at,
            bool(row.stopping))
        for row in run(tx, sql, parameters)
    ]  # fmt: skip


def _state(row: Any, now: int) -> RunState:
    state = RunState(row.state)
    return RunState.LOST if state is RunState.RUNNING and row.told_at < now - SILENT else state


def _keep_telling(database: Database, noted: Noted, outer: threading.Event, ended: threading.Event) -> None:
    while not ended.wait(_TELL_EVERY):
        if outer.is_set():
            noted.stop.set()
        try:
            _tell(database, noted, RunState.RUNNING)
        except DBAPIError as error:
            # What is at work finds out by itself that the database is away.
            log.warning("run.untold", run=noted.id, error=type(error.orig).__name__)


def _tell(database: Database, noted: Noted, state: RunState) -> None:
    with database.write() as tx:
        run(
            tx,
            "UPDATE run SET told = ?, told_at = ?, state = ?, advice = ? WHERE id = ?",
            [orjson.dumps(noted.told), database_now(tx), state.value, noted.advice, noted.id],
        )
        asked = run(tx, "SELECT stopping FROM run WHERE id = ?", [noted.id]).scalar()
    if asked:
        noted.stop.set()


def _advice(error: BaseException) -> str:
    match error:
        case SuspendedError() | TransientError():
            return f"{error.code}: {error.advice}"[:1000]
        case LookupError():
            return str(error)[:1000]
    return "unexpected: the log says what"
