"""The one database: SQLite or PostgreSQL, opened so that a commit means durable and a writer never fails half-way."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Dialect, Engine, MetaData, Table, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_ix",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "pk": "%(table_name)s_pkey",
    }
)

#: Says in a table's declaration that a column holds personal facts: export, redaction and erasure find them by it.
PERSONAL: dict[str, Any] = {"personal": True}
#: The same of a contact's facts, in a table whose rows a `contact_tag` finds: lawful erasure nulls them.
PERSONAL_OF_CONTACT: dict[str, Any] = {"personal": "contact"}

#: Rows from which COPY is quicker than one INSERT with all of them (its start costs a round trip).
_COPY_FROM = 8


#: PostgreSQL ends a transaction of ours that has said nothing for so long: there is never a network call inside one.
_IDLE_SECONDS = 10
#: A connection that was at work so short a time ago, seconds, is not asked whether it is still there: BEGIN will tell.
_TRUSTED_SECONDS = 1.0
#: What libpq does where the network says nothing: a dead server shows within half a minute (ms for tcp_user_timeout).
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}


Made = TypeVar("Made")


class DatabaseError(Exception):
    """The database can't be used now; the message says what happened and what to do, and names no value."""


class Database:
    """An engine with the two ways this program uses it: a read, and a write that holds the writer's place."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.url = url
        self.is_postgres = parsed.get_backend_name() == "postgresql"
        if not self.is_postgres and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = _postgres(url) if self.is_postgres else _sqlite(url)
        begin = _POSTGRES_BEGIN if self.is_postgres else _SQLITE_BEGIN
        self._single, self._reader, self._durable_writer, self._quick_writer = (
            self.engine.execution_options(assent_begin=words) for words in begin
        )
        # SQLite's busy handler is unfair between threads; inside one process a lock queues them in order.
        self._writer = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read in one short transaction that sees one state of the database."""
        with _begun(self._reader) as tx:
            yield tx

    @contextmanager
    def single(self) -> Iterator[Connection]:
        """Say single statements, each of which sees a state of its own, without a transaction around them."""
        with self._single.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """Write in one transaction, committed at the end of the block and rolled back by any exception in it.

        With `durable=False` the commit doesn't wait for the disk: where the machine (PostgreSQL: its server) dies
        within a second, the newest such transactions may be gone, each of them whole.
        """
        engine = self._durable_writer if durable else self._quick_writer
        if self.is_postgres:
            with _begun(engine) as tx:
                yield tx
                tx.commit()
            return
        with self._writer, engine.connect() as tx, _synchronous(tx, durable), tx.begin():
            yield tx

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


#: How transactions begin: none at all, a read, a write, a write that doesn't wait for the disk.
# SQLite: one that begins as a reader and writes later fails at once when another has committed in between, in spite of
# the busy timeout: writers take their place first.
_SQLITE_BEGIN = ("", "BEGIN", "BEGIN IMMEDIATE", "BEGIN IMMEDIATE")
# PostgreSQL: a reader would see with each statement what was committed meanwhile; and a host that is cut off in the
# middle of a transaction must not keep its locks for longer than this. All in one round trip.
_POSTGRES_WRITE = f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s'"
_POSTGRES_BEGIN = (
    "",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    _POSTGRES_WRITE,
    f"{_POSTGRES_WRITE}; SET LOCAL synchronous_commit = off",
)


