"""Whom a bearer token belongs to, and what it may do: the one that `init` made, or one of `assent token create`."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from consent.database import Database
from jobs.access.sessions import hashed
from jobs.access.tokens import Grant, Scope, grant_of, note_use
from jobs.web.problems import ProblemError

#: Who acts with the token that `init` made.
SERVER_ACTOR = "api"

_SERVER = Grant(None, SERVER_ACTOR, frozenset(Scope))


class Token:
    """The server's own token, which may do all; only its hash is kept."""

    def __init__(self, token: str) -> None:
        self._hash = hashlib.sha256(token.encode()).digest()

    def matches(self, given: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), self._hash)


class Keys:
    """Looks tokens up: each request's anew, so that a revoked one is refused at once.

    Those that come while a look-up is under way share the next one: a thousand requests a second cost a few hundred
    reads, and none is answered from what was read before it came.
    """

    def __init__(self, database: Database, server: Token | None, clock: Callable[[], int]) -> None:
        self._database, self._server, self._clock = database, server, clock
        self._waiting: dict[bytes, asyncio.Future[Grant | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def grant(self, given: str) -> Grant | None:
        """Return what a token grants, None where it is none of ours, is over or was revoked."""
        if self._server is not None and self._server.matches(given):
            return _SERVER
        if not given.startswith("assent_"):
            return None
        loop = asyncio.get_running_loop()
        answer = self._waiting.setdefault(hashed(given), loop.create_future())
        if self._reading is None:
            self._reading = loop.create_task(self._read_all())
        # Shielded: others may wait for the same answer.
        return await asyncio.shield(answer)

    async def _read_all(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, {}
            try:
                found = await run_in_threadpool(self._read, list(asked))
            except Exception as error:
                for answer in asked.values():
                    answer.set_exception(error)
                    answer.exception()  # whoever waits may be gone by now
                continue
            for key_hash, answer in asked.items():
                answer.set_result(found[key_hash])
        self._reading = None

    def _read(self, asked: Sequence[bytes]) -> Mapping[bytes, Grant | None]:
        now = self._clock()
        with self._database.read() as tx:
            found = {key_hash: grant_of(tx, key_hash, now) for key_hash in asked}
        fresh = [grant.id for grant, anew in filter(None, found.values()) if anew]
        if fresh:
            with self._database.write() as tx:
                note_use(tx, fresh, now)
        return {key_hash: told and told[0] for key_hash, told in found.items()}


def grant_in(request: Request) -> Grant:
    """Return what the request's token grants; the guard put it there."""
    found: Grant = request.state.grant
    return found


def needs(scope: Scope) -> Callable[[Request], Grant]:
    """Return the dependency of a route that a token needs a scope for."""

    def granted(request: Request) -> Grant:
        return require(request, scope)

    return granted


def require(request: Request, scope: Scope) -> Grant:
    """Return the request's grant; ProblemError 403 where it lacks the scope."""
    found = grant_in(request)
    if not found.allows(scope):
        raise ProblemError(403, "missing_scope", f"This token lacks the scope {scope.value}: `assent token create`.")
    return found


def require_sight(grant: Grant, organization: str, sub_organization: str | None = None) -> None:
    """Answer for an organization outside a token's tree as if there were none of its name."""
    if not grant.sees(organization, sub_organization):
        raise ProblemError(404, "unknown_organization", "There is no organization of this id.")
