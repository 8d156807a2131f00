"""What a remote store holds, folder by folder, remembered for a few seconds: a listing costs a round trip a page."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from connectors.archive.store import Stamp

Fact = TypeVar("Fact")

#: Seconds. Far below a lease: a process that slept while another took its place looks again before it writes.
_TRUSTED = 5.0


class Listings(Generic[Fact]):
    """By folder: each name with what the store says of it. `look` asks the store."""

    def __init__(self, look: Callable[[str], dict[str, Fact]]) -> None:
        self._look, self._lock = look, threading.Lock()
        #: When it was looked at, how often it was found changed, and what was found.
        self._seen: dict[str, tuple[float, int, dict[str, Fact]]] = {}

    def fresh(self, folder: str) -> Mapping[str, Fact]:
        """Ask the store now."""
        at, found = time.monotonic(), self._look(folder)
        with self._lock:
            _, changes, before = self._seen.get(folder, (0.0, 0, {}))
            self._seen[folder] = at, changes + (found != before), found
        return found

    def trusted(self, folder: str) -> Mapping[str, Fact]:
        """Return what was found a moment ago, or ask."""
        seen = self._seen.get(folder)
        return self.fresh(folder) if seen is None or time.monotonic() - seen[0] > _TRUSTED else seen[2]

    def add(self, folder: str, name: str, fact: Fact) -> None:
        """Take note of a file that we just wrote."""
        with self._lock:
            at, changes, found = self._seen.get(folder, (0.0, 0, {}))
            self._seen[folder] = at, changes + 1, found | {name: fact}

    def forget(self, folder: str) -> None:
        """Ask next time."""
        with self._lock:
            if folder in self._seen:
                _, changes, found = self._seen[folder]
                self._seen[folder] = 0.0, changes, found

    def stamp(self, folder: str) -> Stamp:
        """Return what changes whenever the folder was found changed."""
        self.trusted(folder)
        return (self._seen[folder][1],)
