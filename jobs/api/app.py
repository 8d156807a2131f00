"""The application that `assent serve` serves: the API, health, and the portal's routes beside them."""

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from consent.database import Database, DatabaseError, explain
from jobs.api.consents import consent_router
from jobs.api.documents import described
from jobs.api.guard import Guard, TooLargeError
from jobs.api.health import health_routes
from jobs.api.imports import import_router
from jobs.api.keys import Keys, Token
from jobs.api.messages import message_routes
from jobs.api.organizations import organization_router
from jobs.api.queries import query_router
from jobs.api.reviews import review_router
from jobs.web.problems import ProblemError, problem
from sync.intake import Intake

log = structlog.get_logger()

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_CODES = {404: "not_found", 405: "method_not_allowed"}
_WORDS = {404: "There is nothing at this path.", 405: "This path doesn't take this method."}


def create_app(
    database: Database,
    intake: Intake,
    token: Token,
    *,
    max_body_bytes: int,
    routers: Sequence[APIRouter] = (),
    is_stopping: Callable[[], bool] = lambda: False,
    stalled: Callable[[], Sequence[str]] = list,
    metrics: Callable[[], bytes] | None = None,
) -> FastAPI:
    """Put the routes together; `routers` are the portal's."""
    # No pages of FastAPI's own: they would load scripts from elsewhere.
    app = FastAPI(title="Assent", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.router.routes.extend(message_routes(intake))
    app.router.routes.extend(health_routes(database, is_stopping, stalled, metrics))
    app.include_router(query_router(database))
    app.include_router(consent_router(database))
    app.include_router(import_router(database, intake))
    app.include_router(review_router(database, intake))
    app.include_router(organization_router(database))
    for router in routers:
        app.include_router(router)
    app.add_middleware(Guard, keys=Keys(database, token, _now), max_body_bytes=max_body_bytes)
    _answer_errors(app, max_body_bytes)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        return described(plain(), has_metrics=metrics is not None)

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _methods(app: FastAPI, request: Request) -> list[str]:
    """Return the methods that a path takes, of all its routes: each route knows its own only."""
    asked = [(method, {**request.scope, "method": method}) for method in _METHODS]
    return [
        method for method, scope in asked if any(route.matches(scope)[0] is Match.FULL for route in app.routes)
    ]  # fmt: skip


def _now() -> int:
    return time.time_ns() // 1_000


def _answer_errors(app: FastAPI, max_body_bytes: int) -> None:
    @app.exception_handler(ProblemError)
    async def _problem(_request: Request, error: ProblemError) -> Response:
        return problem(error)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        status = error.status_code
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            error.headers = {"allow": ", ".join(_methods(app, request))}
        code = _CODES.get(status, HTTPStatus(status).name.lower())
        detail = _WORDS.get(status, HTTPStatus(status).phrase)
        return problem(ProblemError(status, code, detail, headers=error.headers))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> Response:
        if any(one["type"] == "json_invalid" for one in error.errors()):
            return problem(ProblemError(400, "invalid_json", "The body is no JSON in UTF-8."))
        # What was sent is not quoted: it may be a number.
        found = [f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()]
        return problem(ProblemError(422, "invalid_request", "; ".join(found)))

    @app.exception_handler(TooLargeError)
    async def _too_large(_request: Request, _error: TooLargeError) -> Response:
        return problem(ProblemError(413, "too_large", f"A request has at most {max_body_bytes:,} bytes."))

    @app.exception_handler(DatabaseError)
    @app.exception_handler(DBAPIError)
    async def _database(_request: Request, error: Exception) -> Response:
        advice = explain(error) if isinstance(error, DBAPIError) else str(error)
        log.warning("request.database_away", advice=advice)
        return problem(ProblemError(503, "unavailable", advice, headers={"retry-after": "5"}))

    @app.exception_handler(Exception)
    async def _unexpected(_request: Request, _error: Exception) -> Response:
        # The server logs it, with its traceback redacted.
        return problem(ProblemError(500, "unexpected", "Something went wrong here; the log says what."))
