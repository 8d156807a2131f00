"""Telling a running stand-in how to behave, and asking what it saw."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode


class ControlError(Exception):
    """The stand-in did not take the call; the message says why."""


class Control:
    """A client of the control address, on the standard library alone."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        # The address is on this machine: a proxy in the environment has no part in it.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def arm(self, **fault: Any) -> int:
        """Arm one fault and return its id, as in `arm(route="collections", nth=3, status=503, times=2)`.

        Raises: ControlError for an unknown key, and where nothing would happen.
        """
        armed: list[int] = self._call("POST", "/faults", fault)["armed"]
        return armed[0]

    def struck(self, fault: int | None = None) -> int:
        """How often this fault struck, or all of them together."""
        return sum(each["struck"] for each in self.faults() if fault in {None, each["id"]})

    def faults(self) -> list[dict[str, Any]]:
        """Everything armed, with how many requests each has `seen` and `struck`."""
        listed: list[dict[str, Any]] = self._call("GET", "/faults")["faults"]
        return listed

    def disarm(self) -> None:
        """Forget every fault."""
        self._call("DELETE", "/faults")

    def journal(self, after: int = 0) -> dict[str, Any]:
        """The requests numbered above `after`, and counts of all.

        `{"requests": [{"n", "at", "method", "path", "route", "rows", "status", "seconds", "fault"}], "counters"}`
        """
        return self._call("GET", f"/journal?after={after}")

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Change settings (latency_seconds, quota_limit, …), and return them all."""
        return self._call("PATCH", "/settings", changes) if changes else self._call("GET", "/settings")

    def expire_sessions(self) -> None:
        """End every session: the next request of each client meets INVALID_SESSION_ID."""
        self._call("POST", "/sessions/expire")

    def reset(self, *, rows: bool = False) -> None:
        """Faults, journal and settings as at the start, and no record left where `rows`."""
        self._call("POST", "/reset", {"rows": rows})

    def counts(self) -> dict[str, int]:
        """How many records each custom object holds."""
        counted: dict[str, int] = self._call("GET", "/rows")["rows"]
        return counted

    def rows(self, object_name: str) -> Iterator[dict[str, Any]]:
        """Every record as it is stored (times as whole seconds since 1970), without spending API calls."""
        after: int | None = 0
        while after is not None:
            page = self._call("GET", f"/rows/{quote(object_name)}?after={after}")
            yield from page["rows"]
            after = page["next"]

    def change(self, object_name: str, field: str, value: str, **changes: Any) -> int:
        """Change records past every rule, as an almighty admin might; returns how many there were."""
        changed: int = self._call("PATCH", f"/rows/{quote(object_name)}?{_where(field, value)}", changes)["rows"]
        return changed

    def delete(self, object_name: str, field: str, value: str) -> int:
        """Delete records; returns how many there were."""
        deleted: int = self._call("DELETE", f"/rows/{quote(object_name)}?{_where(field, value)}")["rows"]
        return deleted

    def _call(self, method: str, path: str, content: object = None) -> dict[str, Any]:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.url + path, data=body, method=method)  # noqa: S310 - our own http address
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            with error:
                raise ControlError(json.load(error).get("error", "")) from None


def _where(field: str, value: str) -> str:
    return urlencode({"field": field, "value": value})
