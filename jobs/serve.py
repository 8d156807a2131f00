"""`assent serve`: HTTP API, portal and scheduled jobs in one process, started in order and drained in order."""

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

import structlog
from sqlalchemy.exc import DBAPIError

from connectors.portal.store import PortalStore
from consent.business_days import federal_holidays
from consent.database import DatabaseError
from jobs.build import Parts, assembled
from jobs.exits import Exit, Problem
from jobs.logs import configure_logs
from jobs.metrics import Metrics, metrics_of
from jobs.scheduler import Heartbeats, Jobs
from jobs.settings import PortalSettings
from sync.intake import Intake
from sync.notices import Announcer, Listener

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI

    from jobs.running import Runs as RunsOfPeople

log = structlog.get_logger()

Wake = Callable[[Collection[str]], None]

#: How long a start waits for destinations to say whether they hold more than we know of.
_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Working:
    """What delivers in this process."""

    wake: Wake
    runs: Jobs


def run_server(
    config: Path | None, *, host: str | None = None, port: int | None = None, http: bool = True, jobs: bool = True
) -> None:
    """Serve until SIGTERM or SIGINT; then requests and pushes at work are finished, and the signal's end is raised."""
    with assembled(config) as parts, ExitStack() as stack:
        server = parts.settings.server
        configure_logs(server.log_level)
        # First what can be wrong, then what must be ended.
        token = _token(parts) if http else None
        if http:
            parts.require_portal_schema()
        listening = _listen(host or server.host, server.port if port is None else port) if http else None
        _look_at_destinations(parts, listening)
        heartbeats = Heartbeats()
        working = stack.enter_context(_deliveries(parts, heartbeats)) if jobs else None
        metrics = metrics_of(parts, working.runs if working is not None else None)
        if listening is None or token is None:
            _run_jobs_only(parts, heartbeats, metrics)
        # Half a second to load: the first text that needs it must not wait for it, and everyone else with it.
        threading.Thread(target=federal_holidays, name="calendar").start()
        announcer = Announcer(parts.database)
        stack.callback(announcer.close)
        intake = Intake(
            parts.database, committed=_both(working.wake if working is not None else _nobody, announcer.announce)
        )
        stack.callback(intake.close)
        with listening:
            _serve_http(parts, intake, token, listening, heartbeats, metrics)


def _look_at_destinations(parts: Parts, listening: socket.socket | None) -> None:
    """Stop where a destination holds entries that the database doesn't know: it is older than what was delivered."""
    from sync.restored import quick_look

    # A portal that this process is about to serve can't be asked yet.
    port = listening.getsockname()[1] if listening is not None else None
    others = [one for one in parts.destinations if port is None or not _is_here(parts, one.name, port)]
    found = quick_look(parts.database, others, _LOOK_SECONDS)
    for name, why in found.unreachable.items():
        log.warning("restore.not_compared", destination=name, advice=why)
    if found.beyond:
        holders = ", ".join(sorted({one.destination for one in found.beyond}))
        raise Problem(
            Exit.SETTINGS,
            f"this database is older than what was delivered: {holders} holds {found.entries:,} entries that it "
            f"doesn't know of, from {min(one.entry for one in found.beyond)} on. Run `assent db restore --compare`, "
            "which lists them and brings them back from the archive",
        )


def _is_here(parts: Parts, name: str, port: int) -> bool:
    settings = parts.settings.destinations[name]
    if not isinstance(settings, PortalSettings):
        return False
    url = urlsplit(settings.url)
    return (url.port or {"http": 80, "https": 443}[url.scheme]) == port


def portal_routers(parts: Parts, intake: Intake, runs: "RunsOfPeople") -> "list[APIRouter]":
    """Return the portal's receiving end, where it has a secret, and its pages."""
    from jobs.tracing import whereabouts_of
    from jobs.web.pages import Desk, portal_router, wall_clock
    from jobs.web.receiver import receiver_router

    store = PortalStore(parts.portal_database)
    hosted = dict.fromkeys(parts.hosted_portals, store.arrived)
    where = whereabouts_of(parts.database, parts.destinations, hosted)
    pages = portal_router(Desk(parts.database, parts.access, where, intake, parts.destinations, runs))
    secret = parts.settings.server.portal_secret
    if secret is None:
        return [pages]
    try:
        return [receiver_router(store, [secret.get_secret_value()], wall_clock), pages]
    except ValueError as error:
        raise Problem(Exit.SETTINGS, f"server.portal_secret: {error}") from error


