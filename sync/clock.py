"""The database's clock: what leases and due times are measured on, so that hosts need not agree on the time."""

from sqlalchemy import Connection

from consent.database import run

_SQLITE = "(CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) * 1000)"
_POSTGRES = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


def clock(tx: Connection) -> str:
    """Return the SQL expression of the time now, in microseconds since 1970."""
    return _POSTGRES if tx.dialect.name == "postgresql" else _SQLITE


def database_now(tx: Connection) -> int:
    """Return the database's time, in microseconds since 1970."""
    return int(run(tx, f"SELECT {clock(tx)}").scalar_one())
