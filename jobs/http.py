"""How HTTP is spoken: uvicorn on a loop and a parser in C, with a limit to what a request's head may take."""

from typing import Any

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes of a request that may come in without one that ends its head, or belongs to its body.
HEAD_BYTES = 65_536

log = structlog.get_logger()


def http_server(app: Any, *, shutdown_seconds: float) -> uvicorn.Server:
    """Return the server of an ASGI application; on a signal, requests at work get so many seconds to end."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Bounded,
            ws="none",  # whichever library for it is installed: they log query strings, too
            log_config=None,
            access_log=False,  # its lines hold query strings, and with them numbers
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=max(1, round(shutdown_seconds)),
        )
    )


class Bounded(HttpToolsProtocol):
    """HTTP/1.1 as llhttp reads it, but for two things.

    llhttp keeps a head without end until memory is full: that is refused. And it takes a request that offers another
    protocol (`Upgrade: h2c`, as Java's client and `curl --http2` do with each) for one without a body, and its body for
    the next request: such a one is read again without the offer, which a server may ignore (RFC 9110, 7.8).
    """

    _unparsed = 0

    def data_received(self, data: bytes) -> None:
        """Take what came in from the socket."""
        self._unparsed += len(data)
        self._unset_keepalive_if_required()
        try:
            self._read(data)
        except httptools.HttpParserError:
            self._refuse("Invalid HTTP request received.")
        else:
            if self._unparsed > HEAD_BYTES:
                self._refuse(f"The head of a request has at most {HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        """Begin with what was asked for: its head is whole."""
        self._unparsed = 0
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, whose size the application limits."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; the next one's head begins here."""
        self._unparsed = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _read(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_offer() + data[upgrade.args[0] :]
                # A new one, as uvicorn makes it: the other may take the connection for closed.
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            else:
                return

    def _head_without_offer(self) -> bytes:
        method = self.parser.get_method()
        if method == b"CONNECT":  # offers nothing: it wants a tunnel
            raise httptools.HttpParserInvalidMethodError("no tunnel here")
        headers = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        version = self.parser.get_http_version().encode()
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, headers)

    def _refuse(self, why: str) -> None:
        if not self.transport.is_closing():
            log.info("request.unreadable", advice=why)
            self.send_400_response(why)
