"""One-time links: to make the first user, to choose a password, to sign in once without one."""

import secrets
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, String, Table

from consent.database import insert, metadata, run
from jobs.access.sessions import hashed

link_table = Table(
    "access_link",
    metadata,
    Column("key_hash", LargeBinary, primary_key=True),
    Column("purpose", String(16), nullable=False),
    Column("user_id", String(32), nullable=True),
    Column("expires_at", BigInteger, nullable=False),
)


class Purpose(StrEnum):
    """What a link is for."""

    FIRST = "first"  # make the first user; holds while there is none
    PASSWORD = "password"  # noqa: S105 (its owner chooses one)
    SIGN_IN = "sign_in"  # opens a session


@dataclass(frozen=True, slots=True)
class Link:
    """A link that still holds."""

    purpose: Purpose
    user_id: str | None


def make_link(tx: Connection, purpose: Purpose, user_id: str | None, now: int, *, seconds: int) -> str:
    """Return the key of a new link, which replaces earlier ones of the same purpose and user."""
    run(tx, "DELETE FROM access_link WHERE expires_at < ?", [now])
    same = "user_id IS NULL" if user_id is None else "user_id = ?"
    run(tx, f"DELETE FROM access_link WHERE purpose = ? AND {same}", [purpose, *([] if user_id is None else [user_id])])
    key = secrets.token_urlsafe(32)
    insert(tx, link_table, [(hashed(key), purpose.value, user_id, now + seconds * 1_000_000)])
    return key


def read_link(tx: Connection, key: str, now: int) -> Link | None:
    """Return what a link is for, while it holds. Looking at it doesn't use it up: mail programs open links too."""
    sql = "SELECT purpose, user_id FROM access_link WHERE key_hash = ? AND expires_at >= ?"
    row = run(tx, sql, [hashed(key), now]).first()
    return None if row is None else Link(Purpose(row.purpose), row.user_id)


def take_link(tx: Connection, key: str, purpose: Purpose, now: int) -> Link | None:
    """Use a link of this purpose up: of two that try at once one gets it."""
    found = read_link(tx, key, now)
    taken = run(tx, "DELETE FROM access_link WHERE key_hash = ? AND purpose = ?", [hashed(key), purpose]).rowcount
    return found if taken else None
