"""A relay in front of a server of this machine: real sockets, cut after so many bytes, or closed to everybody."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Wire:
    """Carries connections to a port until it is told otherwise; `port` is where it listens."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        self._away = False
        #: Bytes toward the server after which everything is cut; None never.
        self._sent_until: int | None = None
        #: Every connection is cut when its next answer begins to come.
        self._deaf = 0
        #: How many connections were cut, and what went to the server: bytes, and pieces as they were read.
        self.cuts = 0
        self.sent = 0
        self.pieces = 0
        #: Pieces toward the server before which everything is cut; None never.
        self._pieces_until: int | None = None
        self._asked: Callable[[bytes], bool] | None = None
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Hang up on everybody, and take nobody, meanwhile."""
        self._away = True
        self._hang_up()
        try:
            yield
        finally:
            self._away = False

    def cut_after(self, sent: int) -> None:
        """Cut once so many bytes went to the server from now on; then carry on as before."""
        with self._guard:
            self._sent_until = sent

    def cut_before(self, piece: int) -> None:
        """Cut once instead of carrying the n-th piece to the server from now on, counted from 1."""
        with self._guard:
            self._pieces_until = piece

    def cut_where(self, asked: Callable[[bytes], bool] | None) -> None:
        """Cut instead of carrying a piece to the server of which `asked` says so; of each it is asked once."""
        with self._guard:
            self._asked = asked

    def swallow_answers(self, times: int) -> None:
        """Cut the next connections when a server's answer to a large request begins to come."""
        self._deaf = times

    def close(self) -> None:
        self._away = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._hang_up()

    def _hang_up(self) -> None:
        with self._guard:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                asking, _ = self._listening.accept()
            except OSError:
                return
            if self._away:
                asking.close()
                continue
            try:
                answering = socket.create_connection(self._to, 10)
            except OSError:
                asking.close()
                continue
            answering.settimeout(None)
            for one in (asking, answering):
                # Else each small packet waits for the acknowledgement of the one before.
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._guard:
                self._open |= {asking, answering}
            sent = [0]
            threading.Thread(target=self._carry, args=(asking, answering, sent, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(answering, asking, sent, False), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, sent: list[int], to_server: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if to_server:
                    sent[0] += len(data)
                    if self._is_cut(data):
                        break
                elif self._is_swallowed(sent):
                    break
                target.sendall(data)
        with self._guard:
            self._open -= {source, target}
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            if one is source:
                one.close()

    def _is_cut(self, piece: bytes) -> bool:
        with self._guard:
            sent = len(piece)
            self.sent += sent
            self.pieces += 1
            if self._asked is not None and self._asked(piece):
                self.cuts += 1
                return True
            if self._pieces_until is not None:
                self._pieces_until -= 1
                if self._pieces_until == 0:
                    self._pieces_until = None
                    self.cuts += 1
                    return True
            if self._sent_until is None:
                return False
            self._sent_until -= sent
            if self._sent_until > 0:
                return False
            self._sent_until = None
            self.cuts += 1
            return True

    def _is_swallowed(self, sent: list[int]) -> bool:
        with self._guard:
            large, sent[0] = sent[0] > 2_000, 0
            if not self._deaf or not large:
                return False
            self._deaf -= 1
            self.cuts += 1
            return True
