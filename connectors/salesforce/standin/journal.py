"""The journal: which requests came, never what was in them."""

import threading
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, replace

_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Line:
    """One request that was answered, or left without an answer."""

    n: int
    #: Seconds since 1970.
    at: float
    method: str
    #: Without the query string.
    path: str
    route: str
    #: Rows in the request, or in a query's answer.
    rows: int
    #: HTTP status; 0 where no whole answer went out.
    status: int
    #: From the last byte of the request to the first of the answer.
    seconds: float
    #: Id of the fault that struck it.
    fault: int | None


class Journal:
    """The newest hundred thousand requests, and counts of all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._lines: deque[Line] = deque(maxlen=_KEPT)
            self._routes: Counter[str] = Counter()
            self._statuses: Counter[str] = Counter()
            self._rows: Counter[str] = Counter()
            self._n = self._connections = self._in_flight = self._most_in_flight = 0

    def connect(self) -> None:
        with self._lock:
            self._connections += 1

    def begin(self) -> None:
        with self._lock:
            self._in_flight += 1
            self._most_in_flight = max(self._most_in_flight, self._in_flight)

    def end(self) -> None:
        with self._lock:
            self._in_flight = max(self._in_flight - 1, 0)

    def write(
        self, *, method: str, path: str, route: str, rows: int, status: int, seconds: float, fault: int | None
    ) -> Line:
        with self._lock:
            self._n += 1
            at = time.time()
            line = Line(self._n, at, method, path, route, rows, status, round(seconds, 6), fault)
            self._lines.append(line)
            self._routes[route] += 1
            self._statuses[str(status)] += 1
            self._rows[route] += rows
            return line

    def mark_unanswered(self, line: Line) -> None:
        """Say of a line just written that its answer did not go out whole."""
        with self._lock:
            if line in self._lines:  # unless the journal was cleared since
                self._lines[self._lines.index(line)] = replace(line, status=0)
                self._statuses[str(line.status)] -= 1
                self._statuses["0"] += 1

    def read(self, after: int = 0) -> dict[str, object]:
        """Requests numbered above `after`, with counts since the last reset."""
        with self._lock:
            return {
                "requests": [asdict(each) for each in self._lines if each.n > after],
                "counters": {
                    "requests": self._n,
                    "connections": self._connections,
                    "most_in_flight": self._most_in_flight,
                    "by_route": dict(self._routes),
                    "by_status": dict(self._statuses),
                    "rows": dict(self._rows),
                },
            }
