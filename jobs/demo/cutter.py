"""A relay in front of a server of this machine that can cut connections: real sockets, closed at the worst moment."""

import select
import socket
import struct
import threading
from contextlib import suppress

_BLOCK = 65_536
_LOOK = 0.1
#: Close with a reset, without a goodbye.
_RESET = struct.pack("ii", 1, 0)


class Cutter:
    """Relays every connection to a port; while `cutting`, each ends when its answer begins to come.

    So the server has done what it was asked, and whoever asked can't know.
    """

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self.cutting = False
        #: Connections that were cut.
        self.cuts = 0
        self._closed = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listening.settimeout(_LOOK)
        self._relays: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="cutter", daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> None:
        """End every connection, and stop listening."""
        self._closed.set()
        self._accepting.join()
        self._listening.close()
        for relay in self._relays:
            relay.join(1.0)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                asking, _ = self._listening.accept()
            except TimeoutError:
                continue
            relay = threading.Thread(target=self._relay, args=(asking,), name="relay", daemon=True)
            self._relays.append(relay)
            relay.start()

    def _relay(self, asking: socket.socket) -> None:
        with asking, suppress(OSError), socket.create_connection(self._to) as answering:
            asking.settimeout(None)
            for one in (asking, answering):
                # Head and body come in two pieces: the second mustn't wait until the first is acknowledged.
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self._closed.is_set():
                readable, _, _ = select.select([asking, answering], [], [], _LOOK)
                for one in readable:
                    data = one.recv(_BLOCK)
                    if not data:
                        return
                    if one is answering and self.cutting:
                        self.cuts += 1
                        asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                        return
                    (asking if one is answering else answering).sendall(data)
