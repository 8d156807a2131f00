"""`python -m tests.benchmarks.bench_server WHAT DATABASE SECRET READY`: what is measured over HTTP, as a process."""

import logging
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from fastapi import FastAPI, Response

from connectors.portal import migrate
from connectors.portal.store import PortalStore
from consent.database import open_database
from jobs.api import Token, create_app
from jobs.build import collect_seldom
from jobs.http import http_server
from jobs.web.receiver import receiver_router
from sync.intake import Intake
from tests.benchmarks.bench_world import child_environment

_WAIT_SECONDS = 30.0


@contextmanager
def serving(what: str, database_url: str, secret: str = "") -> Iterator[str]:
    """Serve the API, the portal or an empty endpoint from another process, and give its address."""
    with tempfile.TemporaryDirectory(prefix="assent-bench-") as folder:
        ready = Path(folder) / "ready"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.bench_server", what, database_url, secret or _token(), str(ready)],
            cwd=Path(__file__).parents[2], env=child_environment(),
        )  # fmt: skip
        try:
            until = time.monotonic() + _WAIT_SECONDS
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the server of {what} didn't start")
                time.sleep(0.02)
            yield f"http://127.0.0.1:{ready.read_text()}"
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    """Serve until SIGTERM."""
    what, database_url, secret, ready = sys.argv[1:]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    collect_seldom()  # as `assent serve` does
    app = _APPS[what](database_url, secret)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        draft = Path(ready).with_suffix(".new")
        draft.write_text(str(listening.getsockname()[1]))
        draft.replace(ready)  # whoever connects from now on waits in the backlog
        http_server(app, shutdown_seconds=1).run(sockets=[listening])


def _api(database_url: str, secret: str) -> FastAPI:
    database = open_database(database_url)
    return create_app(database, Intake(database), Token(secret), max_body_bytes=1_000_000)


def _portal(database_url: str, secret: str) -> FastAPI:
    database = open_database(database_url)
    migrate.upgrade(database)
    app = FastAPI()
    app.include_router(receiver_router(PortalStore(database), [secret], lambda: time.time_ns() // 1000))
    return app


def _empty(_database_url: str, _secret: str) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/messages")
    async def nothing() -> Response:
        return Response(b"{}", media_type="application/json")

    return app


def _token() -> str:
    return secrets.token_urlsafe()


_APPS: dict[str, Callable[[str, str], FastAPI]] = {"api": _api, "portal": _portal, "empty": _empty}


if __name__ == "__main__":
    main()
