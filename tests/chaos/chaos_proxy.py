"""Stands between a destination's client and its server, and spoils one exchange after another as it is told."""

import contextlib
import socket
import threading
import time

_RUBBISH = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 37\r\n\r\n<html><body>Please sign in</body></html>"
)
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

#: What can happen to an exchange: the server does its work in the last three.
WAYS = ("reset", "rubbish", "busy", "hang", "lost_answer", "half_answer", "slow")


class Proxy:
    """Carries everything, until it is told to spoil exchanges."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._guard = threading.Lock()
        self._spoil: list[str] = []
        #: How many exchanges were spoiled.
        self.struck = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def spoil(self, *ways: str) -> None:
        """Spoil the next exchanges, each in one of `WAYS`."""
        with self._guard:
            self._spoil.extend(ways)

    def heal(self) -> None:
        """Spoil nothing more."""
        with self._guard:
            self._spoil.clear()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = None
        with contextlib.suppress(OSError), client:
            server = socket.create_connection(self._server)
            # One request and its answer at a time, as HTTP/1.1 without pipelining does.
            while asked := _message(client):
                way = self._next()
                if way in ("reset", "rubbish", "busy", "hang"):
                    if way == "hang":
                        time.sleep(0.5)
                    client.sendall({"rubbish": _RUBBISH, "busy": _BUSY}.get(way, b""))
                    break
                server.sendall(asked)
                answer = _message(server)
                if way == "lost_answer":
                    break
                if way == "slow":
                    time.sleep(0.3)
                client.sendall(answer[: len(answer) // 2] if way == "half_answer" else answer)
                if way == "half_answer" or not answer:
                    break
        if server is not None:
            server.close()

    def _next(self) -> str | None:
        with self._guard:
            if not self._spoil:
                return None
            self.struck += 1
            return self._spoil.pop(0)


def _message(sender: socket.socket) -> bytes:
    """Read one whole HTTP message with a Content-Length, or what there is of it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sender.recv(65_536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    chunked = b"transfer-encoding: chunked" in head.lower()
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    while (len(body) < length) if not chunked else not body.endswith(b"0\r\n\r\n"):
        more = sender.recv(65_536)
        if not more:
            break
        body += more
    return head + b"\r\n\r\n" + body
