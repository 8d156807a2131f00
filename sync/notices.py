"""Notices between processes: a commit wakes the workers of other hosts, by PostgreSQL's NOTIFY.

They are sent by a thread of their own after the commit, never inside the append: a NOTIFY in it would queue all
commits of the database behind one lock. A notice that is lost costs nothing but time: polling finds the work. On
SQLite there are no notices; another process on the same machine polls.
"""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

import structlog
from sqlalchemy.exc import DBAPIError

from consent.database import Database, run

log = structlog.get_logger()

_CHANNEL = "assent_committed"
#: Names in one notice: a payload has room for 8,000 bytes, a name for 32.
_NAMES = 200
#: How often a listener looks whether it was told to end, and whether its connection still stands, seconds.
_LOOK = 1.0
_RECONNECT = 1.0


class Announcer:
    """Sends notices; what comes while one is being sent goes with the next."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names: set[str] = set()
        self._more = threading.Condition()
        self._ended = False
        self._thread: threading.Thread | None = None

    def announce(self, organizations: Collection[str]) -> None:
        """Tell other processes that something was committed to these ledgers; returns at once."""
        if not self._database.is_postgres:
            return
        with self._more:
            self._names.update(organizations)
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="announcer", daemon=True)
                self._thread.start()
            self._more.notify()

    def close(self) -> None:
        """Send what is left, and stop."""
        with self._more:
            self._ended = True
            self._more.notify()
        if self._thread is not None:
            self._thread.join()

    def _send_all(self) -> None:
        while names := self._next():
            try:
                with self._database.write() as tx:
                    for at in range(0, len(names), _NAMES):
                        run(tx, f"SELECT pg_notify('{_CHANNEL}', ?)", [",".join(names[at : at + _NAMES])])
            except DBAPIError as error:  # polling finds it
                log.info("notice.not_sent", error=type(error.orig).__name__)

    def _next(self) -> list[str]:
        with self._more:
            self._more.wait_for(lambda: self._names or self._ended)
            names, self._names = sorted(self._names), set()
        return names


class Listener:
    """Hears notices in a thread of its own."""

    def __init__(self, database: Database, heard: Callable[[Collection[str] | None], None]) -> None:
        """Call `heard` with the ledgers' names, and with None where notices may have been missed."""
        self._database, self._heard = database, heard
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        if database.is_postgres:
            self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Hear nothing more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(2 * _LOOK)

    def _listen(self) -> None:
        while not self._ended.is_set():
            # Whatever the driver raises, the connection is gone: another one is opened, and polling goes on meanwhile.
            with suppress(Exception):
                for names in self._notices():
                    self._heard(names)
            self._ended.wait(_RECONNECT)

    def _notices(self) -> Iterator[Collection[str] | None]:
        connection = self._database.engine.raw_connection()
        connection.detach()  # it listens: nobody else may get it from the pool
        try:
            driver = connection.driver_connection
            if driver is None:
                return
            driver.autocommit = True
            driver.execute(f"LISTEN {_CHANNEL}")
            yield None
            while not self._ended.is_set():
                for notice in driver.notifies(timeout=_LOOK):
                    yield notice.payload.split(",")
                    if self._ended.is_set():
                        return
        finally:
            connection.close()
