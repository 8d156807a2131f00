"""Users: local accounts with roles, kept in the main database, every change of them an entry."""

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Integer, String, Table, UniqueConstraint

from consent.database import PERSONAL, among, insert, metadata, run
from jobs.access.notes import note_setting
from jobs.access.viewer import Role, require_organization

user_table = Table(
    "access_user",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("login", String(200), nullable=False, info=PERSONAL),
    Column("name", String(400), nullable=False, info=PERSONAL),
    #: Whose tree they see; null sees all.
    Column("organization", String(32), nullable=True),
    Column("roles", String(100), nullable=False),
    #: As argon2id writes it; null until its owner chose one.
    Column("password", String(200), nullable=True),
    Column("failures", Integer, nullable=False),
    Column("locked_until", BigInteger, nullable=False),
    Column("disabled_at", BigInteger, nullable=True),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("login"),
)

_LOGIN = re.compile(r"[^\s\x00-\x1f<>\"']{2,200}")
_COLUMNS = "id, login, name, organization, roles, password, failures, locked_until, disabled_at, created_at"


class UserError(Exception):
    """A change that can't be made as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class User:
    """One account."""

    id: str
    login: str = field(repr=False)
    name: str = field(repr=False)
    organization: str | None
    roles: frozenset[Role]
    has_password: bool
    #: Microseconds since 1970.
    locked_until: int
    disabled_at: int | None
    created_at: int


def create_user(
    tx: Connection, login: str, name: str, roles: Iterable[Role], *, organization: str | None, actor: str, now: int
) -> User:
    """Make an account; it has no password yet."""
    login, name = normal_login(login), name.strip()
    if not 1 <= len(name) <= 400:
        raise UserError("a user's name is 1 to 400 characters")
    granted = _granted(roles)
    require_organization(tx, organization)
    if find_user(tx, login) is not None:
        raise UserError("there is a user of this login already: `assent user set` changes one")
    made = f"usr-{secrets.token_hex(6)}"
    insert(tx, user_table, [(made, login, name, organization, _written(granted), None, 0, 0, None, now)])
    facts = {"id": made, "roles": sorted(granted), "of": organization}
    note_setting(tx, "user", actor=actor, organization=organization, now=now, facts=facts,
                 values={"login": login, "name": name})  # fmt: skip
    return user(tx, login)


def change_user(
    tx: Connection, login: str, *, actor: str, now: int, name: str | None = None, roles: Iterable[Role] | None = None,
    organization: str | None = None, sees_all: bool = False, disabled: bool | None = None,
) -> User:  # fmt: skip
    """Change what is given of an account; sessions that are open have it at their next request."""
    one = user(tx, login)
    changes: dict[str, Any] = {}
    if roles is not None:
        changes["roles"] = _written(_granted(roles))
    if name is not None:
        if not 1 <= len(name.strip()) <= 400:
            raise UserError("a user's name is 1 to 400 characters")
        changes["name"] = name.strip()
    if organization is not None or sees_all:
        require_organization(tx, organization)
        changes["organization"] = organization
    if disabled is not None:
        changes["disabled_at"] = (one.disabled_at or now) if disabled else None
    if not changes:
        return one
    sets = ", ".join(f"{column} = ?" for column in changes)
    run(tx, f"UPDATE access_user SET {sets} WHERE id = ?", [*changes.values(), one.id])
    if disabled:
        run(tx, "DELETE FROM access_session WHERE user_id = ?", [one.id])
        run(tx, "DELETE FROM access_link WHERE user_id = ?", [one.id])
    after = user(tx, login)
    facts = {"id": one.id, "before": _told(one), "after": _told(after)}
    values = {} if name is None else {"name": after.name, "name_before": one.name}
    note_setting(tx, "user", actor=actor, organization=after.organization, now=now, facts=facts, values=values)
    return after


def store_password(tx: Connection, user_id: str, hashed: str, *, actor: str, now: int) -> None:
    """Keep a password that was hashed before, lift a lock, and end the sessions that the old one opened."""
    one = user_of_id(tx, user_id)
    run(
        tx,
        "UPDATE access_user SET password = ?, failures = 0, locked_until = 0 WHERE id = ?",
        [hashed, user_id],
    )
    run(tx, "DELETE FROM access_session WHERE user_id = ?", [user_id])
    run(tx, "DELETE FROM access_link WHERE user_id = ?", [user_id])
    note_setting(tx, "password", actor=actor, organization=one.organization, now=now, facts={"id": user_id})


def user(tx: Connection, login: str) -> User:
    """Return an account; UserError where there is none."""
    found = find_user(tx, normal_login(login))
    if found is None:
        raise UserError("there is no user of this login: see `assent user list`")
    return found


def find_user(tx: Connection, login: str) -> User | None:
    """Return an account by its login, or None."""
    row = run(tx, f"SELECT {_COLUMNS} FROM access_user WHERE login = ?", [login]).first()
    return None if row is None else _user(row)


def user_of_id(tx: Connection, user_id: str) -> User:
    """Return an account by its id; UserError where there is none."""
    row = run(tx, f"SELECT {_COLUMNS} FROM access_user WHERE id = ?", [user_id]).first()
    if row is None:
        raise UserError("there is no such user any more")
    return _user(row)


def users(
    tx: Connection, *, organization: str | None = None, after: str = "", limit: int = 1_000
) -> Sequence[User]:  # fmt: skip
    """Return accounts by login, from the one behind `after` on; of one organization, or all.

    Raises SettingError where there is no such organization.
    """
    require_organization(tx, organization)
    only, given = ("", []) if organization is None else ("AND organization = ?", [organization])
    sql = f"SELECT {_COLUMNS} FROM access_user WHERE login > ? {only} ORDER BY login LIMIT ?"
    return [_user(row) for row in run(tx, sql, [after, *given, limit])]


def has_users(tx: Connection) -> bool:
    """Say whether there is any account."""
    return run(tx, "SELECT 1 FROM access_user LIMIT 1").first() is not None


def normal_login(login: str) -> str:
    """Return a login as it is kept: without regard to capitals."""
    given = login.strip().casefold()
    if not _LOGIN.fullmatch(given):
        raise UserError("a login is 2 to 200 characters without blanks, as ann@bank.example")
    return given


def _granted(roles: Iterable[Role]) -> frozenset[Role]:
    granted = frozenset(Role(role) for role in roles)
    if not granted:
        raise UserError(f"a user has at least one role of {', '.join(Role)}")
    return granted


def _written(roles: frozenset[Role]) -> str:
    return ",".join(sorted(roles))


def _told(one: User) -> dict[str, Any]:
    return {"roles": sorted(one.roles), "of": one.organization, "disabled": one.disabled_at is not None}


def _user(row: Any) -> User:
    roles = frozenset(Role(role) for role in row.roles.split(",") if role)
    return User(
        row.id, row.login, row.name, row.organization, roles, row.password is not None, row.locked_until,
        row.disabled_at, row.created_at,
    )  # fmt: skip


def names_of(tx: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Return the names of users by their ids; ids of tokens and of command lines have none."""
    wanted = sorted({one for one in ids if one.startswith("usr-")})
    if not wanted:
        return {}
    condition, parameters = among(tx, "id", wanted)
    return {row.id: row.name for row in run(tx, f"SELECT id, name FROM access_user WHERE {condition}", parameters)}
