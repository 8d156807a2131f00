"""Sign-ins to the portal's pages: kept in the database, so that they end when we say, not when a cookie does.

The cookie holds a random id, the database its hash: who reads the table can't sign in with it.
"""

import hashlib
import secrets

from sqlalchemy import BigInteger, Column, LargeBinary, Table

from connectors.portal.store import metadata
from consent.database import Database, run

#: Microseconds without a page, and since sign-in, after which a session is over.
IDLE_LIMIT = 30 * 60 * 1_000_000
ABSOLUTE_LIMIT = 12 * 60 * 60 * 1_000_000

#: A session's last use is written down at most this often, so that reading pages is reading.
_SEEN_EVERY = 60 * 1_000_000

session_table = Table(
    "portal_session",
    metadata,
    Column("id_hash", LargeBinary, primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)


def begin_session(database: Database, now: int) -> str:
    """Open a session and return its id, for the cookie alone; times are in microseconds since 1970."""
    session_id = secrets.token_urlsafe(32)
    with database.write() as tx:
        run(
            tx,
            "DELETE FROM portal_session WHERE seen_at < ? OR created_at < ?",
            (now - IDLE_LIMIT, now - ABSOLUTE_LIMIT),
        )
        run(
            tx,
            "INSERT INTO portal_session (id_hash, created_at, seen_at) VALUES (?, ?, ?)",
            (_hash(session_id), now, now),
        )
    return session_id


def is_live(database: Database, session_id: str, now: int) -> bool:
    """Say whether a session still stands, and note that it was used."""
    with database.read() as tx:
        found = run(
            tx, "SELECT created_at, seen_at FROM portal_session WHERE id_hash = ?", (_hash(session_id),)
        ).one_or_none()
    if found is None or now - found.seen_at > IDLE_LIMIT or now - found.created_at > ABSOLUTE_LIMIT:
        return False
    if now - found.seen_at > _SEEN_EVERY:
        with database.write() as tx:
            run(tx, "UPDATE portal_session SET seen_at = ? WHERE id_hash = ?", (now, _hash(session_id)))
    return True


def end_session(database: Database, session_id: str) -> None:
    """Close a session; nothing happens where there is none."""
    with database.write() as tx:
        run(tx, "DELETE FROM portal_session WHERE id_hash = ?", (_hash(session_id),))


def _hash(session_id: str) -> bytes:
    # No salt and no slow hash: the id is 32 random bytes already.
    return hashlib.sha256(session_id.encode()).digest()
