"""What every answer under the portal's paths carries, and what every change must come with."""

from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from consent.database import explain
from jobs.web.problems import ProblemError, problem

log = structlog.get_logger()

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        # Scripts from our own files only, and nothing from another host: a text that gets through as markup still does
        # nothing.
        "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        # Not no-referrer: browsers then send `Origin: null` with our own forms.
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "cache-control": "no-store",
    }
)


class GuardedRoute(APIRoute):
    """A route whose answers, errors included, carry the security headers."""

    #: Turns an error into what the caller can read; pages have one of their own.
    answer: Callable[[Request, ProblemError], Response] = staticmethod(lambda _request, error: problem(error))
    #: Whether what a browser sends must come from our own pages; what is signed needs no such thing.
    for_browsers = False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's own handler."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                if type(self).for_browsers:
                    require_same_origin(request)
                response = await handle(request)
            except ProblemError as error:
                response = type(self).answer(request, error)
            except (DBAPIError, PoolTimeoutError) as error:
                advice = explain(error) if isinstance(error, DBAPIError) else "the database is busy: try again"
                log.warning("portal.failed", path=self.path, advice=advice)
                away = ProblemError(
                    503, "unavailable", f"{advice[0].upper()}{advice[1:]}.", headers={"retry-after": "5"}
                )
                response = type(self).answer(request, away)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return guarded


def require_same_origin(request: Request) -> None:
    """Refuse what another site's page sent: by Fetch Metadata, or by Origin where a browser has none.

    A change must come from our own pages; what only reads may be reached by following a link (from a record in
    Salesforce, say), but not be loaded into another site's page. Browsers leave Fetch Metadata out over plain HTTP on
    other than loopback addresses; they always send Origin with a form. A change with neither comes from no browser we
    know. (https://www.w3.org/TR/fetch-metadata/, https://web.dev/articles/fetch-metadata)
    """
    site = request.headers.get("sec-fetch-site")
    if request.method in ("GET", "HEAD"):
        follows = request.headers.get("sec-fetch-mode") == "navigate"
        embedded = request.headers.get("sec-fetch-dest") in ("embed", "frame", "iframe", "object")
        same = site in (None, "same-origin", "none") or (follows and not embedded)
    elif site is not None:
        same = site == "same-origin"
    else:
        # The host alone: behind a proxy that ends TLS the schemes differ.
        origin = request.headers.get("origin", "")
        same = bool(origin) and urlsplit(origin).netloc == request.headers.get("host")
    if not same:
        raise ProblemError(403, "cross_site", "This must be sent from the portal's own page.")
