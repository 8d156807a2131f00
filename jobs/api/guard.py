"""What stands in front of every path: the bearer token, and the limit of a request's size."""

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consent.database import DatabaseError, explain
from jobs.access.tokens import Scope as TokenScope
from jobs.api.keys import Keys
from jobs.web.problems import ProblemError, problem

log = structlog.get_logger()

#: Answered to anybody.
OPEN = frozenset({"/livez", "/readyz"})
#: Guarded by themselves: the portal by sessions and signatures, providers' webhooks by their signatures.
_PORTAL, _WEBHOOKS = "/portal", "/webhooks"
#: Paths that aren't routes of ours to mark: what a token needs for them.
_NEEDS = {"/metrics": TokenScope.METRICS}


class TooLargeError(Exception):
    """A request's body is larger than it may be."""


class Guard:
    """ASGI middleware: 401 without a token for all but what is open or guarded by itself, 413 for too large a body."""

    def __init__(self, app: ASGIApp, *, keys: Keys, max_body_bytes: int) -> None:
        self._app, self._keys, self._limit = app, keys, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path in OPEN or _below(path, _PORTAL):
            await self._app(scope, receive, send)
            return
        try:
            if not _below(path, _WEBHOOKS):
                await self._identify(scope)
            self._check_length(scope)
        except ProblemError as refusal:
            await problem(refusal)(scope, receive, send)
            return
        try:
            await self._app(scope, self._limited(receive), send)
        except ClientDisconnect:  # in the middle of a body: nothing was taken, and nobody is there to be told
            log.info("request.cut")

    async def _identify(self, scope: Scope) -> None:
        bearer = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, given = bearer.partition(b" ")
        grant = None
        if scheme.lower() == b"bearer":
            try:
                grant = await self._keys.grant(given.strip().decode("latin-1"))
            except (DBAPIError, DatabaseError, PoolTimeoutError) as error:
                advice = explain(error) if isinstance(error, DBAPIError) else "the database is busy: try again"
                log.warning("request.database_away", advice=advice)
                raise ProblemError(503, "unavailable", advice, headers={"retry-after": "5"}) from error
        if grant is None:
            detail = "Send a token as `Authorization: Bearer …`: that of `assent init`, or of `assent token create`."
            raise ProblemError(401, "unauthorized", detail, headers={"www-authenticate": "Bearer"})
        needed = _NEEDS.get(scope["path"])
        if needed is not None and not grant.allows(needed):
            raise ProblemError(403, "missing_scope", f"This token lacks the scope {needed.value}.")
        scope.setdefault("state", {})["grant"] = grant

    def _check_length(self, scope: Scope) -> None:
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if length.isdigit() and int(length) > self._limit:
            raise ProblemError(413, "too_large", f"A request has at most {self._limit:,} bytes.")

    def _limited(self, receive: Receive) -> Receive:
        # Without a content-length the size shows only while reading.
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise TooLargeError
            return message

        return counted


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")
