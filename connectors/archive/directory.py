"""The directory transport: files that are created once, whole and durable, and never written again.

A file is written under a temporary name, brought to disk (fsync), and linked under its own name, which
fails if that exists: so a crash at any step leaves either no file of that name or the whole of it, and two
writers can't overwrite each other. Plain `rename` would replace the other's file without a word.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from connectors.archive.names import MARKER, is_part, part_name
from connectors.archive.store import MARK, Blemish, Protection, Stamp
from sync.port import Finding, SuspendedError, TransientError

#: A write that takes longer than this, in seconds, is a dead one.
_PART_LIFE = 3600


class Directory:
    """A write-once archive under one directory. See `Store` for what each method promises."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the archive's directory. Only for one that nothing was ever delivered to: later it is an outage."""
        with _translated():
            self._make(self.root)
            if not (self.root / MARKER).exists():
                self._create(self.root / MARKER, MARK)

    def be_there(self) -> None:
        """Raise TransientError where the directory is missing, or isn't an archive (an empty mount point)."""
        with _translated():
            (self.root / MARKER).stat()

    def make(self, folder: str) -> None:
        """Make a folder in the archive, if it isn't there."""
        self.be_there()
        with _translated():
            self._make(self.root / folder)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file, whole and durable; False where one of this name is there already, which stays as it is."""
        self.be_there()
        with _translated():
            return self._create(self.root / name, data)

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        with _translated():
            return (self.root / name).read_bytes()

    def head(self, name: str) -> bytes:
        """Return a file's first line, without its end."""
        with _translated(), (self.root / name).open("rb") as file:
            return file.readline().removesuffix(b"\n")

    def size(self, name: str) -> int:
        """Return a file's size in bytes."""
        with _translated():
            return (self.root / name).stat().st_size

    def is_marked(self) -> bool:
        """Say whether the file that makes this directory an archive is there, as written."""
        try:
            return (self.root / MARKER).read_bytes() == MARK
        except FileNotFoundError:
            return False

    def names_unmarked(self, folder: str = "") -> list[str]:
        """Return the names in a folder, sorted, be this marked as an archive or not."""
        with _translated():
            return sorted(path.name for path in (self.root / folder).iterdir())

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; none where the archive has no such folder."""
        self.be_there()
        with _translated():
            try:
                return sorted(path.name for path in (self.root / folder).iterdir())
            except FileNotFoundError:
                return []

    def is_folder(self, name: str) -> bool:
        """Say whether a name in the archive is a folder."""
        return (self.root / name).is_dir()

    def stamp(self, folder: str) -> Stamp:
        """Return what changes whenever a file of this folder comes or goes, or the folder is another."""
        with _translated():
            found = (self.root / folder).stat()
            return found.st_dev, found.st_ino, found.st_mtime_ns

    def sweep(self, folder: str) -> None:
        """Remove what crashes left of writes, an hour and more ago."""
        for name in self.names(folder):
            if is_part(name):
                path = self.root / folder / name
                with suppress(OSError):  # another process sweeps too, or it's a folder of that name
                    if time.time() - path.stat().st_mtime > _PART_LIFE:
                        path.unlink()

    @contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        """Be the only writer of a folder on this machine meanwhile; a killed one frees it."""
        release = self.hold(folder, fcntl.LOCK_EX)
        try:
            yield
        finally:
            release()

    def hold(self, folder: str, kind: int = fcntl.LOCK_SH) -> Callable[[], None]:
        """Lock a folder until the answer is called: shared says that somebody is at work in it."""
        with _translated():
            folder_fd = os.open(self.root / folder, os.O_RDONLY | os.O_DIRECTORY)
        # Some network file systems have no such locks. The lease keeps writers apart, this is the second bolt.
        with suppress(OSError):
            fcntl.flock(folder_fd, kind)
        return lambda: os.close(folder_fd)

    def in_use(self, folder: str) -> bool:
        """Say whether somebody on this machine is at work in a folder."""
        with _translated():
            folder_fd = os.open(self.root / folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(folder_fd)
        return False

    def check(self) -> list[Finding]:
        """Look whether the directory is there and takes files as we write them."""
        try:
            self.sweep("")
            with _translated():
                probe = self.root / part_name("probe", token_hex(8))
                try:
                    self._create(probe, b"\n")
                finally:
                    probe.unlink(missing_ok=True)
        except (TransientError, SuspendedError) as error:
            return [Finding("directory", ok=False, advice=error.advice)]
        return [Finding("directory", ok=True)]

    def blemishes(self, _folder: str) -> Iterator[Blemish]:
        """Give nothing: a disk knows no more of a file than its bytes."""
        yield from ()

    def lacking(self, _name: str) -> Container[str]:
        """Return nothing: what was written here is here."""
        return ()

    @property
    def locks(self) -> bool:
        """False: a disk knows no locks."""
        return False

    def protect(self, _name: str, _wanted: Protection) -> bool:
        """Do nothing: what is here is kept until whoever runs it disposes of it."""
        return False

    def shut(self) -> None:
        """Nothing is held open."""

    def _make(self, path: Path) -> None:
        if path.is_dir():
            return
        if path != self.root:
            self._make(path.parent)
        with suppress(FileExistsError):
            path.mkdir(mode=0o750, parents=path == self.root)
        _sync_folder(path.parent)

    def _create(self, path: Path, data: bytes) -> bool:
        part = path.with_name(part_name(path.name, token_hex(8)))
        try:
            _write(part, data)
            try:
                os.link(part, path)
            except FileExistsError:
                return False
            _sync_folder(path.parent)
            return True
        finally:
            # Where this fails too, the sweep finds it.
            with suppress(OSError):
                part.unlink()


def _write(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_LINKS = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EXDEV, errno.EMLINK}


@contextmanager
def _translated() -> Iterator[None]:
    """Say a fault of the disk in the port's words: what happens next, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise TransientError(
                "archive_full",
                "The archive's disk is full, or its quota used up: make room; delivery goes on by itself.",
            ) from error
        if error.errno in _FORBIDDEN:
            raise SuspendedError(
                "archive_forbidden",
                "The archive's directory may not be written or read: mount it writable, and give it to the user "
                "this runs as, then run `assent sync`.",
            ) from error
        if error.errno in _NO_LINKS:
            raise SuspendedError(
                "archive_no_links",
                "The archive's file system has no hard links, which write-once files need: use another one.",
            ) from error
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            raise TransientError(
                "archive_missing",
                "The archive's directory, or a file in it, isn't where the settings say: mount it or move it back. "
                "It isn't made anew, so that an outage is not taken for an empty archive. If nothing was ever "
                "delivered to it, `assent init` makes it.",
            ) from error
        raise TransientError(
            "archive_away", "The archive's disk doesn't answer as it should: look at the machine's disks and mounts."
        ) from error
