"""The door: a form for login and password, one-time links, signing out, and the check that every page stands behind."""

from collections.abc import Callable
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from jobs.access import Access, Purpose, Role, Viewer
from jobs.access.passwords import LEAST, PasswordError
from jobs.access.users import UserError
from jobs.web.problems import ProblemError
from jobs.web.rendering import PageRoute, page

_FORM_LIMIT = 16_384

Form = dict[str, str]


def viewer(role: Role | None = None) -> Callable[[Request], Viewer]:
    """Return the dependency that gives who is signed in; with a role, only those who have it pass.

    Without a session a page sends to the sign-in; with another role it says which one is needed.
    """

    def known(request: Request) -> Viewer:
        access: Access = request.state.access
        found = access.viewer(request.cookies.get(_cookie(request)))
        if found is None:
            raise ProblemError(401, "signed_out", "Sign in first.")
        request.state.viewer = found
        if role is not None and not found.may(role):
            detail = f"This page is for the role {role.capitalize()}. Whoever runs Assent gives it: `assent user set`."
            raise ProblemError(403, "wrong_role", detail)
        return found

    return known


async def form(request: Request) -> Form:
    """Return the fields of a form, the last one of each name; a dependency of pages that take one."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _FORM_LIMIT:
                raise ProblemError(413, "too_large", "This form was filled with more than it can hold.")
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=200)
    except (ValueError, ClientDisconnect) as error:
        raise ProblemError(400, "malformed", "This form can't be read.") from error
    return {name: values[-1] for name, values in fields.items()}


def door() -> APIRouter:
    """Return the routes for signing in and out, and those of one-time links."""
    router = APIRouter(route_class=PageRoute)

    @router.get("/sign-in")
    def ask(request: Request) -> Response:
        return page(request, "sign_in.html", refused=False, login="", next=_back(request))

    @router.post("/sign-in")
    async def sign_in(request: Request, given: Annotated[Form, Depends(form)]) -> Response:
        login, password = given.get("login", ""), given.get("password", "")
        secret = await run_in_threadpool(request.state.access.sign_in, login, password) if password else None
        if secret is None:
            return page(request, "sign_in.html", 401, refused=True, login=login, next=_back(request))
        return _entered(request, secret, _back(request))

    @router.post("/sign-out")
    def sign_out(request: Request, _who: Annotated[Viewer, Depends(viewer())]) -> Response:
        request.state.access.sign_out(request.cookies[_cookie(request)])
        answer = RedirectResponse(f"{request.state.base}/sign-in", 303)
        answer.delete_cookie(_cookie(request), httponly=True, samesite="lax", secure=_is_secured(request))
        return answer

    @router.get("/welcome/{key}")
    def show_link(request: Request, key: str) -> Response:
        return _welcome(request, key, {})

    @router.post("/welcome/{key}")
    async def take_link(request: Request, key: str, given: Annotated[Form, Depends(form)]) -> Response:
        try:
            secret = await run_in_threadpool(_take, request.state.access, key, given)
        except (PasswordError, UserError) as error:
            told = str(error)
            return await run_in_threadpool(_welcome, request, key, given, f"{told[0].upper()}{told[1:]}.")
        if secret is None:
            return _over(request)
        return _entered(request, secret, f"{request.state.base}/")

    return router


def _take(access: Access, key: str, given: Form) -> str | None:
    found = access.link(key)
    if found is None:
        return None
    if found[0].purpose is Purpose.SIGN_IN:
        return access.enter(key)
    password = given.get("password", "")
    if password != given.get("again", ""):
        raise PasswordError("the two passwords differ: type the same one twice")
    if found[0].purpose is Purpose.PASSWORD:
        return access.enter_with_password(key, password)
    return access.enter_first(key, given.get("login", ""), given.get("name", ""), password)


def _welcome(request: Request, key: str, given: Form, error: str | None = None) -> Response:
    found = request.state.access.link(key)
    if found is None:
        return _over(request)
    link, user = found
    kept = {name: given.get(name, "") for name in ("login", "name")}
    return page(
        request, "welcome.html", 200 if error is None else 422, purpose=link.purpose.value,
        user=user, given=kept, error=error, least=LEAST,
    )  # fmt: skip


def _over(request: Request) -> Response:
    detail = "This link was used already, or its time is over. Whoever runs Assent makes a new one: `assent user link`."
    return page(request, "problem.html", 410, title="This link is over", detail=detail)


def _entered(request: Request, secret: str, back: str) -> Response:
    answer = RedirectResponse(back, 303)
    # Lax, not strict: a link from a record in Salesforce must arrive signed in. Changes are guarded by themselves.
    answer.set_cookie(_cookie(request), secret, httponly=True, samesite="lax", secure=_is_secured(request))
    return answer


def _back(request: Request) -> str:
    """Return where to go after signing in: a path of the portal, never another site's."""
    base, asked = request.state.base, request.query_params.get("next", "")
    safe = asked.startswith(f"{base}/") and asked.isprintable() and "\\" not in asked
    return asked if safe else f"{base}/"


def _is_secured(request: Request) -> bool:
    return request.url.scheme == "https"


def _cookie(request: Request) -> str:
    # Browsers take the __Host- prefix over HTTPS only; there it keeps other hosts of the domain from planting one.
    return "__Host-assent" if _is_secured(request) else "assent"
