"""Sync's bookkeeping beside a queue of the usual kind: a row an entry, claimed, worked, and marked as done."""

import time
from collections.abc import Iterator
from contextlib import nullcontext

from sqlalchemy import Connection

from consent.database import Database, among, run
from consent.ledger import read_seqs
from sync.port import Capacity
from tests.benchmarks.bench_bookkeeping import Nowhere, deliver_all, foreign_snapshot
from tests.benchmarks.bench_world import ORGANIZATION, Result, Scale, Store, fill, middle

_BATCH = 200
_TABLE = """CREATE TABLE job (id BIGINT PRIMARY KEY, organization VARCHAR(32) NOT NULL, seq BIGINT NOT NULL,
state VARCHAR(16) NOT NULL, due_at BIGINT NOT NULL, attempts INTEGER NOT NULL, holder VARCHAR(64), until BIGINT,
remote_id VARCHAR(64))"""


def queue(store: Store, scale: Scale) -> Iterator[Result]:
    """Measure both in turns; on PostgreSQL also while another connection holds a snapshot open."""
    with store.fresh() as database:
        entries = fill(database, scale.entries)
        for told, is_held in (("", False), (", a snapshot held open", True)):
            if is_held and not database.is_postgres:
                continue
            ours, theirs = [], []
            for _ in range(scale.rounds):
                with foreign_snapshot(database) if is_held else nullcontext():
                    delivered = deliver_all(database, Nowhere(Capacity(batch=_BATCH)))
                    ours.append(delivered.entries / delivered.seconds)
                    theirs.append(entries / claimed_and_updated(database, entries))
            ratio = middle([one / other for one, other in zip(ours, theirs, strict=True)])
            subject = f"a queue that is claimed and updated, {store.name}{told}"
            yield Result(subject, f"{middle(ours):,.0f} entries/s", f"{middle(theirs):,.0f}/s", ratio, "×")


def claimed_and_updated(database: Database, entries: int) -> float:
    """Work such a queue to its end, its filling not counted; return the seconds."""
    with database.write() as tx:
        run(tx, "DROP TABLE IF EXISTS job")
        run(tx, _TABLE)
        run(tx, "CREATE INDEX job_ready_ix ON job (due_at, id) WHERE state IN ('ready', 'running')")
        run(
            tx,
            """INSERT INTO job (id, organization, seq, state, due_at, attempts)
            SELECT seq, organization, seq, 'ready', 0, 0 FROM entry WHERE organization = ? AND seq < ?""",
            [ORGANIZATION, entries],
        )
    done, started = 0, time.perf_counter()
    while True:
        with database.write() as tx:
            claimed = sorted(_claim(tx))
        if not claimed:
            break
        with database.read() as tx:
            taken = read_seqs(tx, ORGANIZATION, claimed)
        with database.write() as tx:
            condition, ids = among(tx, "id", [entry.seq for entry in taken])
            sql = f"UPDATE job SET state = 'done', remote_id = 'null', holder = NULL, until = NULL WHERE {condition}"
            done += run(tx, sql, ids).rowcount
    if done != entries:
        raise RuntimeError(f"the queue worked {done} of {entries}")
    return time.perf_counter() - started


def _claim(tx: Connection) -> list[int]:
    lock = "FOR UPDATE SKIP LOCKED" if tx.dialect.name == "postgresql" else ""
    now = time.time_ns() // 1_000
    sql = f"""UPDATE job SET state = 'running', holder = 'bench', until = ?, attempts = attempts + 1
    WHERE id IN (SELECT id FROM job WHERE (state = 'ready' OR (state = 'running' AND until < ?)) AND due_at <= ?
        ORDER BY due_at, id LIMIT {_BATCH} {lock}) RETURNING id"""
    return [row[0] for row in run(tx, sql, [now + 15_000_000, now, now]).fetchall()]
