"""What a careful application would do without us: one ORM transaction per text.

It reads the text, looks whether its id was seen, locks the conversation's row, decides by the same rules, commits to
the same personal values, hashes the same entries, and commits. It is spared the tree, the heads and the gapless
numbers, which would queue all callers behind one row; its entries are numbered by the database.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import BigInteger, Engine, Integer, LargeBinary, String, create_engine, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from consent.conversation import begin
from consent.database import Database
from consent.engine import decide
from consent.entry import seal
from consent.messages import read_message
from consent.organizations import read_policies
from consent.policy import Policy
from consent.values import Group, Record
from tests.benchmarks.bench_world import ORGANIZATION, undisturbed


class _Base(DeclarativeBase):
    pass


class _Conversation(_Base):
    __tablename__ = "orm_conversation"

    line: Mapped[str] = mapped_column(String(32), primary_key=True)
    contact: Mapped[str] = mapped_column(String(32), primary_key=True)
    channel: Mapped[str] = mapped_column(String(16), primary_key=True)
    id: Mapped[str] = mapped_column(String(32), unique=True)
    consent: Mapped[str] = mapped_column(String(16), index=True)
    version: Mapped[int]
    state: Mapped[bytes] = mapped_column(LargeBinary)


class _Entry(_Base):
    __tablename__ = "orm_entry"

    # SQLite numbers rows by itself only where the key is its own INTEGER.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    lane: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(16))
    conversation: Mapped[str] = mapped_column(String(32), index=True)
    version: Mapped[int]
    occurred_at: Mapped[int] = mapped_column(BigInteger)
    recorded_at: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    personal: Mapped[bytes] = mapped_column(LargeBinary)
    leaf: Mapped[bytes] = mapped_column(LargeBinary)


class _Inbox(_Base):
    __tablename__ = "orm_inbox"

    id: Mapped[str] = mapped_column(String(512), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


def one_transaction_each(
    database: Database, conversations: Sequence[Sequence[Mapping[str, Any]]], callers: int
) -> tuple[float, list[float]]:
    """Decide the conversations' texts by so many threads; return the seconds all took, and each one's own."""
    engine = _engine(database, callers)
    _Base.metadata.create_all(engine)
    with database.read() as tx:
        policy = read_policies(tx, ORGANIZATION)[ORGANIZATION]
    latencies: list[float] = []
    waiting = iter(conversations)
    guard = threading.Lock()

    def call() -> None:
        own: list[float] = []
        while True:
            with guard:
                texts = next(waiting, None)
            if texts is None:
                break
            for text in texts:
                started = time.perf_counter()
                _decide(engine, text, policy)
                own.append(time.perf_counter() - started)
        latencies.extend(own)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    with undisturbed():
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = time.perf_counter() - started
    engine.dispose()
    if len(latencies) != sum(map(len, conversations)):
        raise RuntimeError("a thread of the ORM's ended early")
    return taken, latencies


def _decide(engine: Engine, asked: Mapping[str, Any], policy: Policy) -> None:
    now = time.time_ns() // 1000
    message = read_message(asked, now, policy)
    with Session(engine) as session, session.begin():
        if session.get(_Inbox, message.id) is not None:
            raise IntegrityError("this text was taken before", None, Exception())
        key = (message.line, message.contact, message.group.value)
        row = session.get(_Conversation, key, with_for_update=True)
        fresh = begin(
            row.id if row else os.urandom(12).hex(), ORGANIZATION, None, message.line, message.contact,
            Group(message.group),
        )  # fmt: skip
        told = fresh.restored(row.version, orjson.loads(row.state)) if row else fresh
        decision = decide(told, message, policy)
        session.add(_Inbox(id=message.id, content=orjson.dumps(asked)))
        session.add_all([_entry(record, now) for record in decision.records])
        after = decision.conversation
        if row is None:
            row = _Conversation(line=key[0], contact=key[1], channel=key[2], id=after.id)
            session.add(row)
        row.consent, row.version, row.state = after.consent.value, after.version, orjson.dumps(after.state())


def _entry(record: Record, now: int) -> _Entry:
    sealed = seal(record, ORGANIZATION, 0, 0, now, os.urandom(16 * len(record.values)))
    return _Entry(
        lane=sealed.lane, kind=sealed.kind, conversation=sealed.conversation, version=sealed.version,
        occurred_at=sealed.occurred_at, recorded_at=now, body=sealed.body, personal=sealed.values, leaf=sealed.leaf,
    )  # fmt: skip


def _engine(database: Database, callers: int) -> Engine:
    """Open the database as we do, with a connection for each caller."""
    options: dict[str, Any] = {"pool_size": callers, "max_overflow": 0}
    if database.is_postgres:
        return create_engine(database.url, **options)
    engine = create_engine(database.url, connect_args={"timeout": 120.0}, **options)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -16000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