def _serve_http(
    parts: Parts, intake: Intake, token: str, listening: socket.socket, heartbeats: Heartbeats, metrics: Metrics
) -> None:
    from jobs.api import Token, create_app
    from jobs.api.destinations import destination_router
    from jobs.api.webhooks import webhook_router
    from jobs.http import http_server
    from jobs.running import Runs

    server = parts.settings.server
    runs = Runs(parts.database, parts.destinations, parts.rules)
    app: FastAPI = create_app(
        parts.database,
        intake,
        Token(token),
        max_body_bytes=server.max_body_bytes,
        routers=[
            destination_router(parts.database, parts.destinations, runs),
            webhook_router(parts.database, intake, parts.providers),
            *portal_routers(parts, intake, runs),
        ],
        is_stopping=lambda: running.should_exit,
        stalled=heartbeats.stalled,
        metrics=metrics,
    )
    running = http_server(app, shutdown_seconds=server.shutdown_seconds)
    log.info("server.started", url=_url(listening), pid=os.getpid())
    try:
        _tell_first_link(parts, parts.settings.server.public_url or _url(listening))
        # On a signal it stops listening, finishes the requests at work, and then raises the signal again for us.
        running.run(sockets=[listening])
    finally:
        runs.end(parts.settings.delivery.drain_seconds)
        log.info("server.stopped")


def _tell_first_link(parts: Parts, at: str) -> None:
    """Print the link that makes the first user, while there is none."""
    try:
        key = parts.access.first_link()
    except (DBAPIError, DatabaseError) as error:  # texts are taken as soon as it is back: no reason to end
        log.warning("users.unknown", error=type(error).__name__, advice="the database is away: start anew for the link")
        return
    if key is not None:
        advice = "nobody can sign in yet: open this link once, within a day, to make the first user"
        log.warning("users.none", advice=advice, link=f"{at.rstrip('/')}/portal/welcome/{key}")


@contextmanager
def _deliveries(parts: Parts, heartbeats: Heartbeats) -> Iterator["Working"]:
    """Run workers and scheduled jobs, and give both."""
    from jobs.chores import chores
    from jobs.watching import Watch
    from sync.workers import Workers

    delivery, quiet = parts.settings.delivery, parts.settings.jobs.stalled_seconds
    parts.prepare()
    workers = Workers(parts.database, parts.destinations, parts.rules, poll_seconds=delivery.poll_seconds)
    workers.start()
    heartbeats.watch_quiet(lambda: {f"delivery to {to}": idle for to, idle in workers.idle_seconds().items()}, quiet)
    runs = Jobs(parts.database, chores(parts, workers.wake, Watch(parts, heartbeats.stalled).look))
    heartbeats.watch(runs.stalled)
    listener = Listener(parts.database, workers.wake)
    try:
        yield Working(workers.wake, runs)
    finally:
        listener.close()
        ended = runs.end(delivery.drain_seconds)
        if not workers.drain(delivery.drain_seconds) or not ended:
            log.warning("delivery.cut", advice="a push was still in flight: it is made again, under the same ids")


def _run_jobs_only(parts: Parts, heartbeats: Heartbeats, metrics: Metrics) -> NoReturn:
    """Let the jobs run until a signal comes, and answer how they are where the settings say so."""
    port = parts.settings.jobs.health_port
    if port is None:
        advice = "nothing answers /livez, /readyz and /metrics here: set [jobs] health_port to see a stalled job"
        log.info("jobs.started", pid=os.getpid(), advice=advice)
        _wait_for_signal()
    from jobs.api import Token
    from jobs.api.health import health_app
    from jobs.http import http_server

    server = parts.settings.server
    token = None if server.token is None else Token(server.token.get_secret_value())
    listening = _listen(server.host, port)
    app = health_app(
        parts.database, token, lambda: running.should_exit, heartbeats.stalled, metrics, server.max_body_bytes
    )
    running = http_server(app, shutdown_seconds=server.shutdown_seconds)
    log.info("jobs.started", pid=os.getpid(), url=_url(listening))
    running.run(sockets=[listening])
    _wait_for_signal()


def _url(listening: socket.socket) -> str:
    address, port = listening.getsockname()[:2]
    return f"http://{f'[{address}]' if ':' in address else address}:{port}"


def _wait_for_signal() -> NoReturn:
    """Sleep until a signal's handler raises its end."""
    while True:
        # Not one long sleep: a signal that comes just before it begins doesn't wake it.
        time.sleep(0.5)


def _token(parts: Parts) -> str:
    token = parts.settings.server.token
    if token is None:
        raise Problem(
            Exit.SETTINGS, "server.token_file: the API's token is missing; run `assent init`, or name its file"
        )
    return token.get_secret_value()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Backlog: what may wait while one group is being written.
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise Problem(
            Exit.SETTINGS,
            f"[server] {host}:{port} can't be listened on ({error.strerror}): choose another port, "
            "or end the process that has it",
        ) from error
    # Connections inherit it. An answer's head and body come in two pieces, and asyncio, which would see to it, leaves
    # sockets alone that were made without naming TCP: each answer would wait 40 ms for the other side's delayed ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _nobody(_organizations: Collection[str]) -> None:
    """Wake nobody here: deliveries run in another process, which is told of it or polls."""


def _both(first: Wake, second: Wake) -> Wake:
    def call(organizations: Collection[str]) -> None:
        first(organizations)
        second(organizations)

    return call
