"""How HTTP is spoken: uvicorn, on a loop in C."""

from typing import Any

import uvicorn


def http_server(app: Any, *, shutdown_seconds: float) -> uvicorn.Server:
    """Return the server of an ASGI application; on a signal, requests at work get so many seconds to end."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",  # also where httptools is installed; the README of this folder says why
            ws="none",  # whichever library for it is installed: they log query strings, too
            log_config=None,
            access_log=False,  # its lines hold query strings, and with them numbers
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=max(1, round(shutdown_seconds)),
        )
    )
