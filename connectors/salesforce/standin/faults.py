"""Faults: what someone armed over the control address, and when it strikes.

An arming that names an unknown key, or nothing to do, is refused: a fault that arms nothing proves nothing.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from connectors.salesforce.standin.answers import RowError

#: Routes that a fault can wait at; `rest` is all but the token's, `any` is all.
ROUTES = frozenset(
    {"any", "rest", "token", "versions", "resources", "limits", "objects", "describe", "collections", "composite"}
    | {"row", "query", "metadata"}
)
_WHENS = {"before", "after"}


class FaultError(Exception):
    """The arming can't be understood; the message says which key."""


@dataclass(slots=True)
class Fault:
    """One armed fault. Exactly one of the members after `times` says what it does."""

    id: int
    #: Where it waits.
    route: str = "any"
    #: It strikes from the n-th such request on, counted from its arming.
    nth: int = 1
    #: How many requests it strikes; 0 for every one until it is disarmed.
    times: int = 1

    #: Answer with this HTTP status, and `errorCode`, `message`, `headers` beside it.
    status: int | None = None
    #: Cut the connection `before` the work is done, or `after` it is committed and before it is answered.
    cut: str | None = None
    #: Never answer: the work is not done (`before`), or is (`after`).
    mute: str | None = None
    #: Commit, send half of the answer's body, cut.
    half: bool | None = None
    #: Commit, and send an answer that says gzip and is none.
    gzip_broken: bool | None = None
    #: Answer so many seconds later than otherwise.
    latency_seconds: float | None = None
    #: End all sessions, so that this request and the others meet INVALID_SESSION_ID.
    expire_sessions: bool | None = None
    #: Refuse one row: `{"key"?, "statusCode", "message"?, "fields"?}`; without a key, any row.
    row: Mapping[str, Any] | None = None
    #: `cut` the n-th new connection before the TLS handshake, or answer it with `garbage`.
    tls: str | None = None

    # Beside `status`:
    errorCode: str | None = None  # noqa: N815 - as the API spells it
    message: str | None = None
    headers: Mapping[str, str] | None = None
    #: `after`: the work is committed first, and the error is a lie about it.
    when: str | None = None
    #: A page of HTML as the body, as the edge in front of an org sends it.
    html: bool | None = None
    #: For the token's route: the body's `error` and `error_description`.
    error: str | None = None
    error_description: str | None = None

    #: Requests (rows, connections) that it might have struck, and those that it did.
    seen: int = 0
    struck: int = field(default=0)

    def shown(self) -> dict[str, object]:
        return {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) is not None}

    def due(self) -> bool:
        """Count one request, and say whether it is struck."""
        self.seen += 1
        if self.seen < self.nth or (self.times and self.struck >= self.times):
            return False
        self.struck += 1
        return True


_ACTIONS = ("status", "cut", "mute", "half", "gzip_broken", "latency_seconds", "expire_sessions", "row", "tls")
_BESIDE_STATUS = ("errorCode", "message", "headers", "when", "html", "error", "error_description")
_KEYS = {"route", "nth", "times", *_ACTIONS, *_BESIDE_STATUS}
_ROW_KEYS = {"key", "statusCode", "message", "fields"}
_TYPES: Mapping[type, tuple[str, ...]] = {
    bool: ("half", "gzip_broken", "expire_sessions", "html"),
    str: ("errorCode", "message", "error", "error_description"),
    dict: ("headers",),
}


