"""What stands in front of `/v1/…`: the bearer token, and the limit of a request's size."""

import hashlib
import hmac

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.web.problems import ProblemError, problem

_PROTECTED = "/v1/"


class Token:
    """The one token that callers send; only its hash is kept."""

    def __init__(self, token: str) -> None:
        self._hash = hashlib.sha256(token.encode()).digest()

    def matches(self, given: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), self._hash)


class TooLargeError(Exception):
    """A request's body is larger than it may be."""


class Guard:
    """ASGI middleware: 401 without the token, 413 for a body over the limit. Other paths pass through."""

    def __init__(self, app: ASGIApp, *, token: Token, max_body_bytes: int) -> None:
        self._app, self._token, self._limit = app, token, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith(_PROTECTED):
            await self._app(scope, receive, send)
            return
        refusal = self._refuse(scope)
        if refusal is not None:
            await problem(refusal)(scope, receive, send)
            return
        await self._app(scope, self._limited(receive), send)

    def _refuse(self, scope: Scope) -> ProblemError | None:
        bearer, length = b"", b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                bearer = value
            elif name == b"content-length":
                length = value
        scheme, _, given = bearer.partition(b" ")
        if scheme.lower() != b"bearer" or not self._token.matches(given.strip().decode("latin-1")):
            detail = "Send the token that `assent init` made, as `Authorization: Bearer …`."
            return ProblemError(401, "unauthorized", detail, headers={"www-authenticate": "Bearer"})
        return self.too_large() if length.isdigit() and int(length) > self._limit else None

    def too_large(self) -> ProblemError:
        """Return what a body over the limit is answered."""
        return ProblemError(413, "too_large", f"A request has at most {self._limit:,} bytes.")

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