@contextmanager
def _begun(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction, on another connection where the first turns out to have been cut: nothing is lost yet."""
    with ExitStack() as stack:
        tx = stack.enter_context(engine.connect())
        try:
            tx.begin()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            tx.close()
            tx = stack.enter_context(engine.connect())
            tx.begin()
        yield tx


@contextmanager
def _synchronous(connection: Connection, durable: bool) -> Iterator[None]:
    """Let SQLite wait for the disk at a commit, or not; it can't be told inside a transaction."""
    if durable:
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        driver.execute("PRAGMA synchronous = FULL")


def open_database(url: str) -> Database:
    """Open `sqlite:///path` or `postgresql://…`; nothing is connected yet."""
    return Database(url)


def run(tx: Connection, sql: str, parameters: Sequence[Any] = ()) -> CursorResult[Any]:
    """Run a statement of the hot path, written with `?` for its parameters, without building it anew each time."""
    return tx.exec_driver_sql(_marked(sql) if tx.dialect.name == "postgresql" else sql, tuple(parameters))


def fetch(tx: Connection, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Return all rows of a query of the hot path, written with `?`, as the driver's own tuples."""
    return fetch_as(tx, tuple, sql, parameters)


def fetch_as(
    tx: Connection, make: Callable[[tuple[Any, ...]], Made], sql: str, parameters: Sequence[Any] = ()
) -> list[Made]:
    """Return what `make` makes of each row of such a query, while they are read: no row is kept beside it."""
    if not tx.in_transaction():
        tx.begin()
    made: list[Made] = (
        _on_driver(tx, lambda driver: _made_by_psycopg(driver, make, _marked(sql), parameters))
        if tx.dialect.name == "postgresql"
        else _on_driver(tx, lambda driver: list(map(make, driver.execute(sql, parameters))))
    )
    return made


def among(tx: Connection, column: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return a condition that `column` is one of `values`, and its parameters."""
    if tx.dialect.name == "postgresql":
        return f"{column} = ANY(?)", [list(values)]
    return f"{column} IN ({', '.join('?' * len(values))})", list(values)


def insert(tx: Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows given as tuples in the table's order of columns, by the quickest way the database has."""
    if not rows:
        return
    if tx.dialect.name == "sqlite":
        _on_driver(tx, lambda driver: driver.executemany(_insertion(table), rows))
    elif len(rows) < _COPY_FROM:
        row = f"({', '.join(['%s'] * len(table.columns))})"
        sql = f"INSERT INTO {table.name} ({_columns(table)}) VALUES {', '.join([row] * len(rows))}"
        _on_driver(tx, lambda driver: driver.execute(sql, [value for row in rows for value in row]))
    else:
        _on_driver(tx, lambda driver: _copy(driver, table, rows))


def upsert(tx: Connection, table: Table, rows: Sequence[Sequence[Any]], changing: tuple[str, ...] = ()) -> None:
    """Insert rows; of those whose primary key is there already, replace the columns `changing`, or all others."""
    if not rows:
        return
    replacement = _replacement(table, changing)
    if tx.dialect.name == "sqlite":
        _on_driver(tx, lambda driver: driver.executemany(_insertion(table) + replacement, rows))
        return
    # One statement of constant text whatever the number of rows, so that it stays prepared.
    columns = [list(column) for column in zip(*rows, strict=True)]
    _on_driver(tx, lambda driver: driver.execute(_array_insertion(table, tx.dialect) + replacement, columns))


def explain(error: DBAPIError) -> str:
    """Say in a sentence what is wrong with the database and what to do; quotes neither statement nor values."""
    text = str(error.orig).lower()
    for sign, advice in _ADVICE:
        if sign in text:
            return advice
    return f"the database refused a statement ({type(error.orig).__name__}): see its log, then run `assent doctor`"


def is_outage(error: DBAPIError) -> bool:
    """Tell a database that is away, locked, full or damaged from one that refuses what it was given."""
    kinds = [kind.__name__ for kind in type(error.orig).__mro__]
    # A driver that can't hand a value over says so by ProgrammingError itself, a server by a kind of it.
    refused = kinds[0] == "ProgrammingError" or not _REFUSALS.isdisjoint(kinds)
    return error.connection_invalidated or not refused


_REFUSALS = frozenset({"DataError", "IntegrityError", "ProgramLimitExceeded"})

_ADVICE = (
    ("readonly", "the database is read-only: make its file and folder writable, or point [database] url elsewhere"),
    ("read-only", "the database is read-only: it may be a standby; point [database] url at the primary"),
    ("disk is full", "the database's disk is full: free some space; nothing that was acknowledged is lost"),
    ("no space left", "the database's disk is full: free some space; nothing that was acknowledged is lost"),
    ("disk i/o error", "the database's disk reports errors or is full: check the disk and free some space"),
    ("is locked", "another process holds the database for long: find it (a backup, a shell), then try again"),
    ("unable to open", "the database file can't be opened: check [database] url, and the rights on its folder"),
    ("no such table", "the database has no tables yet: run `assent db upgrade`"),
    ("does not exist", "the database or its tables aren't there: check [database] url and run `assent db upgrade`"),
    ("password", "the database refuses our password: check [database] url"),
    ("not a database", "the file in [database] url is no SQLite database"),
    ("malformed", "the database file is damaged: restore a backup with `assent db restore`"),
    ("connection", "the database can't be reached: check that it runs, and [database] url"),
    ("terminating", "the database is shutting down: try again when it is back"),
)


def _on_driver(tx: Connection, work: Callable[[Any], Any]) -> Any:
    """Work with the driver's connection inside our transaction: SQLAlchemy's share of a statement is most of it."""
    driver: Any = tx.connection.driver_connection
    dialect = tx.dialect
    base: Any = dialect.loaded_dbapi.Error
    try:
        return work(driver)
    except base as error:
        away = dialect.is_disconnect(error, driver, None)
        if away:
            tx.invalidate(error)
        raise DBAPIError.instance(
            None, None, error, base, hide_parameters=True, connection_invalidated=away, dialect=dialect
        ) from error


def _made_by_psycopg(driver: Any, make: Callable[..., Made], sql: str, parameters: Sequence[Any]) -> list[Made]:
    cursor = driver.cursor(row_factory=lambda _: make)
    # Binary: as text, each byte of a body would travel as two digits.
    made: list[Made] = cursor.execute(sql, parameters, binary=True).fetchall()
    return made


def _copy(driver: Any, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({_columns(table)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


@cache
def _marked(sql: str) -> str:
    return sql.replace("?", "%s")


@cache
def _columns(table: Table) -> str:
    return ", ".join(column.name for column in table.columns)


@cache
def _insertion(table: Table) -> str:
    return f"INSERT INTO {table.name} ({_columns(table)}) VALUES ({', '.join('?' * len(table.columns))})"


@cache
def _array_insertion(table: Table, dialect: Dialect) -> str:
    types = [column.type.compile(dialect=dialect) for column in table.columns]
    arrays = ", ".join(f"%s::{kind}[]" for kind in types)
    return f"INSERT INTO {table.name} ({_columns(table)}) SELECT * FROM unnest({arrays})"


@cache
def _replacement(table: Table, changing: tuple[str, ...]) -> str:
    keys = [column.name for column in table.primary_key.columns]
    named = changing or tuple(column.name for column in table.columns if column.name not in keys)
    sets = ", ".join(f"{name} = excluded.{name}" for name in named)
    return f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sets}"


def _sqlite(url: str) -> Engine:
    if (path := make_url(url).database) and path != ":memory:":
        with suppress(OSError):  # what can't be made is said when it is opened
            # Numbers and texts stand in it: nobody but its owner reads it.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": 20.0, "cached_statements": 256})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -16000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if words := _words_to_begin(connection):
            _on_driver(connection, lambda driver: driver.execute(words))

    return engine


def _postgres(url: str) -> Engine:
    # We say BEGIN ourselves.
    engine = create_engine(
        url, hide_parameters=True, isolation_level="AUTOCOMMIT", pool_size=16, max_overflow=16,
        connect_args={"connect_timeout": 10, "application_name": "assent", **_KEEPALIVE},
    )  # fmt: skip

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if words := _words_to_begin(connection):
            _on_driver(connection, lambda driver: driver.execute(words, prepare=False))

    _ask_those_at_rest(engine)
    return engine


def _ask_those_at_rest(engine: Engine) -> None:
    """Ask a connection of the pool whether it is still there, unless it was at work just now."""
    last_cut = 0.0

    @event.listens_for(engine, "invalidate")
    def _note_cut(_connection: Any, _record: Any, _error: Any) -> None:
        nonlocal last_cut
        last_cut = time.monotonic()  # whatever cut this one may have cut the others

    @event.listens_for(engine, "checkin")
    def _note_rest(_connection: Any, record: Any) -> None:
        record.info["at_rest_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: Any, _proxy: Any) -> None:
        # A cut connection shows itself as an error of the statement at hand; to ask first spares the caller that.
        since = record.info.get("at_rest_since")
        if since is None or since > max(last_cut, time.monotonic() - _TRUSTED_SECONDS):
            return
        try:
            connection.execute(";")
        except connection.Error as error:
            raise InvalidatePoolError from error


def _words_to_begin(connection: Connection) -> str:
    words: str = connection.get_execution_options().get("assent_begin", "BEGIN")
    return words