class Faults:
    """All that is armed now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Fault] = []
        self._last = 0

    def arm(self, wanted: Sequence[Mapping[str, Any]]) -> list[Fault]:
        """Arm faults, all of them or none.

        Raises: FaultError for an unknown key or value, or where there is not exactly one thing to do.
        """
        if not wanted:
            raise FaultError("an empty list arms nothing")
        for each in wanted:
            _check(each)
        with self._lock:
            armed = [Fault(self._last + n, **each) for n, each in enumerate(wanted, 1)]
            self._last += len(armed)
            self._armed += armed
            return armed

    def disarm(self) -> None:
        with self._lock:
            self._armed.clear()

    def all(self) -> list[dict[str, object]]:
        with self._lock:
            return [each.shown() for each in self._armed]

    def strike(self, route: str) -> list[Fault]:
        """The faults that this request meets: latencies, and at most one other."""
        with self._lock:
            struck: list[Fault] = []
            for each in self._armed:
                if each.row is not None or each.tls is not None or not _waits_at(each.route, route):
                    continue
                if each.latency_seconds is None and any(other.latency_seconds is None for other in struck):
                    each.seen += 1  # it counts the request, and strikes the next one
                elif each.due():
                    struck.append(each)
            return struck

    def strike_row(self, key: str) -> RowError | None:
        """The error that a row meets, or None."""
        with self._lock:
            for each in self._armed:
                if each.row is not None and each.row.get("key", key) == key and each.due():
                    return RowError(
                        each.row["statusCode"], each.row.get("message", ""), tuple(each.row.get("fields", ()))
                    )
        return None

    def strike_connection(self) -> Fault | None:
        """The fault that a new connection meets, or None."""
        with self._lock:
            return next((each for each in self._armed if each.tls is not None and each.due()), None)


def _waits_at(place: str, route: str) -> bool:
    return place in ("any", route) or (place == "rest" and route != "token")


def _check(wanted: object) -> None:
    if not isinstance(wanted, dict):
        raise FaultError("a fault is an object")
    unknown = sorted(set(wanted) - _KEYS)
    if unknown:
        raise FaultError(f"unknown keys: {', '.join(unknown)}; known are {', '.join(sorted(_KEYS))}")
    actions = [each for each in _ACTIONS if wanted.get(each) not in (None, False)]
    if len(actions) != 1:
        raise FaultError(f"name exactly one of {', '.join(_ACTIONS)}; given: {', '.join(actions) or 'none'}")
    beside = [each for each in _BESIDE_STATUS if each in wanted]
    if beside and actions != ["status"]:
        raise FaultError(f"{', '.join(beside)} only go with status")
    if wanted.get("route", "any") not in ROUTES:
        raise FaultError(f"route is one of {', '.join(sorted(ROUTES))}")
    if "route" in wanted and actions[0] in {"row", "tls"}:
        raise FaultError(f"{actions[0]} takes no route")
    _check_values(wanted)
    _check_row(wanted.get("row"))


def _check_values(wanted: Mapping[str, Any]) -> None:
    for name, lowest in (("nth", 1), ("times", 0), ("status", 100)):
        value = wanted.get(name, lowest)
        if type(value) is not int or value < lowest:
            raise FaultError(f"{name} is a whole number from {lowest} on")
    for name, choices in (("cut", _WHENS), ("mute", _WHENS), ("when", _WHENS), ("tls", {"cut", "garbage"})):
        if wanted.get(name) is not None and wanted[name] not in choices:
            raise FaultError(f"{name} is one of {', '.join(sorted(choices))}")
    latency = wanted.get("latency_seconds", 0)
    if isinstance(latency, bool) or not isinstance(latency, (int, float)) or latency < 0:
        raise FaultError("latency_seconds is a number of seconds")


def _check_row(row: object) -> None:
    if row is None:
        return
    if not isinstance(row, dict) or "statusCode" not in row or set(row) - _ROW_KEYS:
        raise FaultError(f"row is an object of {', '.join(sorted(_ROW_KEYS))}, statusCode among them")
    texts = [row.get(name, "") for name in ("key", "statusCode", "message")]
    names = row.get("fields", [])
    if not isinstance(names, list) or not all(isinstance(each, str) for each in [*texts, *names]):
        raise FaultError("a row's key, statusCode and message are texts, its fields a list of names")
