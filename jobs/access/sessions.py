"""Sessions: kept in the database, so that they end when we say, not when a cookie does.

The cookie holds 32 random bytes, the database their hash: who reads the table can't sign in with it.
"""

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Connection, Index, LargeBinary, String, Table

from consent.database import Database, insert, metadata, run
from jobs.access.viewer import Role, Viewer, tree_of

session_table = Table(
    "access_session",
    metadata,
    Column("id_hash", LargeBinary, primary_key=True),
    Column("user_id", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Index("access_session_user_ix", "user_id"),
)

#: A session's last use is written down at most this often, so that reading pages is reading.
_SEEN_EVERY = 60 * 1_000_000
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Session:
    """One open session, as lists show it."""

    id: str
    user_id: str
    #: Microseconds since 1970.
    created_at: int
    seen_at: int


def begin_session(tx: Connection, user_id: str, now: int, *, idle: int, absolute: int) -> str:
    """Open a session and return its secret, for the cookie alone; times and limits are in microseconds."""
    secret = secrets.token_urlsafe(32)
    run(tx, "DELETE FROM access_session WHERE seen_at < ? OR created_at < ?", [now - idle, now - absolute])
    insert(tx, session_table, [(hashed(secret), user_id, now, now)])
    return secret


def viewer_of(database: Database, secret: str, now: int, *, idle: int, absolute: int) -> Viewer | None:
    """Return whose session this is while it stands, and note that it was used."""
    id_hash = hashed(secret)
    with database.read() as tx:
        found = run(
            tx,
            """SELECT s.created_at, s.seen_at, u.id, u.name, u.organization, u.roles FROM access_session s
            JOIN access_user u ON u.id = s.user_id WHERE s.id_hash = ? AND u.disabled_at IS NULL""",
            [id_hash],
        ).one_or_none()
        if found is None or now - found.seen_at > idle or now - found.created_at > absolute:
            return None
        tree = tree_of(tx, found.organization)
    if now - found.seen_at > min(_SEEN_EVERY, idle // 10):
        with database.write() as tx:
            run(tx, "UPDATE access_session SET seen_at = ? WHERE id_hash = ?", [now, id_hash])
    roles = frozenset(Role(role) for role in found.roles.split(",") if role)
    return Viewer(tree, found.id, found.name, roles, found.organization, _shown(id_hash))


def end_session(tx: Connection, secret: str) -> str | None:
    """Close a session and return its user's id; None where there was none."""
    row = run(tx, "SELECT user_id FROM access_session WHERE id_hash = ?", [hashed(secret)]).first()
    run(tx, "DELETE FROM access_session WHERE id_hash = ?", [hashed(secret)])
    return None if row is None else str(row.user_id)


def open_sessions(tx: Connection, user_id: str | None = None) -> list[Session]:
    """Return the sessions that weren't ended, of one user or all, the newest first."""
    sql, parameters = "SELECT id_hash, user_id, created_at, seen_at FROM access_session", []
    if user_id is not None:
        sql, parameters = f"{sql} WHERE user_id = ?", [user_id]
    return [
        Session(_shown(row.id_hash), row.user_id, row.created_at, row.seen_at)
        for row in run(tx, f"{sql} ORDER BY created_at DESC, id_hash", parameters)
    ]


def end_sessions(tx: Connection, user_id: str, session: str | None = None) -> int:
    """Close all sessions of a user, or the one of this id, and return how many."""
    rows = run(tx, "SELECT id_hash FROM access_session WHERE user_id = ?", [user_id]).all()
    ended = [row.id_hash for row in rows if session in (None, _shown(row.id_hash))]
    for id_hash in ended:
        run(tx, "DELETE FROM access_session WHERE id_hash = ?", [id_hash])
    return len(ended)


def end_all(tx: Connection) -> None:
    """Close every session, and forget every link and what was revealed."""
    for table in ("access_session", "access_link", "access_reveal"):
        run(tx, f"DELETE FROM {table}")


def hashed(secret: str) -> bytes:
    """Return what is kept of a secret: no salt and no slow hash, it is 32 random bytes already."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _shown(id_hash: bytes) -> str:
    return bytes(id_hash).hex()[:_SHOWN]
