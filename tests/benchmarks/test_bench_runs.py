"""The benchmarks at tiny sizes: they run, and measure what they say. How fast anything is, no test asks."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.memory import MemoryConnector
from consent.conversations import conversation_table
from consent.database import Database, run
from consent.ledger import entry_table, head_table
from sync.group import inbox_table
from tests.benchmarks.bench_archive import archive, export
from tests.benchmarks.bench_bookkeeping import bookkeeping, deliver_all, foreign_snapshot
from tests.benchmarks.bench_driver import commits_of, write_again
from tests.benchmarks.bench_http import http
from tests.benchmarks.bench_intake import concurrently, decisions, in_batches, lone
from tests.benchmarks.bench_latency import latency
from tests.benchmarks.bench_pages import pages
from tests.benchmarks.bench_queue import queue
from tests.benchmarks.bench_receivers import portal
from tests.benchmarks.bench_salesforce import backlog, salesforce
from tests.benchmarks.bench_scale import large, many
from tests.benchmarks.bench_world import TINY, Store, conversations, fill, in_turns, sqlite_store

WRITTEN = (entry_table, head_table, inbox_table, conversation_table)


@pytest.fixture(scope="module")
def sqlite() -> Iterator[Store]:
    with sqlite_store() as store:
        yield store


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, sqlite) -> Store:
    if request.param == "sqlite":
        return sqlite
    return Store("PostgreSQL", iter(request.getfixturevalue("make_postgres_url"), None))


def test_intake_is_measured_beside_the_orm_and_the_driver(store):
    subjects = [result.subject for result in decisions(store, TINY)]

    assert len(subjects) == len(set(subjects)) == 6


def test_the_mix_is_taken_whole_by_callers_at_once_and_in_batches(sqlite):
    talks = conversations(8)
    texts = in_turns(talks)
    with sqlite.fresh() as database:
        latencies = asyncio.run(concurrently(database, talks, 4))[1]
    with sqlite.fresh() as database:
        in_batches(database, texts)

        with database.read() as tx:
            taken = run(tx, "SELECT count(*) FROM inbox").scalar_one()

    assert taken == len(latencies) == len(texts)
    assert sorted(text["id"] for text in texts) == sorted(text["id"] for talk in talks for text in talk)


def test_the_bare_driver_writes_the_same_rows(store):
    with store.fresh() as database:
        settings = _rows(database)
        in_batches(database, in_turns(conversations(8)))
        commits = commits_of(database, len(settings["entry"]))
        ours = _rows(database)
    with store.fresh() as database:
        with database.write() as tx:
            for table in WRITTEN:
                run(tx, f"DELETE FROM {table.name}")
        write_again(database, commits)
        theirs = _rows(database)

    assert theirs == {name: rows - settings[name] for name, rows in ours.items()}


def test_a_lone_caller_is_measured(sqlite):
    assert [result.unit for result in lone(sqlite, TINY)] == ["×"]


def test_bookkeeping_is_measured(sqlite):
    assert [result.measured for result in bookkeeping(sqlite, TINY)]


def test_every_entry_is_delivered_while_a_snapshot_is_held_open(store):
    with store.fresh() as database:
        written = fill(database, 100)
        memory = MemoryConnector()
        if database.is_postgres:
            with foreign_snapshot(database):
                settled = deliver_all(database, memory).entries
        else:
            settled = deliver_all(database, memory).entries

    assert settled == len(memory.ids()) == written + 2  # the organization and its mode are entries, too


@pytest.mark.parametrize("measure", [queue, latency, large, many])
def test_what_is_kept_beside_deliveries_is_measured_at_any_size(measure, store):
    results = list(measure(store, TINY))

    assert results
    assert len({result.subject for result in results}) == len(results)


@pytest.mark.parametrize("measure", [salesforce, backlog, archive, export, portal, pages, http])
def test_what_goes_over_a_wire_or_to_a_disk_is_measured(measure, sqlite):
    results = list(measure(sqlite, TINY))

    assert results
    assert all(result.figure >= 0 for result in results)
    assert any(result.figure > 0 for result in results)


def _rows(database: Database) -> dict[str, set[tuple[Any, ...]]]:
    with database.read() as tx:
        return {table.name: {tuple(row) for row in run(tx, f"SELECT * FROM {table.name}")} for table in WRITTEN}
