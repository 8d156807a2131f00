"""The org's records: one SQLite table an object, committed before anything is answered.

What was committed outlives `kill -9` of the process: the pages are with the operating system by then.
They would not outlive a loss of power (`synchronous=OFF`), which a stand-in needn't.
"""

import sqlite3
import threading
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from connectors.salesforce.standin.schema import Field, ObjectType, Schema
from connectors.salesforce.standin.values import Stored, make_id, number_of

#: What each metadata type is kept as.
_COLUMNS = {"Number": "REAL", "DateTime": "INTEGER", "Checkbox": "INTEGER"}
_MOST_VARIABLES = 500


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its number in the object, and what is stored by field name."""

    number: int
    values: Mapping[str, Stored]


@dataclass(slots=True)
class Transaction:
    """What is under way, and may still be taken back."""

    undone: bool = False

    def undo(self) -> None:
        """Let nothing of it count when it ends."""
        self.undone = True


class Rows:
    """Every table of the org behind one connection and one lock."""

    def __init__(self, file: Path, schema: Schema) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._database = sqlite3.connect(
            file, timeout=1, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        try:
            # One process an org: a second one in the same folder is refused, and a killed one frees it.
            self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
            # Pages are added more than changed, and those a rollback journal needn't write twice.
            self._database.execute("PRAGMA journal_mode=PERSIST")
        except sqlite3.OperationalError as error:
            self._database.close()
            raise OSError(f"{file} can't be had, another stand-in may hold it: {error}") from error
        self._database.execute("PRAGMA synchronous=OFF")
        self._prefixes: dict[str, str] = {}
        self._next: dict[str, int] = {}
        self._columns: dict[str, tuple[str, ...]] = {}
        with self.transaction():
            for each in schema:
                self._prepare(each)
        self.user_id = self._the_only("User", {"Username": None, "Name": "Integration User", "IsActive": 1}, schema)
        #: Somebody else, who changes records from the control address.
        self.admin_id = make_id("005", 2)
        self.organization_id = self._the_only(
            "Organization", {"Name": "Stand-in", "OrganizationType": "Developer Edition", "IsSandbox": 1}, schema
        )

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Everything inside is committed together, or not at all; one inside another is a part of it."""
        with self._lock:
            begin, undo, end = "BEGIN IMMEDIATE", "ROLLBACK", "COMMIT"
            if self._depth:
                name = f"part{self._depth}"
                begin, undo, end = f"SAVEPOINT {name}", f"ROLLBACK TO {name}; RELEASE {name}", f"RELEASE {name}"
            self._database.execute(begin)
            self._depth += 1
            transaction = Transaction()
            try:
                yield transaction
            except BaseException:
                transaction.undo()
                raise
            finally:
                self._depth -= 1
                self._end(undo if transaction.undone else end)
                if transaction.undone:
                    self._next.clear()

    def _end(self, statements: str) -> None:
        if not self._database.in_transaction:  # a full disk has undone it already
            self._next.clear()
            return
        try:
            for each in statements.split(";"):
                self._database.execute(each)
        except sqlite3.Error:
            self._next.clear()
            if self._database.in_transaction:  # what can't be committed must not stay open, or nothing works again
                self._database.execute("ROLLBACK")
            raise

    def id_of(self, kind: ObjectType, number: int) -> str:
        return make_id(self._prefixes[kind.name], number)

    def number_of(self, kind: ObjectType, record_id: str) -> int | None:
        return number_of(record_id, self._prefixes[kind.name])

    def prefix(self, kind: ObjectType) -> str:
        return self._prefixes[kind.name]

    def find(self, kind: ObjectType, field: Field, wanted: Sequence[Stored], *, whole: bool = True) -> list[Row]:
        """Records that are not deleted and hold one of these values; only the field itself unless `whole`."""
        columns = self._columns[kind.name] if whole else (field.name,)
        found = []
        for at in range(0, len(wanted), _MOST_VARIABLES):
            some = wanted[at : at + _MOST_VARIABLES]
            marks = ",".join("?" * len(some))
            found += self._select(kind, columns, f'"{field.name}" IN ({marks}) AND "IsDeleted" = 0', some)
        return found

    def get(self, kind: ObjectType, numbers: Sequence[int]) -> list[Row]:
        """Records by number, deleted ones too."""
        found = []
        for at in range(0, len(numbers), _MOST_VARIABLES):
            some = numbers[at : at + _MOST_VARIABLES]
            found += self._select(kind, self._columns[kind.name], f"rowid IN ({','.join('?' * len(some))})", some)
        return found

    def insert(self, kind: ObjectType, drafts: Sequence[Mapping[str, Stored]]) -> list[int]:
        """Save new records, in order; returns their numbers."""
        with self._lock:
            first, now = self._next.get(kind.name) or self._newest(kind) + 1, int(time.time())
            stamps: dict[str, Stored] = {"IsDeleted": 0, "CreatedDate": now, "LastModifiedDate": now}
            stamps |= {"SystemModstamp": now, "CreatedById": self.user_id, "LastModifiedById": self.user_id}
            if "OwnerId" in kind.fields:
                stamps["OwnerId"] = self.user_id
            given = set().union(*drafts)
            columns = [name for name in self._columns[kind.name] if name in given]
            names, numbers = [*columns, *stamps], range(first, first + len(drafts))
            stamped = tuple(stamps.values())
            tuples = [
                (number, *map(draft.get, columns), *stamped) for number, draft in zip(numbers, drafts, strict=True)
            ]
            if kind.name_format:
                names.append("Name")
                before, zeros, after = _split_format(kind.name_format)
                tuples = [(*each, f"{before}{each[0]:0{zeros}}{after}") for each in tuples]
            listed = ",".join(f'"{name}"' for name in names)
            marks = ",".join("?" * (len(names) + 1))
            self._database.executemany(f'INSERT INTO "{kind.name}" (rowid,{listed}) VALUES ({marks})', tuples)
            self._next[kind.name] = first + len(drafts)
            return list(numbers)

    def update(
        self, kind: ObjectType, changes: Sequence[tuple[int, Mapping[str, Stored]]], by: str | None = None
    ) -> None:
        """Save changes of records, by number; made by the integration user where nobody else is named."""
        now, groups = int(time.time()), dict[tuple[str, ...], list[tuple[Stored, ...]]]()
        for number, values in changes:
            groups.setdefault(tuple(values), []).append((*values.values(), now, now, by or self.user_id, number))
        with self._lock:
            for names, tuples in groups.items():
                stamps = ("LastModifiedDate", "SystemModstamp", "LastModifiedById")
                assignments = ",".join(f'"{name}" = ?' for name in (*names, *stamps))
                self._database.executemany(f'UPDATE "{kind.name}" SET {assignments} WHERE rowid = ?', tuples)

    def clear(self, kind: ObjectType) -> None:
        """Forget every record of an object."""
        with self._lock:
            self._execute(f'DELETE FROM "{kind.name}"')
            self._next.pop(kind.name, None)

    def numbers(self, kind: ObjectType, condition: str, values: Sequence[Stored], rest: str = "") -> "array[int]":
        """The numbers of the records that meet a condition, eight bytes each, in the order that `rest` asks for."""
        query = f'SELECT rowid FROM "{kind.name}" WHERE {condition} {rest}'
        return array("q", (number for (number,) in self._execute(query, values)))

    def select(
        self, kind: ObjectType, columns: Sequence[str], numbers: Sequence[int], *, deleted_too: bool = False
    ) -> list[tuple[Stored, ...]]:
        """These columns of these records, each after its record's number, in the order asked for."""
        present = "" if deleted_too else ' AND "IsDeleted" = 0'
        names = ",".join(["rowid", *(f'"{each}"' for each in columns)])
        found: dict[Stored, tuple[Stored, ...]] = {}
        for at in range(0, len(numbers), _MOST_VARIABLES):
            some = numbers[at : at + _MOST_VARIABLES]
            query = f'SELECT {names} FROM "{kind.name}" WHERE rowid IN ({",".join("?" * len(some))}){present}'
            found.update((each[0], each) for each in self._execute(query, some))
        return [found[number] for number in numbers if number in found]

    def aggregate(self, kind: ObjectType, query: str, values: Sequence[Stored]) -> list[tuple[Stored, ...]]:
        return self._execute(f"SELECT {query.format(table=kind.name)}", values)

    def _select(self, kind: ObjectType, columns: Sequence[str], condition: str, values: Sequence[Stored]) -> list[Row]:
        names = ",".join(f'"{each}"' for each in columns)
        query = f'SELECT rowid,{names} FROM "{kind.name}" WHERE {condition}'
        return [Row(each[0], dict(zip(columns, each[1:], strict=True))) for each in self._execute(query, values)]

    def _execute(self, query: str, values: Sequence[Stored] = ()) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock:
            return self._database.execute(query, tuple(values)).fetchall()

    def _newest(self, kind: ObjectType) -> int:
        # A deleted record keeps its row, so that its number and its Id are never given twice.
        ((newest,),) = self._execute(f'SELECT coalesce(max(rowid), 0) FROM "{kind.name}"')
        return int(newest)

    def _the_only(self, name: str, values: dict[str, Stored], schema: Schema) -> str:
        kind = schema.objects[name]
        self.user_id = make_id("005", 1)
        with self.transaction():
            if self._newest(kind) == 0:
                self.insert(kind, [values])
        return self.id_of(kind, 1)

    def _prepare(self, kind: ObjectType) -> None:
        """Make the table, or widen it by the fields that a newer package adds."""
        columns = {each.name: each for each in kind.fields.values() if each.type != "Id"}
        self._execute(f'CREATE TABLE IF NOT EXISTS "{kind.name}" (rowid INTEGER PRIMARY KEY)')
        present = {each[1] for each in self._execute(f'PRAGMA table_info("{kind.name}")')}
        for name, field in columns.items():
            if name not in present:
                self._execute(f'ALTER TABLE "{kind.name}" ADD COLUMN "{name}" {_column(field)}')
            if field.external_id or field.unique:
                unique = "UNIQUE" if field.unique else ""
                self._execute(
                    f'CREATE {unique} INDEX IF NOT EXISTS "{kind.name}.{name}" ON "{kind.name}" ("{name}") '
                    'WHERE "IsDeleted" = 0'
                )
        self._columns[kind.name] = tuple(columns)
        self._prefixes[kind.name] = kind.key_prefix or self._custom_prefix(kind)

    def _custom_prefix(self, kind: ObjectType) -> str:
        """`a00` for the first custom object of the org, `a01` for the second; kept, whatever else is added."""
        self._execute("CREATE TABLE IF NOT EXISTS prefixes (object TEXT PRIMARY KEY)")
        self._execute("INSERT OR IGNORE INTO prefixes VALUES (?)", [kind.name])
        ((number,),) = self._execute("SELECT rowid FROM prefixes WHERE object = ?", [kind.name])
        return f"a{number - 1:02}"


def _column(field: Field) -> str:
    if field.type in _COLUMNS:
        return _COLUMNS[field.type] + (" DEFAULT 0" if field.type == "Checkbox" else "")
    # SOQL compares text without regard to case, unless the field is unique and case-sensitive.
    # (Only ASCII letters here; an org folds others too.)
    return "TEXT" if field.case_sensitive or field.type == "Lookup" else "TEXT COLLATE NOCASE"


def _split_format(name_format: str) -> tuple[str, int, str]:
    """`CE-{00000000}` → what stands before the number, how many digits it has, what stands behind."""
    before, _, rest = name_format.partition("{")
    zeros, _, after = rest.partition("}")
    return before, len(zeros), after
