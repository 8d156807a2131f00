"""API tokens: random, kept as hashes, with scopes, an end, and one organization's tree or all."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Index, LargeBinary, String, Table

from consent.database import PERSONAL, insert, metadata, run
from jobs.access.notes import note_setting
from jobs.access.sessions import hashed
from jobs.access.viewer import Sight, require_organization, tree_of

token_table = Table(
    "access_token",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key_hash", LargeBinary, nullable=False),
    Column("name", String(200), nullable=False, info=PERSONAL),
    #: Whose tree it reaches; null reaches all.
    Column("organization", String(32), nullable=True),
    Column("scopes", String(400), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=True),
    Column("revoked_at", BigInteger, nullable=True),
    #: To the hour: reading must stay reading.
    Column("used_at", BigInteger, nullable=True),
    Index("access_token_key_ix", "key_hash", unique=True),
)

_COLUMNS = "id, name, organization, scopes, created_at, expires_at, revoked_at, used_at"
_USED_EVERY = 3_600 * 1_000_000


class Scope(StrEnum):
    """What a token may do."""

    MESSAGES = "messages"  # hand over texts and events, ask the gate
    CONSENT_READ = "consent.read"
    CONSENT_IMPORT = "consent.import"
    ENTRIES_READ = "entries.read"  # the ledger, proofs
    REVIEWS_READ = "reviews.read"
    REVIEWS_CLOSE = "reviews.close"
    ORGANIZATIONS_READ = "organizations.read"
    ORGANIZATIONS_WRITE = "organizations.write"
    DESTINATIONS_READ = "destinations.read"
    DESTINATIONS_OPERATE = "destinations.operate"  # pause, resume, resync
    METRICS = "metrics"


class TokenError(Exception):
    """A change that can't be made as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Grant(Sight):
    """What the holder of a token may do, as of this request."""

    #: Opaque, and what stands in entries as `actor`.
    id: str = ""
    scopes: frozenset[Scope] = frozenset()
    #: Whose tree it reaches; None reaches all.
    organization: str | None = None

    def allows(self, scope: Scope) -> bool:
        """Say whether it has a scope."""
        return scope in self.scopes


@dataclass(frozen=True, slots=True)
class Token:
    """One token, as lists show it."""

    id: str
    name: str = field(repr=False)
    organization: str | None
    scopes: frozenset[Scope]
    #: Microseconds since 1970.
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    used_at: int | None


def create_token(
    tx: Connection, name: str, scopes: Iterable[Scope], *, organization: str | None, expires_at: int | None,
    actor: str, now: int,
) -> tuple[Token, str]:  # fmt: skip
    """Make a token and return it with its secret, which is told this once."""
    name, granted = name.strip(), frozenset(Scope(scope) for scope in scopes)
    if not 1 <= len(name) <= 200:
        raise TokenError("a token's name is 1 to 200 characters: say what it is for")
    if not granted:
        raise TokenError(f"a token has at least one scope of {', '.join(Scope)}")
    if expires_at is not None and expires_at <= now:
        raise TokenError("a token's end is in the future")
    require_organization(tx, organization)
    made, secret = f"tok-{secrets.token_hex(6)}", f"assent_{secrets.token_urlsafe(32)}"
    row = (made, hashed(secret), name, organization, ",".join(sorted(granted)), now, expires_at, None, None)
    insert(tx, token_table, [row])
    facts = {"id": made, "scopes": sorted(granted), "of": organization}
    note_setting(tx, "token", actor=actor, organization=organization, now=now, facts=facts, values={"name": name})
    return token(tx, made), secret


def revoke_token(tx: Connection, token_id: str, *, actor: str, now: int) -> Token:
    """End a token; it is refused from the next request on."""
    one = token(tx, token_id)
    if one.revoked_at is None:
        run(tx, "UPDATE access_token SET revoked_at = ? WHERE id = ?", [now, token_id])
        facts = {"id": token_id, "revoked": True}
        note_setting(tx, "token", actor=actor, organization=one.organization, now=now, facts=facts)
    return token(tx, token_id)


def grant_of(tx: Connection, key_hash: bytes, now: int) -> tuple[Grant, bool] | None:
    """Return what a token grants, by the hash of its secret, and whether its last use is to be noted anew."""
    sql = f"SELECT {_COLUMNS} FROM access_token WHERE key_hash = ? AND revoked_at IS NULL"
    row = run(tx, sql, [key_hash]).first()
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        return None
    grant = Grant(tree_of(tx, row.organization), row.id, _scopes(row.scopes), row.organization)
    return grant, row.used_at is None or now - row.used_at > _USED_EVERY


def note_use(tx: Connection, token_ids: Iterable[str], now: int) -> None:
    """Note that tokens were used."""
    for token_id in token_ids:
        run(tx, "UPDATE access_token SET used_at = ? WHERE id = ?", [now, token_id])


def token(tx: Connection, token_id: str) -> Token:
    """Return one token; TokenError where there is none."""
    row = run(tx, f"SELECT {_COLUMNS} FROM access_token WHERE id = ?", [token_id]).first()
    if row is None:
        raise TokenError("there is no token of this id: see `assent token list`")
    return _token(row)


def tokens(
    tx: Connection, *, organization: str | None = None, after: str = "", limit: int = 1_000
) -> Sequence[Token]:  # fmt: skip
    """Return tokens by id, ended ones too, from the one behind `after` on; of one organization, or all.

    Raises SettingError where there is no such organization.
    """
    require_organization(tx, organization)
    only, given = ("", []) if organization is None else ("AND organization = ?", [organization])
    sql = f"SELECT {_COLUMNS} FROM access_token WHERE id > ? {only} ORDER BY id LIMIT ?"
    return [_token(row) for row in run(tx, sql, [after, *given, limit])]


def _scopes(written: str) -> frozenset[Scope]:
    return frozenset(Scope(scope) for scope in written.split(",") if scope)


def _token(row: Any) -> Token:
    return Token(
        row.id, row.name, row.organization, _scopes(row.scopes), row.created_at, row.expires_at, row.revoked_at,
        row.used_at,
    )  # fmt: skip
