"""Files that are there whole or not at all: written under another name, brought to disk, then given their own."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from jobs.exits import Exit, Problem


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is whole on disk."""

    name: str
    bytes: int
    sha256: str


class Output:
    """The files of one export, in one folder; none has its name before all are on disk."""

    def __init__(self, target: Path, *, force: bool) -> None:
        """Refuse a name that is taken, unless `force` replaces what is there."""
        self._target, self._force = target, force
        self._waiting: list[Path] = []
        self._refuse_taken(target)

    @contextmanager
    def file(self) -> Iterator[BinaryIO]:
        """Give the next file to write."""
        path = self._target.with_name(f".{self._target.name}.{token_hex(4)}.part")
        try:
            # It holds numbers and texts: nobody but its owner reads it.
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise Problem(Exit.USAGE, f"{self._target} can't be written ({error.strerror})") from error
        self._waiting.append(path)
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def names(self) -> list[Path]:
        """Return the names that the files will have: the one asked for, or numbered ones where they are several."""
        if len(self._waiting) == 1:
            return [self._target]
        stem, suffix = self._target.stem, self._target.suffix
        return [self._target.with_name(f"{stem}-{number:03d}{suffix}") for number in range(1, len(self._waiting) + 1)]

    def written(self) -> list[Written]:
        """Return each file's size and SHA-256, read from what is on disk."""
        return [
            Written(name.name, path.stat().st_size, _sha256(path))
            for name, path in zip(self.names(), self._waiting, strict=True)
        ]

    def stream(self, out: BinaryIO) -> None:
        """Copy the one file to a stream and keep nothing of it."""
        [path] = self._waiting
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                out.write(chunk)
        out.flush()
        self.drop()

    def commit(self, manifest: bytes) -> Path:
        """Give the files their names, the manifest last; where it is, the export is whole."""
        with self.file() as file:
            file.write(manifest)
        about = self._waiting.pop()
        told = self._target.with_name(f"{self._target.name}.manifest.json")
        for path, name in [*zip(self._waiting, self.names(), strict=True), (about, told)]:
            self._give(path, name)
        self._waiting = []
        with suppress(OSError):  # some file systems have no such thing
            folder = os.open(self._target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return told

    def drop(self) -> None:
        """Remove what has no name yet."""
        for path in self._waiting:
            path.unlink(missing_ok=True)
        self._waiting = []

    def _give(self, path: Path, name: Path) -> None:
        if self._force:
            path.replace(name)
            return
        try:
            # `link` fails where the name is taken, which `rename` does not.
            name.hardlink_to(path)
        except FileExistsError:
            self._refuse_taken(name)
        except OSError:  # a file system without links
            self._refuse_taken(name)
            path.replace(name)
        else:
            path.unlink()

    def _refuse_taken(self, name: Path) -> None:
        if not self._force and name.exists():
            raise Problem(Exit.USAGE, f"{name} is there already: name another file, or replace it with --force")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
