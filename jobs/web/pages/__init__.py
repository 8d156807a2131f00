"""The portal's pages: what stands where, and who may open it."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from jobs.access import Role, Viewer
from jobs.web.pages import (
    consent,
    decisions,
    downloads,
    lines,
    operations,
    refused,
    reports,
    reviews,
    runs,
    setup,
    timeline,
    wording,
)
from jobs.web.pages.desk import Desk, missing
from jobs.web.rendering import PageRoute, static_file
from jobs.web.sign_in import Form, door, form, viewer
from jobs.web.times import READ_COOKIE, times_of

__all__ = ["Desk", "portal_router", "wall_clock"]

#: Where somebody comes in, by the first role that they have.
_HOMES = ((Role.REPORTS, "/reports"), (Role.OPERATIONS, "/operations"), (Role.SETUP, "/setup"))
#: Each gives the routes of its pages.
SUBJECTS = (
    reports,
    timeline,
    consent,
    decisions,
    reviews,
    downloads,
    setup,
    wording,
    lines,
    operations,
    refused,
    runs,
)


def wall_clock() -> int:
    """Return the time now, in microseconds since 1970."""
    return time.time_ns() // 1_000


def portal_router(desk: Desk, *, prefix: str = "/portal") -> APIRouter:
    """Return the portal's pages."""

    def place(request: Request) -> None:
        request.state.base = request.scope.get("root_path", "") + prefix
        request.state.access = desk.access
        request.state.times = times_of(request, desk.access.clock())

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
    def home(request: Request, who: Annotated[Viewer, Depends(viewer())]) -> Response:
        # Everybody has a role.
        path = next(path for role, path in _HOMES if who.may(role))
        return RedirectResponse(f"{request.state.base}{path}", 303)

    @inside.post("/times")
    def read_times(request: Request, told: Annotated[Form, Depends(form)]) -> Response:
        back = told.get("back", "")
        safe = back.startswith(f"{request.state.base}/") and back.isprintable() and "\\" not in back
        answer = RedirectResponse(back if safe else f"{request.state.base}/", 303)
        wanted = "utc" if told.get("times") == "utc" else "local"
        answer.set_cookie(
            READ_COOKIE, wanted, max_age=31_536_000, path=f"{request.state.base}", httponly=True, samesite="lax"
        )
        return answer

    for subject in SUBJECTS:
        inside.include_router(subject.router(desk))

    @inside.get("/{_path:path}")
    def miss(_path: str) -> Response:
        raise missing()

    router.include_router(door())
    router.include_router(inside)
    return router
