"""What the clock starts and what may take its time: one thread does it, one thing after another."""

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from jobs.exits import Problem
from sync.port import SuspendedError, TransientError

log = structlog.get_logger()


class Upkeep:
    """A thread that does what it is woken for; woken for the same twice before it begins, it does it once."""

    def __init__(self, work: Mapping[str, Callable[[threading.Event], object]]) -> None:
        """`work` by name; each is given an event that says when to stop."""
        self._work = work
        self._asked: list[str] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        #: Since when it does one thing, on the monotonic clock; None while it rests.
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def wake(self, name: str) -> None:
        """Do this, after what was asked for before."""
        with self._changed:
            if name not in self._asked:
                self._asked.append(name)
            self._changed.notify()

    def end(self, seconds: float) -> None:
        """Stop as soon as what is at hand allows it."""
        self._stop.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(seconds)

    def busy_seconds(self) -> float:
        """Return how long it has been at what it does; 0 while it rests."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked or self._stop.is_set())
                if self._stop.is_set():
                    return
                name = self._asked.pop(0)
            self._busy_since = time.monotonic()
            self._do(name)
            self._busy_since = None

    def _do(self, name: str) -> None:
        try:
            self._work[name](self._stop)
        except Problem as problem:  # another host is at it
            log.info("upkeep.left", work=name, reason=str(problem))
        except (TransientError, SuspendedError) as error:
            log.warning("upkeep.unreachable", work=name, code=error.code, advice=error.advice)
        except Exception:
            log.exception("upkeep.failed", work=name)
