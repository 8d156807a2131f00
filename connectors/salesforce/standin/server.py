"""HTTP/1.1 over TLS, kept alive, a thread a connection; and the faults that a socket can have."""

import gzip
import select
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from connectors.salesforce.standin import metadata
from connectors.salesforce.standin.answers import Answer, refuse
from connectors.salesforce.standin.faults import Fault, Faults
from connectors.salesforce.standin.journal import Journal
from connectors.salesforce.standin.org import Org, Request, log, route_of
from connectors.salesforce.standin.settings import Settings

_HANDSHAKE_SECONDS = 10.0
_IDLE_SECONDS = 300.0
_WORTH_COMPRESSING = 1000
_HTML = (
    b"<!DOCTYPE html><html><head><title>We are down for maintenance.</title></head>"
    b"<body><h1>We are setting things up</h1><p>Thanks for your patience.</p></body></html>"
)


class Server(TCPServer):
    """Accepts connections for an org until it is stopped."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], state: Path, org: Org, faults: Faults, journal: Journal, settings: Settings
    ) -> None:
        self.org = org
        self.faults = faults
        self.journal = journal
        self.settings = settings
        self.stopping = threading.Event()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._tls.load_cert_chain(state / "server.pem", state / "server-key.pem")
        self._open: dict[socket.socket, threading.Thread] = {}
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        return f"https://{self.server_address[0]!s}:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self._talk, args=(request, client_address), daemon=True)
        self._open[request] = thread
        thread.start()

    def stop(self) -> None:
        """End every connection where it is, and wait for the threads."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection, thread in list(self._open.items()):
            with suppress(OSError):  # it may be gone already
                # Not the method of the TLS socket, which would say goodbye from under the thread that uses it.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            thread.join(timeout=5)

    def _talk(self, plain: socket.socket, client_address: Any) -> None:
        self.journal.connect()
        connection = plain
        try:
            fault = self.faults.strike_connection()
            if fault is not None:
                if fault.tls == "garbage":
                    plain.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                return
            plain.settimeout(_HANDSHAKE_SECONDS)
            connection = self._tls.wrap_socket(plain, server_side=True)
            self._open[connection] = self._open.pop(plain)
            connection.settimeout(_IDLE_SECONDS)
            _Handler(connection, client_address, self)
        except OSError:
            pass  # the other side went away, or does not trust us: its business
        finally:
            connection.close()
            self._open.pop(connection, None)
            self._open.pop(plain, None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    connection: ssl.SSLSocket

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has in the base class
        """The journal knows."""

    def _serve(self) -> None:
        body = self._read_body()
        if body is None:
            self.close_connection = True
            return
        started = time.monotonic()
        uri = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        params = dict(parse_qsl(uri.query, keep_blank_values=True))
        base_url = f"https://{headers['host']}" if "host" in headers else self.server.url
        request = Request(self.command, uri.path, params, headers, body, base_url, len(self.path))
        route = route_of(uri.path)
        self.server.journal.begin()
        try:
            struck = self.server.faults.strike(route)
            fault = next((each for each in struck if each.latency_seconds is None), None)
            seconds = self.server.settings.latency_seconds + sum(each.latency_seconds or 0.0 for each in struck)
            # One half of the way lies before the work and one behind it, so that whoever is killed
            # meanwhile may lose the request, or only the answer.
            self.server.stopping.wait(seconds / 2)
            answer = self._answer(request, fault)
            self.server.stopping.wait(started + seconds - time.monotonic())
        finally:
            self.server.journal.end()
        one = fault or next(iter(struck), None)
        left_alone = fault is not None and bool(fault.cut or fault.mute or fault.half)
        # Written before it is sent: whoever holds the answer finds its line.
        line = self.server.journal.write(
            method=self.command,
            path=uri.path,
            route=route,
            rows=answer.rows,
            status=0 if left_alone else answer.status,
            seconds=time.monotonic() - started,
            fault=None if one is None else one.id,
        )
        sent = False
        try:
            sent = self._send(answer, fault)
        finally:
            if not sent:
                self.server.journal.mark_unanswered(line)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = do_HEAD = do_OPTIONS = _serve  # noqa: N815 - the base class's

    def _read_body(self) -> bytes | None:
        """The request's body; None where it was cut short, or has no length that can be read."""
        try:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                body = self._read_chunks()
            else:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(max(length, 0))
                if len(body) != length:
                    return None
        except ValueError:
            return None
        if self.headers.get("Content-Encoding") == "gzip":
            try:
                return gzip.decompress(body)
            except (OSError, EOFError, zlib.error):
                return b""
        return body

    def _read_chunks(self) -> bytes:
        """RFC 9112, "Chunked Transfer Coding"; ValueError where it ends too early."""
        chunks = []
        while length := int(self.rfile.readline(1000).partition(b";")[0], 16):
            chunks.append(self.rfile.read(length))
            self.rfile.readline(1000)
        while self.rfile.readline(1000).strip():
            pass  # trailers
        return b"".join(chunks)

    def _answer(self, request: Request, fault: Fault | None) -> Answer:
        if fault is not None:
            if fault.expire_sessions:
                self.server.org.sessions.expire()
            if "before" in {fault.cut, fault.mute}:
                return Answer(0)
            if fault.status is not None and fault.when != "after":
                return _faulty(fault, request)
        try:
            answer = self.server.org.answer(request)
        except Exception as error:  # an org answers even then, and the log says where it broke
            place = _innermost(error)
            log("request.failed", route=route_of(request.path), error=type(error).__name__, at=place)
            return refuse(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred.")
        if fault is not None and fault.status is not None:
            return _faulty(fault, request)
        return answer

    def _send(self, answer: Answer, fault: Fault | None) -> bool:
        """Send the answer, whole unless a fault says otherwise; True when it is whole."""
        if fault is not None and fault.cut:
            self._cut()
            return False
        if fault is not None and fault.mute:
            self._wait_for_the_end()
            return False
        body, headers = answer.body(), dict(answer.headers)
        if body:
            headers["Content-Type"] = answer.content_type
        if fault is not None and fault.gzip_broken:
            body = b"\x1f\x8b\x08\x00" + body[: len(body) // 2]
            headers["Content-Encoding"] = "gzip"
        elif len(body) > _WORTH_COMPRESSING and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        head = self._head(answer.status, headers, len(body))
        if fault is not None and fault.half:
            self.connection.sendall(head + body[: len(body) // 2])
            self._cut()
            return False
        self.connection.sendall(head if self.command == "HEAD" else head + body)
        return True

    def _head(self, status: int, headers: Mapping[str, str], length: int) -> bytes:
        lines = [f"HTTP/1.1 {status} {_reason(status)}", f"Date: {self.date_time_string()}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _cut(self) -> None:
        """Let the connection end in a reset, without a goodbye."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _wait_for_the_end(self) -> None:
        """Say nothing until the other side gives up."""
        self.close_connection = True
        while not self.server.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.1)
            if readable:
                return


def _faulty(fault: Fault, request: Request) -> Answer:
    headers = dict(fault.headers or {})
    status = fault.status or 500
    if fault.html:
        return Answer(status, _HTML, headers, "text/html; charset=utf-8")
    if fault.error:
        return Answer(status, {"error": fault.error, "error_description": fault.error_description or ""}, headers)
    if fault.errorCode is None:
        return Answer(status, b"", headers)
    if route_of(request.path) == "metadata":
        return metadata.fault(f"sf:{fault.errorCode}", f"{fault.errorCode}: {fault.message or ''}", status)
    return refuse(status, fault.errorCode, fault.message or "", headers)


def _reason(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"


def _innermost(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
