"""A real portal behind a real socket, entries to push to it, and faults that come through sockets."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
import uvicorn
from fastapi import FastAPI

from connectors.portal.store import PortalStore
from consent.entry import Entry, seal
from consent.kinds import Kind
from consent.values import Record
from jobs.access import Access, Purpose, Role, users
from jobs.access.links import make_link
from jobs.running import Runs
from jobs.tracing import whereabouts_of
from jobs.web.pages import Desk, portal_router
from jobs.web.receiver import receiver_router
from sync.delivery import Rules
from sync.intake import Intake
from sync.port import Batch

PASSWORD = "four quite ordinary words"
NOON = 1_795_435_200_000_000  # 2026-11-23T12:00:00Z


@dataclass
class Portal:
    """A portal at work, and what a test may turn: its clock."""

    store: PortalStore
    secret: str
    app: FastAPI = field(default_factory=FastAPI)
    now: int = NOON

    def __post_init__(self) -> None:
        self.access = Access(self.store.database, clock=lambda: self.now)
        self.add_user("ann@bank.example", *Role)
        self.app.include_router(receiver_router(self.store, [self.secret], lambda: self.now))
        database = self.store.database
        desk = Desk(
            database, self.access, whereabouts_of(database, (), {}), Intake(database, now=lambda: self.now), (),
            Runs(database, (), Rules()),
        )  # fmt: skip
        self.app.include_router(portal_router(desk))
        self.server = Server(self.app)
        self.url = f"{self.server.address}/portal"

    def count(self) -> int:
        with self.store.database.read() as tx:
            return tx.exec_driver_sql("SELECT count(*) FROM portal_entry").scalar_one()

    def add_user(self, login: str, *roles: Role, organization: str | None = None) -> users.User:
        with self.store.database.write() as tx:
            return users.create_user(tx, login, "Ann Lee", roles, organization=organization, actor="test", now=NOON)

    def signed_in(self, login: str = "ann@bank.example") -> requests.Session:
        """Sign in by a one-time link: a password takes a tenth of a second to check."""
        session = requests.Session()
        session.trust_env = False
        with self.store.database.write() as tx:
            user = users.user(tx, login)
            key = make_link(tx, Purpose.SIGN_IN, user.id, self.now, seconds=60)
        answer = session.post(f"{self.url}/welcome/{key}", headers={"sec-fetch-site": "same-origin"})
        assert answer.status_code == 200
        return session


class Server:
    """An app on a port of loopback that it keeps over being stopped and started again."""

    def __init__(self, app: FastAPI) -> None:
        self._app, self._port = app, 0
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(self._app, log_config=None, lifespan="off", ws="none"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    @contextmanager
    def away(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()


@contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[str]:
    """Serve prepared answers, the last one again and again: a portal of another make."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, headers, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def cutting(url: str, *, requests_at: int | None = None, answers: int = 0) -> Iterator[str]:
    """Stand between: cut each request after `requests_at` bytes, or the first `answers` answers before they go back."""
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    left = [answers]

    def carry(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server:
            if requests_at is not None:
                server.sendall(client.recv(requests_at, socket.MSG_WAITALL))
                return
            threading.Thread(target=_pipe, args=(client, server), daemon=True).start()
            while piece := server.recv(65_536):
                if left[0] > 0:  # the portal has done its work; nobody hears of it
                    left[0] -= 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(piece)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=carry, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/portal"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _pipe(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65_536):
            target.sendall(piece)
    except OSError:
        pass


def text_entry(seq: int, text: str = "See you at ten", *, organization: str = "acme", pos: int | None = None) -> Entry:
    """A contact's text with everything personal that one can have."""
    record = Record(
        Kind.MESSAGE,
        NOON + seq * 1_000_000,
        {"verdict": "delivered", "sender": "contact", "channel": "sms"},
        {
            "text": text, "contact": "+14045550123", "line": "+14155550100", "employee_name": "Ann Lee",
            "message_id": f"SM{seq}",
        },
        "c0ffee",
        seq,
    )  # fmt: skip
    at = seq if pos is None else pos
    return seal(record, organization, seq, at, NOON + seq * 1_000_000, os.urandom(16 * len(record.values)))


def texts(count: int, first: int = 0, organization: str = "acme") -> list[Entry]:
    return [text_entry(seq, organization=organization) for seq in range(first, first + count)]


def batch(entries: list[Entry]) -> Batch:
    return Batch(entries[0].organization, entries[0].lane, entries)
