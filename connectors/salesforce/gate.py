"""The gate that every call goes through: how many are under way, and how much of today's allowance is left.

At most 8 calls are under way (orgs allow 25 that take long, Developer Edition 5, and 8 at 150 ms are 10,000 records a
second). A call of the consent lane goes before all others that wait, and needn't wait for 8 of theirs: it has a ninth
place.

An org's daily allowance belongs to all its programs. We leave a reserve of it: near that wall calls go one by one,
and at the wall the destination waits for the next hour, because the allowance counts the last 24 hours and comes back
by the hour. Where we don't know yet, or not any more, one call goes alone and asks by that.

(App Limits Cheatsheet, "API Request Limits and Allocations"; REST API Developer Guide, "Limit Info Header".)
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sync.port import Budget, SuspendedError

#: Calls under way at one time, and the one more for the consent lane.
CALLS = 8
_HOUR = 3600.0
#: Seconds between two calls at the slowest; what takes longer isn't a connector's to wait for.
_SLOWEST = 2.0
#: What was read of the allowance so many seconds ago is asked anew at the wall.
_FRESH = 30.0
_USAGE = re.compile(r"([a-z-]+)=(\d+)/(\d+)")
_DETAIL_NAMES = {"api-bursts": "bursts", "per-app-api-usage": "app"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer said of today's allowance, and when."""

    budget: Budget
    #: Seconds since 1970.
    at: float

    def left(self, reserve: float) -> int:
        """Return how many more calls we may make before the reserve begins."""
        return int(self.budget.limit * (1 - reserve)) - self.budget.used


class Gate:
    """Lets calls of many threads through, and keeps a reserve of the day's calls for the org's other users."""

    def __init__(self, reserve: float, clock: Callable[[], float] = time.time) -> None:
        self._reserve, self._clock = reserve, clock
        self._lock = threading.Lock()
        # Two queues before one gate; whoever goes through, or comes back, wakes the next one and no more than that.
        self._urgent, self._others = threading.Condition(self._lock), threading.Condition(self._lock)
        self._reading: Reading | None = None
        self._asked = False
        self._busy = self._urgent_busy = self._urgent_waiting = 0
        self._next = 0.0

    @property
    def budget(self) -> Budget | None:
        """Today's use of the API, as the newest answer said; None before the first."""
        reading = self._reading
        if reading is None:
            return None
        most = reading.budget
        kept = most.limit - int(most.limit * (1 - self._reserve))
        return Budget(most.used, most.limit, {**most.details, "reserve": kept})

    def hear(self, header: str) -> None:
        """Take note of an answer's `Sforce-Limit-Info`."""
        budget = read_budget(header)
        if budget is not None and budget.limit > 0:
            with self._lock:
                self._reading = Reading(budget, self._clock())

    @contextmanager
    def call(self, *, urgent: bool = False, asks: bool = False) -> Iterator[None]:
        """Wait for a place, and keep it as long as the call lasts; SuspendedError where the reserve begins.

        A call that only `asks` how things are may be one of the reserve.
        """
        with self._lock:
            if not asks:
                self._wait(urgent)
            self._busy += 1
            self._urgent_busy += urgent
            self._wake_next()
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._urgent_busy -= urgent
                self._asked = True
                self._wake_next()

    def _wait(self, urgent: bool) -> None:
        self._urgent_waiting += urgent
        queue = self._urgent if urgent else self._others
        try:
            while (seconds := self._seconds(urgent)) != 0.0:
                queue.wait(seconds)
        except SuspendedError:
            self._urgent_waiting -= urgent
            self._wake_next()
            raise
        self._urgent_waiting -= urgent

    def _wake_next(self) -> None:
        (self._urgent if self._urgent_waiting else self._others).notify()

    def _seconds(self, urgent: bool) -> float | None:
        """Return how long a call has to wait: not at all (0), so many seconds, or until another ends (None)."""
        place = self._busy < CALLS or (urgent and not self._urgent_busy)
        if not place or (self._urgent_waiting and not urgent) or (self._must_ask() and self._busy):
            return None
        now, reading = self._clock(), self._reading
        if reading is None or self._must_ask():
            return 0.0
        left = reading.left(self._reserve) - self._busy
        if left <= 0:
            if self._busy:
                return None  # what they are told may be better news
            raise at_the_wall(now)
        if now < self._next:
            return self._next - now
        self._next = now + pace(reading.budget, left, self._reserve, now)
        return 0.0

    def _must_ask(self) -> bool:
        """Say whether the allowance isn't known, or not any more where it matters."""
        reading = self._reading
        if reading is None:
            return not self._asked
        return reading.left(self._reserve) <= 0 and self._clock() - reading.at > _FRESH


def pace(budget: Budget, left: int, reserve: float, now: float) -> float:
    """Return the seconds between two calls: none far from the wall, near it what makes them last for the hour."""
    if left > budget.limit * reserve:
        return 0.0
    return min(_SLOWEST, (_HOUR - now % _HOUR) / left)


def at_the_wall(now: float) -> SuspendedError:
    """Return the port's error for the reserve's beginning: the destination waits for the next hour."""
    return SuspendedError(
        "api_reserve",
        "What is left of the org's API calls of the last 24 hours is kept for its other users (`api_reserve`); it goes "
        "on by itself. In Setup, Company Information, see 'API Requests, Last 24 Hours'",
        until=int((now // _HOUR + 1) * _HOUR * 1_000_000),
    )


def read_budget(header: str) -> Budget | None:
    """Read `Sforce-Limit-Info`: `api-usage=25/5000; api-bursts=1/750; per-app-api-usage=17/250(appName=x)`."""
    shares = {name: (int(used), int(limit)) for name, used, limit in _USAGE.findall(header)}
    if "api-usage" not in shares:
        return None
    used, limit = shares["api-usage"]
    details = {}
    for name, word in _DETAIL_NAMES.items():
        if name in shares:
            details[f"{word}_used"], details[f"{word}_limit"] = shares[name]
    return Budget(used, limit, details)
