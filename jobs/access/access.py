"""The door of the portal: signing in and out, who somebody is, and what they were shown in the clear."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import BigInteger, Column, LargeBinary, String, Table

from consent.database import Database, metadata, run, upsert
from consent.entry import Entry
from jobs.access import passwords, sessions, users
from jobs.access.links import Link, Purpose, make_link, read_link, take_link
from jobs.access.notes import note_access
from jobs.access.viewer import Role, Viewer

log = structlog.get_logger()

reveal_table = Table(
    "access_reveal",
    metadata,
    Column("session", String(32), primary_key=True),
    Column("organization", String(32), primary_key=True),
    #: The hash of what was revealed, a conversation's id or a number.
    Column("subject", LargeBinary, primary_key=True),
    Column("until", BigInteger, nullable=False),
)

_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often; from `[auth]` of the settings."""

    idle_minutes: float = 30.0
    session_hours: float = 12.0
    #: Wrong passwords in a row that lock an account, and for how long.
    lock_after: int = 5
    lock_minutes: float = 15.0
    #: How long a number stays in the clear after somebody gave a reason.
    reveal_minutes: float = 15.0

    @property
    def idle(self) -> int:
        """In microseconds."""
        return round(self.idle_minutes * 60 * _MICROS)

    @property
    def absolute(self) -> int:
        """In microseconds."""
        return round(self.session_hours * 3600 * _MICROS)


