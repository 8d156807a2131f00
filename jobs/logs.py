"""Logs: one JSON object a line on stderr, without a number, a name, a text or a secret in it.

Events name keys (`destination`, `organization`, an entry's id); who and what stays in the ledger. The
redaction below is the second line of defence: for a key that shouldn't have been logged, and for
libraries that quote what they were given.
"""

import logging
import re
import sys
import warnings
from collections.abc import Mapping
from typing import Any, TextIO

import orjson
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

REDACTED = "[redacted]"

_PERSONAL = frozenset((
    "contact", "line", "employee", "employee_id", "employee_name", "contact_name", "name", "text", "raw", "media",
    "note", "value", "values", "body", "message", "message_id", "phone", "recipients", "group", "from", "to",
    "caption", "query", "secret", "token", "password", "authorization", "private_key", "client_secret", "assertion",
    "cookie", "parameters", "params",
))  # fmt: skip
#: Numbers as people and providers write them: with a plus (also URL-encoded), as a bare run of digits, in US groups.
#: An entry's id ends in twelve digits behind a `-`, and stays.
_NUMBERS = re.compile(
    r"(?:\+|%2[Bb])\d{7,15}|(?<![\w.-])\d{10,15}(?![\w.])|\(?\b\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b", re.ASCII
)
#: Messages of these packages say what to do and hold nothing personal; other libraries quote what they were given.
_OURS = ("consent", "sync", "connectors", "jobs")


class DatabaseOutage:
    """The database away for a part of this process: warned of when it starts and when it is over, however often met."""

    def __init__(self, part: str, **keys: str) -> None:
        self._part, self._keys, self._lasts = part, keys, False

    def met(self, error: Exception) -> None:
        """Note that the database was away."""
        if not self._lasts:
            structlog.get_logger().warning(f"{self._part}.database_away", **self._keys, error=type(error).__name__)
        self._lasts = True

    def over(self) -> None:
        """Note that the database was there."""
        if self._lasts:
            structlog.get_logger().warning(f"{self._part}.database_back", **self._keys)
        self._lasts = False


def configure_logs(level: str = "info", stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's records as JSON lines to `stream` (stderr)."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        # A test, or `serve` after its settings are read, configures anew.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_exceptions),
                redact,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for noisy in ("uvicorn.access", "apscheduler", "urllib3", "alembic"):
        # Access lines hold the query string, and with it numbers.
        logging.getLogger(noisy).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(True)
    warnings.simplefilter("default")


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank what may be personal or secret: by its key at any depth, and numbers in any string."""
    return {key: _clean(key, value) for key, value in event.items()}


def _clean(key: str, value: Any) -> Any:
    if key.lower() in _PERSONAL and value is not None:
        return REDACTED
    if isinstance(value, str):
        return _NUMBERS.sub(REDACTED, value) if any(map(str.isdigit, value)) else value
    if isinstance(value, Mapping):
        return {str(inner): _clean(str(inner), held) for inner, held in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", held) for held in value]
    if isinstance(value, int | float | bool) or value is None:
        return value
    return _NUMBERS.sub(REDACTED, str(value))


class _Exceptions:
    """Tell an exception by its type and where it was raised, and by its words only if they are ours."""

    def __init__(self) -> None:
        # Frames would print local variables, numbers and texts among them.
        self._told = ExceptionDictTransformer(show_locals=False, max_frames=20)

    def __call__(self, exc_info: ExcInfo) -> Any:
        ours = _chain(exc_info[1])
        stacks = self._told(exc_info)
        for stack in stacks:
            stack["exc_value"] = ours.get((stack["exc_type"], stack["exc_value"]), "")
            stack["frames"] = [f"{frame['filename']}:{frame['lineno']} {frame['name']}" for frame in stack["frames"]]
            stack.pop("exc_notes", None)
            stack.pop("exceptions", None)
        return stacks


_exceptions = _Exceptions()


def _chain(error: BaseException | None) -> dict[tuple[str, str], str]:
    """Return the messages that may be shown, of an exception and its causes, by (type, message)."""
    shown = {}
    while error is not None:
        if type(error).__module__.split(".")[0] in _OURS:
            shown[(type(error).__name__, str(error))] = str(error)
        error = error.__cause__ or error.__context__
    return shown


def _dumps(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
