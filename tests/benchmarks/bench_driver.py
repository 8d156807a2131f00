"""The bare driver: it writes again what a finished run wrote, the same rows in the same groups, and nothing else."""

import sqlite3
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from consent.contacts import contact_table
from consent.conversations import CHANGING, conversation_table
from consent.database import Database, run
from consent.ledger import entry_table, head_table
from consent.owners import line_table
from sync.group import inbox_table
from tests.benchmarks.bench_world import ORGANIZATION, undisturbed

Row = tuple[Any, ...]


class Commit(NamedTuple):
    """The rows of one transaction."""

    entries: list[Row]
    heads: list[Row]
    inbox: list[Row]
    conversations: list[Row]
    lines: list[Row]


def commits_of(database: Database, after: int) -> list[Commit]:
    """Return what each transaction behind the ledger's first `after` entries wrote."""
    with database.read() as tx:
        heads = _rows(tx, head_table, "size > ? ORDER BY size", after)
        entries = _rows(tx, entry_table, "seq >= ? ORDER BY seq", after)
        inbox = _rows(tx, inbox_table, "first_seq >= ? ORDER BY first_seq", after)
        conversations = {row[2]: row for row in _rows(tx, conversation_table, "version >= ?", 0)}
        lines = _rows(tx, line_table, "since >= ?", 0)
    commits: list[Commit] = []
    at, at_inbox, begun = 0, 0, after
    for head in heads:
        size = head[1]
        end, end_inbox = at + size - begun, at_inbox
        while end_inbox < len(inbox) and inbox[end_inbox][3] < size:
            end_inbox += 1
        # Of a conversation only its newest state is there; an earlier one was as long, but for a few bytes.
        touched = dict.fromkeys(entry[5] for entry in entries[at:end])
        commits.append(
            Commit(entries[at:end], [head], inbox[at_inbox:end_inbox], [conversations[one] for one in touched], lines)
        )
        lines = []  # with the first commit: who has a line is noted once
        at, at_inbox, begun = end, end_inbox, size
    return commits


def write_again(database: Database, commits: Sequence[Commit]) -> float:
    """Write these transactions one after the other; return the seconds that took."""
    with undisturbed():
        return _postgres(database, commits) if database.is_postgres else _sqlite(database, commits)


def _sqlite(database: Database, commits: Sequence[Commit]) -> float:
    connection = sqlite3.connect(database.url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -16000"):
            connection.execute(f"PRAGMA {pragma}")
        statements = [_insert(table, "?") + _replace(table, again) for table, again in _TABLES]
        started = time.perf_counter()
        for commit in commits:
            connection.execute("BEGIN IMMEDIATE")
            for statement, rows in zip(statements, commit, strict=True):
                if rows:
                    connection.executemany(statement, rows)
            connection.execute("COMMIT")
        return time.perf_counter() - started
    finally:
        connection.close()


def _postgres(database: Database, commits: Sequence[Commit]) -> float:
    import psycopg

    copies = [f"COPY {table.name} ({_columns(table)}) FROM STDIN" for table, _ in _TABLES]
    upserts = [_unnest(table) + _replace(table, again) for table, again in _TABLES]
    with psycopg.connect(database.url) as connection, connection.cursor() as cursor:
        started = time.perf_counter()
        for commit in commits:
            for (_, again), copy, upsert, rows in zip(_TABLES, copies, upserts, commit, strict=True):
                if not rows:
                    continue
                if again:
                    cursor.execute(upsert, [list(column) for column in zip(*rows, strict=True)])
                    continue
                with cursor.copy(copy) as stream:
                    for row in rows:
                        stream.write_row(row)
            connection.commit()
        return time.perf_counter() - started


#: The tables of a commit in the order of its members, and which columns change where a row is there already.
_TABLES = ((entry_table, ()), (head_table, ()), (inbox_table, ()), (conversation_table, CHANGING),
           (line_table, ("employee_id", "employee_name", "since")))  # fmt: skip
assert contact_table.name == "contact"  # nobody in the mix stops everything, so nothing is written there


def _rows(tx: Any, table: Any, condition: str, bound: int) -> list[Row]:
    sql = f"SELECT {_columns(table)} FROM {table.name} WHERE organization = ? AND {condition}"
    return [tuple(row) for row in run(tx, sql, [ORGANIZATION, bound])]


def _columns(table: Any) -> str:
    return ", ".join(column.name for column in table.columns)


def _insert(table: Any, mark: str) -> str:
    return f"INSERT INTO {table.name} ({_columns(table)}) VALUES ({', '.join([mark] * len(table.columns))})"


def _unnest(table: Any) -> str:
    from sqlalchemy.dialects import postgresql

    dialect = postgresql.dialect()
    arrays = ", ".join(f"%s::{column.type.compile(dialect=dialect)}[]" for column in table.columns)
    return f"INSERT INTO {table.name} ({_columns(table)}) SELECT * FROM unnest({arrays})"


def _replace(table: Any, changing: Sequence[str]) -> str:
    if not changing:
        return ""
    keys = [column.name for column in table.primary_key.columns]
    sets = ", ".join(f"{name} = excluded.{name}" for name in changing)
    return f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sets}"