class Access:
    """Lets people in, knows them again, and writes down what they do; one for a process."""

    def __init__(
        self, database: Database, limits: Limits | None = None, clock: Callable[[], int] | None = None
    ) -> None:
        self.database, self.limits = database, limits or Limits()
        #: Gives microseconds since 1970.
        self.clock = clock or (lambda: time.time_ns() // 1_000)

    def viewer(self, secret: str | None) -> Viewer | None:
        """Return whose session a cookie's secret is, None where it is nobody's or is over."""
        if not secret:
            return None
        limits = self.limits
        return sessions.viewer_of(self.database, secret, self.clock(), idle=limits.idle, absolute=limits.absolute)

    def sign_in(self, login: str, password: str) -> str | None:
        """Return the secret of a new session; None where login and password don't fit, or the account is locked."""
        now, kept, user = self.clock(), None, None
        try:
            name = users.normal_login(login)
        except users.UserError:
            name = None
        if name is not None:
            user, kept = self._attempt(name, now)
        if not passwords.fits(kept, password) or user is None or kept is None:
            self._refused(user, now)
            return None
        anew = passwords.hash_password(password) if passwords.is_outdated(kept) else kept
        with self.database.write() as tx:
            run(
                tx,
                "UPDATE access_user SET failures = 0, locked_until = 0, password = ? WHERE id = ? AND password = ?",
                [anew, user.id, kept],
            )
        return self._begin(user, {"by": "password"})

    def sign_out(self, secret: str) -> None:
        """End a session; nothing happens where there is none."""
        now = self.clock()
        with self.database.write() as tx:
            ended = sessions.end_session(tx, secret)
            if ended is not None:
                one = users.user_of_id(tx, ended)
                note_access(tx, "sign_out", actor=one.id, organization=one.organization, now=now)

    def link(self, key: str) -> tuple[Link, users.User | None] | None:
        """Return what a one-time link is for and whom, while it holds."""
        with self.database.read() as tx:
            found = read_link(tx, key, self.clock())
            if found is None or (found.purpose is Purpose.FIRST and users.has_users(tx)):
                return None
            return found, None if found.user_id is None else users.user_of_id(tx, found.user_id)

    def first_link(self) -> str | None:
        """Return the key of a link to make the first user; None where there are users."""
        with self.database.write() as tx:
            if users.has_users(tx):
                return None
            return make_link(tx, Purpose.FIRST, None, self.clock(), seconds=24 * 3600)

    def enter_first(self, key: str, login: str, name: str, password: str) -> str | None:
        """Make the first user, with every role and sight of all, and sign them in; None where the link is over."""
        passwords.check_password(password, login, name)
        hashed = passwords.hash_password(password)
        now = self.clock()
        with self.database.write() as tx:
            if users.has_users(tx) or take_link(tx, key, Purpose.FIRST, now) is None:
                return None
            made = users.create_user(tx, login, name, Role, organization=None, actor="first-link", now=now)
            users.store_password(tx, made.id, hashed, actor=made.id, now=now)
        return self._begin(made, {"by": "link"})

    def enter_with_password(self, key: str, password: str) -> str | None:
        """Let the owner of a link choose a password, and sign them in; None where the link is over."""
        found = self.link(key)
        if found is None or found[1] is None:
            return None
        passwords.check_password(password, found[1].login, found[1].name)
        hashed = passwords.hash_password(password)
        return self._enter(key, Purpose.PASSWORD, hashed)

    def enter(self, key: str) -> str | None:
        """Sign the owner of a link in; None where it is over."""
        return self._enter(key, Purpose.SIGN_IN, None)

    def note(
        self, viewer: Viewer, operation: str, *, organization: str | None,
        facts: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None,
    ) -> Entry:  # fmt: skip
        """Record what a viewer did (`download`, …), before it is done: of what was taken no trace may be missing."""
        with self.database.write() as tx:
            return note_access(
                tx, operation, actor=viewer.id, organization=organization, now=self.clock(), facts=facts, values=values
            )

    def reveal(self, viewer: Viewer, organization: str, subject: str, reason: str, **facts: str) -> Entry:
        """Show a viewer the numbers of a subject (a conversation's id) for some minutes, for a reason, and record it.

        `facts` go into the entry's body: name the conversation or the entry, never a number.
        """
        now = self.clock()
        until = now + round(self.limits.reveal_minutes * 60 * _MICROS)
        with self.database.write() as tx:
            run(tx, "DELETE FROM access_reveal WHERE until < ?", [now])
            upsert(tx, reveal_table, [(viewer.session, organization, sessions.hashed(subject), until)])
            return note_access(
                tx, "reveal", actor=viewer.id, organization=organization, now=now, facts=facts,
                values={"note": reason},
            )  # fmt: skip

    def revealed(self, viewer: Viewer, organization: str, subjects: Iterable[str]) -> frozenset[str]:
        """Return those of the subjects that this session may see in the clear now."""
        with self.database.read() as tx:
            rows = run(
                tx,
                "SELECT subject FROM access_reveal WHERE session = ? AND organization = ? AND until >= ?",
                [viewer.session, organization, self.clock()],
            )
            shown = {bytes(row.subject) for row in rows}
        return frozenset(subject for subject in subjects if sessions.hashed(subject) in shown)

    def _attempt(self, login: str, now: int) -> tuple[users.User | None, str | None]:
        """Count an attempt before it is made, so that many at once don't get more of them."""
        limits = self.limits
        with self.database.write() as tx:
            user = users.find_user(tx, login)
            if user is None or user.disabled_at is not None:
                return None, None
            row = run(tx, "SELECT failures, password FROM access_user WHERE id = ?", [user.id]).one()
            if user.locked_until > now:
                return user, None
            # A lock that is over gives one more attempt, and then locks again.
            failures = row.failures + 1
            lock = now + round(limits.lock_minutes * 60 * _MICROS) if failures >= limits.lock_after else 0
            sql = "UPDATE access_user SET failures = ?, locked_until = ? WHERE id = ? AND failures = ?"
            counted = run(tx, sql, [failures, lock, user.id, row.failures]).rowcount
            return user, row.password if counted else None

    def _refused(self, user: users.User | None, now: int) -> None:
        log.warning("sign_in.refused", user=user.id if user else None)
        if user is None:
            return
        with self.database.write() as tx:
            after = users.user_of_id(tx, user.id)
            # Once a lock: whoever guesses on must not fill the ledger.
            if after.locked_until > now and user.locked_until <= now:
                note_access(tx, "locked", actor=user.id, organization=user.organization, now=now)

    def _enter(self, key: str, purpose: Purpose, hashed: str | None) -> str | None:
        now = self.clock()
        with self.database.write() as tx:
            link = take_link(tx, key, purpose, now)
            if link is None or link.user_id is None:
                return None
            user = users.user_of_id(tx, link.user_id)
            if user.disabled_at is not None:
                return None
            if hashed is not None:
                users.store_password(tx, user.id, hashed, actor=user.id, now=now)
        return self._begin(user, {"by": "link"})

    def _begin(self, user: users.User, facts: Mapping[str, Any]) -> str:
        now, limits = self.clock(), self.limits
        with self.database.write() as tx:
            secret = sessions.begin_session(tx, user.id, now, idle=limits.idle, absolute=limits.absolute)
            note_access(tx, "sign_in", actor=user.id, organization=user.organization, now=now, facts=facts)
        log.info("sign_in.accepted", user=user.id)
        return secret
