"""Bring the portal's tables to this version, and say which version they have.

They have migrations and a version table of their own: the portal may have its own database.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from consent.database import Database

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

VERSION_TABLE = "portal_alembic_version"

#: Held on PostgreSQL while migrating, so that two processes starting at once don't both create the tables.
_LOCK = 0x41535345_504F5254


def upgrade(database: Database) -> None:
    """Run the migrations that are missing, all in one transaction; safe to repeat, at once too."""
    from alembic import command

    with database.write() as tx:
        if database.is_postgres:
            tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        command.upgrade(_config(tx), "head")


def current(database: Database) -> str | None:
    """Return the version that the database has, None where the portal was never set up in it."""
    from alembic.runtime.migration import MigrationContext

    with database.read() as tx:
        return MigrationContext.configure(tx, opts={"version_table": VERSION_TABLE}).get_current_revision()


def newest() -> str | None:
    """Return the version that this program needs."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config(None)).get_current_head()


def _config(tx: "Connection | None") -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = tx
    return config
