"""A backup: one SQLite file with every table as one commit left it, taken while others write; and the way back.

The same form whichever database it is from: anyone can open it, and it can be restored into either.
"""

import glob
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Boolean, Connection, MetaData, Table, inspect, make_url

from consent.database import Database, insert, open_database, run

#: Rows that are held in memory at one time.
_ROWS = 2_000

Migrate = Callable[[Database], None]
Progress = Callable[[int, int], None]


class BackupError(Exception):
    """A backup can't be taken or used as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds."""

    path: Path
    bytes: int
    #: By organization: how many entries its ledger has there.
    ledgers: dict[str, int]

    @property
    def entries(self) -> int:
        """Entries of all ledgers together."""
        return sum(self.ledgers.values())


def backup(database: Database, path: Path, migrate: Sequence[Migrate], progress: Progress | None = None) -> Backup:
    """Write a backup to a new file, durable when this returns; `migrate` makes the tables of an empty database.

    Whoever writes meanwhile isn't kept waiting. Raises BackupError where the file is there already, or can't be made.
    """
    part = _beside(path, "part")
    there = BackupError(f"{path} is there already, and a backup overwrites nothing: name another file")
    if path.exists():
        raise there
    try:
        _make_private(part)
        if database.is_postgres:
            _copy_tables(database, part, migrate, progress or _silent)
        else:
            _copy_file(database, part)
        made = Backup(path, part.stat().st_size, _sizes(part))
        _make_durable(part)
        os.link(part, path)  # unlike a rename it overwrites nothing
        _make_durable(path.parent)
    except FileExistsError:
        raise there from None
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise BackupError(f"{path} can't be written ({why}): check its folder, the rights and the space") from error
    finally:
        _remove(part)
    return made


def look_into(path: Path) -> Backup:
    """Return what a backup holds; BackupError where the file is none, or damaged."""
    try:
        with _reading(path) as source:
            sound = source.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        found = Backup(path, path.stat().st_size, _sizes(path))
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"{path} is no backup that can be read: name a file that `assent db backup` wrote") from error
    if not sound:
        raise BackupError(f"{path} is damaged: take another backup")
    return found


def sizes_in(database: Database) -> dict[str, int]:
    """Return how many entries each ledger of a database has; {} where it has no tables yet."""
    with database.read() as tx:
        if not inspect(tx).has_table("head"):
            return {}
        return {row.organization: row.size for row in run(tx, _SIZES)}


def is_used_by_others(database: Database) -> bool:
    """Tell whether another process has a database open, be it at rest."""
    database.dispose()  # what this process has open doesn't count
    if database.is_postgres:
        with database.read() as tx:
            sql = """SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'assent' AND pid <> pg_backend_pid()"""
            return bool(run(tx, sql).scalar_one())
    try:
        # Whoever has the file open holds a shared lock on it; to leave the log behind needs the only one.
        with closing(sqlite3.connect(str(make_url(database.url).database), timeout=0.5)) as connection:
            mode = connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return True
        raise
    return bool(mode != "delete")


def restore(
    database: Database, path: Path, migrate: Sequence[Migrate], *, mark: Callable[[Connection], None],
    progress: Progress | None = None,
) -> Backup:  # fmt: skip
    """Put a backup in the place of all that a database holds, in one transaction; killed in it, nothing changed.

    `mark` is called at the transaction's end. Raises BackupError where the file is no backup, damaged, or of a schema
    newer than this program's.
    """
    told = look_into(path)
    with _at_this_schema(path, migrate) as source:
        for one in migrate:
            one(database)
        with source.read() as rows, database.write() as tx:
            tables = _tables(tx)
            total, done = sum(_count(rows, table) for table in tables), 0
            for table in tables:
                run(tx, f"DELETE FROM {table.name}")
                for page in _pages(rows, table):
                    insert(tx, table, page)
                    done += len(page)
                    (progress or _silent)(done, total)
            mark(tx)
    return told


def _copy_file(database: Database, part: Path) -> None:
    """Copy an SQLite database as one commit left it, without what freed pages may still hold."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as source:
        driver = source.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute("VACUUM INTO ?", [str(part)])


def _copy_tables(database: Database, part: Path, migrate: Sequence[Migrate], progress: Progress) -> None:
    target = open_database(f"sqlite:///{part}")
    try:
        for one in migrate:
            one(target)
        with database.read() as tx, target.write() as out:  # REPEATABLE READ: all tables as one commit left them
            tables = _tables(out)
            total, done = sum(_count(tx, table) for table in tables), 0
            for table in tables:
                run(out, f"DELETE FROM {table.name}")
                for page in _pages(tx, table):
                    insert(out, table, page)
                    done += len(page)
                    progress(done, total)
        with closing(target.engine.raw_connection()) as whole:
            # One file is the whole backup, with no log beside it.
            whole.cursor().execute("PRAGMA journal_mode = DELETE")
    finally:
        target.dispose()


@contextmanager
def _at_this_schema(path: Path, migrate: Sequence[Migrate]) -> Iterator[Database]:
    """Give a copy of a backup, brought to this program's schema; the backup itself stays as it is."""
    copy = _beside(path, "restoring")
    try:
        _make_private(copy)
        with _reading(path) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        database = open_database(f"sqlite:///{copy}")
        try:
            for one in migrate:
                one(database)
            yield database
        finally:
            database.dispose()
    except OSError as error:
        raise BackupError(f"{copy} can't be written ({error.strerror}): a restore needs room for a copy") from error
    finally:
        for suffix in ("", "-wal", "-shm"):
            _remove(copy.with_name(copy.name + suffix))


def _tables(tx: Connection) -> list[Table]:
    """Return all tables but those that say which schema this is, those that others refer to first."""
    found = MetaData()
    found.reflect(tx)
    return [table for table in found.sorted_tables if not table.name.endswith("alembic_version")]


def _count(tx: Connection, table: Table) -> int:
    return int(run(tx, f"SELECT count(*) FROM {table.name}").scalar_one())


def _pages(tx: Connection, table: Table) -> Iterator[list[tuple[object, ...]]]:
    """Read a table's rows in the order of columns that it has where they go."""
    columns = ", ".join(column.name for column in table.columns)
    streaming = tx.execution_options(stream_results=True, max_row_buffer=_ROWS)
    result = streaming.exec_driver_sql(f"SELECT {columns} FROM {table.name}")
    # SQLite has no truth values, only 0 and 1.
    truths = [at for at, column in enumerate(table.columns) if isinstance(column.type, Boolean)]
    for page in result.partitions(_ROWS):
        rows = [list(row) for row in page]
        for row in rows:
            for at in truths:
                row[at] = None if row[at] is None else bool(row[at])
        yield [tuple(row) for row in rows]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        yield connection


def _sizes(path: Path) -> dict[str, int]:
    with _reading(path) as source:
        return dict(source.execute(_SIZES).fetchall())


def _beside(path: Path, use: str) -> Path:
    """Return the name of a file beside a backup that this process works in; what killed ones left goes."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.{use}*"):
        pid = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            _remove(left)
    return path.with_name(f".{path.name}.{os.getpid()}.{use}")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _make_private(path: Path) -> None:
    # Numbers and texts stand in it: nobody but its owner reads it.
    _remove(path)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _make_durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _silent(_done: int, _total: int) -> None:
    """Show nothing."""


_SIZES = """SELECT l.organization,
coalesce((SELECT max(h.size) FROM head h WHERE h.organization = l.organization), 0) AS size
FROM ledger l ORDER BY 1"""
