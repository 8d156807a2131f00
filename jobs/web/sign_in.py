"""The door: a form that takes the token and opens a session, and the check that everything else stands behind."""

from collections.abc import Callable
from urllib.parse import parse_qs

import structlog
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from connectors.portal.sessions import begin_session, end_session, is_live
from consent.database import Database
from jobs.web.guard import require_same_origin
from jobs.web.problems import ProblemError
from jobs.web.rendering import PageRoute, page

log = structlog.get_logger()

_FORM_LIMIT = 4_096


def door(
    database: Database, authenticate: Callable[[str], bool], clock: Callable[[], int]
) -> tuple[APIRouter, Callable[[Request], None]]:
    """Return the routes for signing in and out, and the dependency that lets only live sessions pass."""

    def require_session(request: Request) -> None:
        session = request.cookies.get(_cookie(request))
        if not session or not is_live(database, session, clock()):
            raise ProblemError(401, "signed_out", "Sign in first.")

    router = APIRouter(route_class=PageRoute)

    @router.get("/sign-in")
    def ask_token(request: Request) -> Response:
        return page(request, "sign_in.html", refused=False)

    @router.post("/sign-in", dependencies=[Depends(require_same_origin)])
    async def sign_in(request: Request) -> Response:
        token = (await _form(request)).get("token", "").strip()
        if not token or not await run_in_threadpool(authenticate, token):
            log.warning("sign_in.refused")
            return page(request, "sign_in.html", 401, refused=True)
        session = await run_in_threadpool(begin_session, database, clock())
        log.info("sign_in.accepted")
        answer = RedirectResponse(f"{request.state.base}/", 303)
        answer.set_cookie(_cookie(request), session, httponly=True, samesite="strict", secure=_is_secured(request))
        return answer

    @router.post("/sign-out", dependencies=[Depends(require_session), Depends(require_same_origin)])
    def sign_out(request: Request) -> Response:
        end_session(database, request.cookies[_cookie(request)])
        answer = RedirectResponse(f"{request.state.base}/sign-in", 303)
        answer.delete_cookie(_cookie(request), httponly=True, samesite="strict", secure=_is_secured(request))
        return answer

    return router, require_session


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a small form, the last one of each name."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _FORM_LIMIT:
                raise ProblemError(413, "too_large", "This form was filled with more than it can hold.")
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except (ValueError, ClientDisconnect) as error:
        raise ProblemError(400, "malformed", "This form can't be read.") from error
    return {name: values[-1] for name, values in fields.items()}


def _is_secured(request: Request) -> bool:
    return request.url.scheme == "https"


def _cookie(request: Request) -> str:
    # Browsers take the __Host- prefix over HTTPS only; there it keeps other hosts of the domain from planting one.
    return "__Host-assent" if _is_secured(request) else "assent"
