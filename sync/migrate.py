"""Bring a database to this program's schema, and say which schema it has."""

import secrets
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, LargeBinary, String, Table

from consent.database import Database, metadata, run
from consent.kinds import SYSTEM
from consent.ledger import create_ledger

secret_table = Table(
    "secret",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)


#: Programs that need this revision, or a later one, work on today's schema too: hosts are exchanged one by one. Raise
#: it with a migration that takes away what the release before still uses.
OLDEST = "0003"


class SchemaError(Exception):
    """The database's schema is not this program's."""


def upgrade(database: Database) -> None:
    """Run the migrations that are missing, and give a new database its key and its system ledger."""
    with database.write() as tx:
        if database.is_postgres:  # of two that upgrade at once the second finds it done
            run(tx, "SELECT pg_advisory_xact_lock(7281001)")
        command.upgrade(migrations(tx), "head")
        run(tx, "INSERT INTO secret (name, value) VALUES ('tags', ?) ON CONFLICT DO NOTHING", [secrets.token_bytes(32)])
        run(
            tx,
            "INSERT INTO secret (name, value) VALUES ('oldest', ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [OLDEST.encode()],
        )
        create_ledger(tx, SYSTEM)


def current(database: Database) -> str | None:
    """Return the schema's revision, None for an empty database."""
    with database.read() as tx:
        return MigrationContext.configure(tx).get_current_revision()


def newest() -> str:
    """Return the revision that this program needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise SchemaError("this installation has no migrations: install it again")
    return head


def require(database: Database) -> None:
    """Raise SchemaError unless the database has this program's schema, or a newer one that still serves it."""
    have, need = current(database), newest()
    if have != need and not (have is not None and have > need and _serves(database, need)):
        state = "has no tables yet" if have is None else f"is at {have}, this program needs {need}"
        raise SchemaError(f"the database {state}: run `assent db upgrade`")


def migrations(tx: Connection) -> Config:
    """Return what Alembic's commands need to work in this transaction."""
    config = _config()
    config.attributes["connection"] = tx
    return config


def tag_key(tx: Connection) -> bytes:
    """Return the key that this database's tags are made with."""
    return bytes(run(tx, "SELECT value FROM secret WHERE name = 'tags'").scalar_one())


def _serves(database: Database, revision: str) -> bool:
    with database.read() as tx:
        row = run(tx, "SELECT value FROM secret WHERE name = 'oldest'").first()
    return row is not None and bytes(row.value).decode() <= revision


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
