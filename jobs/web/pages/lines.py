"""Setup: lines and the employees who have them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from consent import lines
from consent.organizations import ForbiddenError, SettingError
from jobs import asking
from jobs.access import Role, Viewer
from jobs.web.pages.desk import Desk, given, readable, sentence
from jobs.web.pages.setup import main_of
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import Form, form, viewer

PAGE = 50

_FIELDS = ("line", "employee", "name")

Setup = Annotated[Viewer, Depends(viewer(Role.SETUP))]


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=PageRoute, prefix="/setup/{org}/lines")

    @router.get("")
    def show(request: Request, who: Setup, org: str, after: str = "") -> Response:
        return _lines(desk, request, who, org, after)

    @router.post("")
    def register(request: Request, who: Setup, org: str, told: Annotated[Form, Depends(form)]) -> Response:
        return _register(desk, request, who, org, given(told, _FIELDS))

    return router


def _lines(
    desk: Desk, request: Request, who: Viewer, org: str, after: str = "", *, errors: dict[str, str] | None = None,
    told: dict[str, Any] | None = None,
) -> Response:  # fmt: skip
    with desk.database.read() as tx:
        one, policy = main_of(tx, who, org)
        # A number doesn't stand in an address: the link to the next page is sealed.
        place = (desk.asked(tx).open(after) or {}).get("after", "") if after else ""
        found = lines.list_lines(
            tx, one.main, sub_organization=policy.sub_organization, after=place, limit=PAGE + 1
        )  # fmt: skip
        shown = found[:PAGE]
        following = desk.asked(tx).seal({"after": shown[-1].line}) if len(found) > PAGE else None
    return page(
        request, "lines.html", 422 if errors else 200, one=one, errors=errors or {}, told=told or {}, next=following,
        is_first=not place, saved=request.query_params.get("saved"), anew=request.query_params.get("anew", ""),
        lines=[{"number": readable(line.line, clear=True), "line": line} for line in shown],
    )  # fmt: skip


def _register(desk: Desk, request: Request, who: Viewer, org: str, told: dict[str, Any]) -> Response:
    errors = {}
    with desk.database.read() as tx:
        one, policy = main_of(tx, who, org)
    number = ""
    try:
        number = asking.number(told["line"], "line", policy)
    except asking.QuestionError:
        errors["line"] = "This can’t be read as a number: give it as +1 404 555 0123."
    if not told["employee"]:
        errors["employee"] = "Give the employee’s id."
    if not told["name"]:
        errors["name"] = "Give the name that contacts read."
    if not errors:
        try:
            with desk.database.write() as tx:
                done = lines.set_line(
                    tx, desk.tags(tx), one.main, number, told["employee"], told["name"],
                    sub_organization=policy.sub_organization, actor=who.id, now=desk.access.clock(),
                    may_take=lambda sub: who.sees(one.main, sub),
                )  # fmt: skip
        except ForbiddenError as error:
            errors["line"] = sentence(error)
        except SettingError as error:
            errors["name"] = sentence(error)
    if errors:
        return _lines(desk, request, who, org, errors=errors, told=told)
    saved = "yes" if done.entries else "same"
    return RedirectResponse(f"{request.state.base}/setup/{org}/lines?saved={saved}&anew={done.begun_anew}", 303)
