"""Stands between psycopg and PostgreSQL, and cuts the connection at a COMMIT: before the server hears it, or after."""

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path

_COMMIT = b"COMMIT\x00"


class Cutter:
    """A socket that carries everything to the server, until it is told to cut."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._place = Path(tempfile.mkdtemp(prefix="cut-"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._place / ".s.PGSQL.5432"))
        self._listener.listen(64)
        self._guard = threading.Lock()
        self._cuts: list[str] = []
        #: How many commits were cut.
        self.done = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, straight: str) -> str:
        """Return a database's URL through here."""
        return f"{straight.partition('?')[0]}?host={self._place}"

    def cut(self, *when: str) -> None:
        """Cut the next commits, `before` the server hears of each or `after`."""
        with self._guard:
            self._cuts.extend(when)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self._place)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server))
            mute = threading.Event()
            threading.Thread(target=self._answer, args=(server, client, mute), daemon=True).start()
            threading.Thread(target=self._ask, args=(client, server, mute), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                when = self._next(data)
                if when == "before":
                    break
                if when == "after":
                    mute.set()  # the server does its work; nobody hears of it
                server.sendall(data)
        if not mute.is_set():
            _close(client, server)

    def _next(self, data: bytes) -> str | None:
        with self._guard:
            if _COMMIT not in data or not self._cuts:
                return None
            self.done += 1
            return self._cuts.pop(0)

    def _answer(self, server: socket.socket, client: socket.socket, mute: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if mute.is_set():
                    break
                client.sendall(data)
        _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
