"""What holds an archive's files: a directory, a bucket with Object Lock, or an SFTP server.

Names are relative, `acme/consent/….segment.jsonl`, and a file that is there is never written again. Every method
raises TransientError where the store is away or full, and SuspendedError where it refuses us.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

from connectors.archive.flaws import Cause
from consent.canonical import canonical
from sync.port import Finding

#: Changes whenever a file of a folder comes or goes.
Stamp = tuple[int, ...]

#: What stands in the file that makes a place an archive.
MARK = canonical({"format": "assent-archive/1"}) + b"\n"


class Blemish(NamedTuple):
    """What a store knows of a file that its bytes don't say."""

    name: str
    cause: Cause
    problem: str


class Protection(NamedTuple):
    """How a file is to be kept from deletion."""

    until: datetime
    #: Whether it is under a legal hold, whatever the time.
    held: bool


class Store(Protocol):
    """A place for write-once files."""

    def prepare(self) -> None:
        """Make the archive. Only where nothing was ever delivered to it: later it is an outage."""
        ...

    def make(self, folder: str, /) -> None:
        """Make a folder, if it isn't there; TransientError where the archive itself is missing."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write a file, whole and durable; False where one of this name is there already, which stays as it is."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        ...

    def head(self, name: str) -> bytes:
        """Return a file's first line, without its end."""
        ...

    def size(self, name: str) -> int:
        """Return a file's size in bytes."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; none where the archive has no such folder."""
        ...

    def names_unmarked(self, folder: str = "") -> list[str]:
        """Return the names in a folder, sorted, be this marked as an archive or not."""
        ...

    def is_marked(self) -> bool:
        """Say whether the file that makes this place an archive is there, as written."""
        ...

    def is_folder(self, name: str) -> bool:
        """Say whether a name is a folder."""
        ...

    def stamp(self, folder: str) -> Stamp:
        """Return what changes whenever a file of this folder comes or goes."""
        ...

    def sweep(self, folder: str, /) -> None:
        """Remove what crashes left of writes, an hour and more ago."""
        ...

    def locked(self, folder: str, /) -> AbstractContextManager[None]:
        """Be the only writer of a folder meanwhile, as far as this store can see to that."""
        ...

    def hold(self, folder: str, /) -> Callable[[], None]:
        """Say that somebody is at work in a folder, until the answer is called."""
        ...

    def in_use(self, folder: str, /) -> bool:
        """Say whether somebody is known to be at work in a folder."""
        ...

    def check(self) -> Sequence[Finding]:
        """Look whether the store takes files as we write them."""
        ...

    def blemishes(self, folder: str, /) -> Iterator[Blemish]:
        """Give what the store itself knows to be wrong with files of a folder."""
        ...

    def lacking(self, name: str, /) -> Container[str]:
        """Return the entries (by id) of a segment that the archive, by its own word or silence, did not take."""
        ...

    @property
    def locks(self) -> bool:
        """Say whether this store can lock files against deletion, and hold them."""
        ...

    def protect(self, name: str, wanted: Protection, /) -> bool:
        """Lock a file as long as is wanted at least, set or lift its hold; say whether anything was changed.

        A lock is never shortened.
        """
        ...

    def shut(self) -> None:
        """Let go of connections."""
        ...
