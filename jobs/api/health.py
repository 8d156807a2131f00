"""`/livez`, `/readyz`, `/metrics`: the process is alive; its database and schema are fine; what Prometheus reads.

Readiness never asks the destinations: texts are taken while all of them are away.
"""

import time
from collections.abc import Callable, Sequence

import orjson
import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consent.database import Database, DatabaseError
from jobs.api.guard import Guard
from jobs.api.keys import Keys, Token
from jobs.logs import DatabaseOutage
from jobs.web.problems import ProblemError, problem
from sync.migrate import SchemaError, require

#: https://prometheus.io/docs/instrumenting/exposition_formats/
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

log = structlog.get_logger()


def health_routes(
    database: Database, is_stopping: Callable[[], bool], stalled: Callable[[], Sequence[str]] = list,
    metrics: Callable[[], bytes] | None = None,
) -> list[Route]:  # fmt: skip
    """Return the routes; the guard asks a token for `/metrics` alone.

    `stalled` names the jobs of this process that give no sign of life.
    """
    outage, was_quiet = DatabaseOutage("readiness"), list[str]()

    async def livez(_request: Request) -> Response:
        return _ok({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        if is_stopping():
            return problem(ProblemError(503, "stopping", "This process finishes what is at work and stops."))
        try:
            await run_in_threadpool(require, database)
        except SchemaError as error:
            return problem(ProblemError(503, "schema", str(error)))
        except (SQLAlchemyError, DatabaseError) as error:
            outage.met(error)
            return problem(ProblemError(503, "unavailable", "The database can't be reached."))
        outage.over()
        nonlocal was_quiet
        if (quiet := list(stalled())) != was_quiet:  # it is asked every second or so
            log.warning("readiness.stalled", jobs=quiet)
            was_quiet = quiet
        if quiet:
            told = f"These jobs give no sign of life: {', '.join(quiet)}. See their last log lines, then start anew."
            return problem(ProblemError(503, "stalled", told))
        return _ok({"status": "ready"})

    async def told(_request: Request) -> Response:
        assert metrics is not None
        # It reads the database: never in the loop that takes texts.
        return Response(await run_in_threadpool(metrics), media_type=_PROMETHEUS, headers={"cache-control": "no-store"})

    routes = [Route("/livez", livez), Route("/readyz", readyz)]
    return routes if metrics is None else [*routes, Route("/metrics", told)]


def health_app(
    database: Database, token: Token | None, is_stopping: Callable[[], bool], stalled: Callable[[], Sequence[str]],
    metrics: Callable[[], bytes], max_body_bytes: int,
) -> Starlette:  # fmt: skip
    """Return what a process that only delivers answers: these routes, under the same guard as everywhere."""
    app = Starlette(routes=health_routes(database, is_stopping, stalled, metrics))
    keys = Keys(database, token, lambda: time.time_ns() // 1000)
    app.add_middleware(Guard, keys=keys, max_body_bytes=max_body_bytes)
    return app


def _ok(told: dict[str, str]) -> Response:
    return Response(orjson.dumps(told), media_type="application/json", headers={"cache-control": "no-store"})
