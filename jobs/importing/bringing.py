"""Brings a list in, a chunk of rows at a time: each row is taken or refused by itself, and the list is never held."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Any

from consent.imports import Imported
from jobs.importing.columns import Columns
from jobs.importing.consents import Reader, RowError
from jobs.importing.files import Row
from jobs.importing.rejected import Rejected
from jobs.wire import Takes

#: Rows in one transaction.
CHUNK = 1_000
#: Rejections that the summary tells one by one; the file of rejected rows has all.
_TOLD = 100


@dataclass
class Summary:
    """What became of a list."""

    dry_run: bool
    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    #: Rows that say nothing: neither ticked nor unticked is an answer.
    skipped: int = 0
    #: Ids of held texts that may now be delivered, in order.
    released: list[str] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, row: Row, error: RowError, rejected: Rejected) -> None:
        """Count a row that can't be taken, and keep it where it can be mended."""
        self.rejected += 1
        if len(self.errors) < _TOLD:
            self.errors.append({"row": row.number, "code": error.code, "detail": error.detail})
        rejected.add(row, error.detail)


class Repeats:
    """Remembers which rows of a list were met already, each by a number of 8 bytes, on disk: a list has any length."""

    def __init__(self) -> None:
        # A database of its own, in a file without a name that is gone with it.
        self._met = sqlite3.connect("", isolation_level=None)
        self._met.execute("CREATE TABLE met (key INTEGER PRIMARY KEY, row INTEGER NOT NULL)")
        self._met.execute("BEGIN")

    def check(self, key: str, number: int, told: str = "it says the same as row {}") -> None:
        """Raise RowError for a row that the list has said before."""
        short = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)
        if self._met.execute("INSERT OR IGNORE INTO met VALUES (?, ?)", (short, number)).rowcount:
            return
        ((first,),) = self._met.execute("SELECT row FROM met WHERE key = ?", (short,))
        raise RowError("duplicate", told.format(first))

    def close(self) -> None:
        """Forget all of them."""
        self._met.close()


def bring(
    rows: Iterator[Row], columns: Columns, reader: Reader, takes: Takes, rejected: Rejected, *, dry_run: bool,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Summary:  # fmt: skip
    """Bring rows of consents in and return what became of them.

    Killed at any moment, bring the same list again: what was taken is not taken twice. Raises DatabaseError.
    """
    summary = Summary(dry_run)
    with closing(Repeats()) as repeats:
        while chunk := list(islice(rows, CHUNK)):
            answers = take_rows(chunk, columns, reader, takes, repeats)
            for row, answer in zip(chunk, answers, strict=True):
                if isinstance(answer, RowError):
                    summary.refuse(row, answer, rejected)
                elif answer is None:
                    summary.skipped += 1
                else:
                    summary.outcomes[answer["outcome"]] += 1
                    # Those of rows imported before, too: whoever was killed in between has not told them.
                    summary.released += answer["released"]
            summary.rows += len(chunk)
            progress(len(chunk))
    return summary


def take_rows(
    rows: Sequence[Row], columns: Columns, reader: Reader, takes: Takes, repeats: Repeats
) -> list[dict[str, Any] | RowError | None]:
    """Take rows and return the answer to each: the intake's, why it can't be taken, or None where it says nothing."""
    answers: list[dict[str, Any] | RowError | None] = []
    good: list[Imported] = []
    for row in rows:
        answer: RowError | None = None
        try:
            read = _read(row, columns, reader, repeats)
        except RowError as error:
            read, answer = None, error
        answers.append(answer)
        if read is not None:
            good.append(read)
            answers[-1] = {"place": len(good) - 1}
    taken = takes.take(good) if good else []
    return [_told(taken[answer["place"]]) if isinstance(answer, dict) else answer for answer in answers]


def _read(row: Row, columns: Columns, reader: Reader, repeats: Repeats) -> Imported | None:
    if row.fault is not None:
        raise RowError("invalid_row", row.fault)
    read = reader.read(columns.said(row.cells))
    if read is not None:
        repeats.check(read["id"], row.number)
    return read


def _told(answer: dict[str, Any]) -> dict[str, Any] | RowError:
    error = answer.get("error")
    return RowError(error["code"], error["detail"]) if error is not None else answer
