"""The file of the rows that could not be taken: as they came, with where they stood and what to mend."""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from jobs.exits import Exit, Problem
from jobs.importing.columns import ADDED, plain
from jobs.importing.files import Row
from jobs.importing.formats import Format


class Rejected:
    """Written from the first rejected row on; mended, it is imported again as it is.

    It holds what the list holds: only its owner may read it.
    """

    def __init__(self, path: Path | None, format: Format, columns: Sequence[str]) -> None:  # noqa: A002
        self._path, self._format = path, format
        # Of a list that was rejected before, the old reasons give way.
        self._columns = [column for column in columns if plain(column) not in ADDED]
        self._file: TextIO | None = None
        self._writer: Any = None

    @property
    def written(self) -> Path | None:
        """The file, where there is one."""
        return self._path if self._file is not None else None

    def add(self, row: Row, error: str) -> None:
        """Write a row down."""
        if self._path is None:
            return
        if self._file is None:
            self._open(self._path)
        cells = {name: cell for name, cell in row.cells.items() if plain(name) not in ADDED}
        if self._format is Format.JSONL:
            line = json.dumps({**cells, "row": row.number, "error": error}, ensure_ascii=True)
            self._file.write(line + "\n")  # type: ignore[union-attr]
        else:
            self._writer.writerow([*(cells.get(column, "") for column in self._columns), row.number, error])

    def close(self) -> None:
        """End the file."""
        if self._file is not None:
            self._file.close()

    def _open(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            advice = f"{path} can't be written ({error.strerror}): name another file with --rejected"
            raise Problem(Exit.USAGE, advice) from error
        # With its mark, spreadsheets read it as UTF-8.
        encoding = "utf-8" if self._format is Format.JSONL else "utf-8-sig"
        self._file = os.fdopen(descriptor, "w", encoding=encoding, errors="replace", newline="")
        if self._format is not Format.JSONL:
            self._writer = csv.writer(self._file)
            self._writer.writerow([*self._columns, *ADDED])


def rejected_path(given: Path | None, list_path: Path, format: Format, *, dry_run: bool) -> Path | None:  # noqa: A002
    """Return where rejected rows go: beside the list unless said otherwise; a dry run keeps none unless told where."""
    if given is None:
        suffix = "jsonl" if format is Format.JSONL else "csv"
        return None if dry_run else list_path.with_name(f"{list_path.name}.rejected.{suffix}")
    if given.exists() and given.samefile(list_path):
        raise Problem(Exit.USAGE, "--rejected names the list itself: name another file")
    return given
