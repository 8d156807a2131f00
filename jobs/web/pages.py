"""The portal's pages: the entries as they arrive, newest first, and where each one is."""

import re
import time
from typing import TypedDict
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from connectors.portal.protocol import ORGANIZATION
from connectors.portal.store import Arrival, Place, PortalStore
from consent.kinds import Kind
from jobs.access import Access
from jobs.web.presenting import KIND_WORDS, position, row
from jobs.web.problems import ProblemError
from jobs.web.rendering import PageRoute, page, static_file
from jobs.web.sign_in import door, viewer
from jobs.web.whereabouts import Where

#: Entries on one page.
PAGE = 50

_PLACE = re.compile(r"([0-9]{1,17})\.([a-z0-9-]{2,32})\.([0-9]{1,12})")


class Filter(TypedDict):
    """Which entries a page lists; None is all."""

    organization: str | None
    kind: str | None


def wall_clock() -> int:
    """Return the time now, in microseconds since 1970."""
    return time.time_ns() // 1_000


def portal_router(
    store: PortalStore,
    where: Where,
    access: Access,
    *,
    prefix: str = "/portal",
) -> APIRouter:
    """Return the portal's pages: `where` says where entries are, `access` who may see them."""

    def place(request: Request) -> None:
        request.state.base = request.scope.get("root_path", "") + prefix
        request.state.access = access

    router = APIRouter(prefix=prefix, route_class=PageRoute, include_in_schema=False, dependencies=[Depends(place)])
    # Whatever is added to this one is behind the sign-in: a new page can't forget to ask.
    inside = APIRouter(route_class=PageRoute, dependencies=[Depends(viewer())])

    @router.get("")
    def add_slash(request: Request) -> Response:
        return RedirectResponse(f"{request.state.base}/", 308)

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        return static_file(name)

    @inside.get("/")
    def list_entries(request: Request) -> Response:
        chosen, before = _filter(request), _place(request)
        arrivals = store.newest(**chosen, before=before, limit=PAGE + 1)
        shown, more = arrivals[:PAGE], len(arrivals) > PAGE
        whereabouts = where([position(arrival.entry) for arrival in shown])
        return page(
            request,
            "entries.html",
            rows=[row(arrival, whereabouts.get(position(arrival.entry), ())) for arrival in shown],
            kinds=KIND_WORDS,
            organizations=store.organizations(),
            chosen=chosen,
            newest=_query(chosen, None) if before else None,
            older=_query(chosen, shown[-1]) if more else None,
        )

    @inside.get("/{_path:path}")
    def miss(_path: str) -> Response:
        raise ProblemError(404, "not_found", "There is no such page.")

    router.include_router(door())
    router.include_router(inside)
    return router


def _filter(request: Request) -> Filter:
    organization, kind = request.query_params.get("organization"), request.query_params.get("kind")
    if organization and not ORGANIZATION.fullmatch(organization):
        raise ProblemError(400, "bad_filter", "There can't be an organization of that name.")
    if kind and kind not in set(Kind):
        raise ProblemError(400, "bad_filter", "There is no such kind of entry.")
    return {"organization": organization or None, "kind": kind or None}


def _place(request: Request) -> Place | None:
    """Read where the page before this one ended."""
    before = request.query_params.get("before")
    if not before:
        return None
    match = _PLACE.fullmatch(before)
    if match is None:
        raise ProblemError(400, "bad_filter", "This link is damaged: start from the newest entries.")
    return Place(int(match[1]), match[2], int(match[3]))


def _query(chosen: Filter, last: Arrival | None) -> str:
    """Return a link's query: the same filter, from after `last` on."""
    query = {name: value for name, value in chosen.items() if value}
    if last is not None:
        query["before"] = ".".join(map(str, last.place))
    return f"?{urlencode(query)}" if query else ""
