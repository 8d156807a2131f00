"""How HTTP is spoken: uvicorn on a loop and a parser in C, with a limit to what a request's head may take."""

from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes of a request that may come in without one that ends its head, or belongs to its body.
HEAD_BYTES = 65_536


def http_server(app: Any, *, shutdown_seconds: float) -> uvicorn.Server:
    """Return the server of an ASGI application; on a signal, requests at work get so many seconds to end."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Bounded,
            log_config=None,
            access_log=False,  # its lines hold query strings, and with them numbers
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=max(1, round(shutdown_seconds)),
        )
    )


class Bounded(HttpToolsProtocol):
    """HTTP/1.1 as llhttp reads it, which keeps a head without end until memory is full: this refuses it."""

    _unparsed = 0

    def data_received(self, data: bytes) -> None:
        """Take what came in from the socket."""
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        """Begin with what was asked for: its head is whole."""
        self._unparsed = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, whose size the application limits."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; the next one's head begins here."""
        self._unparsed = 0
        super().on_message_complete()
