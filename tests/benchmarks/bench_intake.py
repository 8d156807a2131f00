"""Durable decisions through intake, beside one ORM transaction per decision and beside the bare driver."""

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from consent import merkle
from consent.canonical import commitment, from_base64url
from consent.database import Database
from consent.entry import Entry, leaf_of
from consent.ledger import newest_head, read_range
from consent.organizations import Directory
from consent.tags import Tags
from sync.group import Group
from sync.intake import Intake
from sync.migrate import tag_key
from tests.benchmarks.bench_driver import commits_of, write_again
from tests.benchmarks.bench_orm import one_transaction_each
from tests.benchmarks.bench_world import (
    ORGANIZATION,
    Result,
    Scale,
    Store,
    conversations,
    in_turns,
    middle,
    must_be_taken,
    percentile,
    undisturbed,
)

#: p99 at 64 callers that DESIGN.md allows, milliseconds.
_P99 = {"SQLite": 25.0, "PostgreSQL": 60.0}
_BATCH = 1000


def decisions(store: Store, scale: Scale) -> Iterator[Result]:
    """Measure concurrent callers and batches, each beside what it is compared with, in turns."""
    ours, orm, driver, tails, shares, taking, driving, hashing = ([] for _ in range(8))
    with store.fresh() as database:  # what a process does once is done
        in_batches(database, in_turns(conversations(20, first=100_000)))
    for number in range(scale.rounds):
        talks = conversations(scale.conversations, first=number * scale.conversations)
        texts = sum(map(len, talks))
        with store.fresh() as database:
            before = _size(database)
            seconds, latencies = asyncio.run(concurrently(database, talks, scale.callers))
            commits = commits_of(database, before)
            shares.append(_hashing_seconds(database, before) / seconds)
        ours.append(texts / seconds)
        tails.append((percentile(latencies, 0.5) * 1000, percentile(latencies, 0.99) * 1000))
        with store.fresh() as database:
            driver.append(texts / write_again(database, commits))
        few = talks[: max(1, scale.orm_texts * len(talks) // texts)]
        with store.fresh() as database:
            seconds, latencies = one_transaction_each(database, few, scale.callers)
        orm.append((sum(map(len, few)) / seconds, percentile(latencies, 0.99) * 1000))
        with store.fresh() as database:
            before = _size(database)
            seconds = in_batches(database, in_turns(talks))
            commits = commits_of(database, before)
            hashing.append(_hashing_seconds(database, before) / seconds)
        taking.append(texts / seconds)
        with store.fresh() as database:
            driving.append(texts / write_again(database, commits))
    per = f"{scale.callers} callers, {store.name}"
    against_orm = middle([one / other for one, (other, _) in zip(ours, orm, strict=True)])
    against_driver = middle([one / other for one, other in zip(ours, driver, strict=True)])
    batches = middle([one / other for one, other in zip(taking, driving, strict=True)])
    told = f"{middle(ours):,.0f} decisions/s"
    p50, p99 = middle([tail for tail, _ in tails]), middle([tail for _, tail in tails])
    yield Result(
        f"one ORM transaction each: {per}", told, f"{middle([one for one, _ in orm]):,.0f}/s", against_orm, "×", 10
    )
    yield Result(f"bare driver, same groups: {per}", told, f"{middle(driver):,.0f}/s", against_driver, "×", 0.3)
    slow = f"p99 {middle([tail for _, tail in orm]):,.0f} ms by the ORM"
    yield Result(f"p99: {per}", f"p50 {p50:.1f} ms", slow, p99, "ms", _P99[store.name], at_most=True)
    told = f"{middle(taking):,.0f} decisions/s"
    yield Result(f"batches of {_BATCH:,}, {store.name}", told, f"driver {middle(driving):,.0f}/s", batches, "×", 0.45)
    yield _share(f"tree, commitments, hashes: {per}", shares)
    yield _share(f"tree, commitments, hashes: batches, {store.name}", hashing)


def lone(store: Store, scale: Scale) -> Iterator[Result]:
    """Measure one lone caller beside the same transaction without intake, text by text in turns."""
    with store.fresh() as database, undisturbed():
        theirs, ours = asyncio.run(_lone(database, scale))
    figure = middle(theirs) / middle(ours)
    yield Result(
        f"a lone caller, {store.name}", f"{1 / middle(ours):,.0f}/s", f"direct {1 / middle(theirs):,.0f}/s", figure,
        "×", 0.95,
    )  # fmt: skip


async def concurrently(
    database: Database, talks: Sequence[Sequence[Mapping[str, Any]]], callers: int
) -> tuple[float, list[float]]:
    """Take conversations by so many callers, each with one text on the way; return all seconds, and each text's."""
    intake = Intake(database)
    waiting = iter(talks)
    latencies: list[float] = []
    clock = time.perf_counter

    async def call() -> None:
        for texts in waiting:
            for text in texts:
                started = clock()
                answer = await intake.receive(text)
                latencies.append(clock() - started)
                must_be_taken([answer])

    with undisturbed():
        started = clock()
        await asyncio.gather(*(call() for _ in range(callers)))
        seconds = clock() - started
    intake.close()
    return seconds, latencies


def in_batches(database: Database, texts: Sequence[Mapping[str, Any]]) -> float:
    """Take texts in batches of a thousand; return the seconds that took."""
    intake = Intake(database)
    with undisturbed():
        started = time.perf_counter()
        for at in range(0, len(texts), _BATCH):
            must_be_taken(intake.take(texts[at : at + _BATCH]))
        seconds = time.perf_counter() - started
    intake.close()
    return seconds


async def _lone(database: Database, scale: Scale) -> tuple[list[float], list[float]]:
    texts = in_turns(conversations(scale.lone_texts // 4 + 2))[: 2 * scale.lone_texts]
    intake, directory = Intake(database), Directory(database)
    with database.read() as tx:
        tags = Tags(tag_key(tx))
    theirs: list[float] = []
    ours: list[float] = []
    for at, text in enumerate(texts):
        started = time.perf_counter()
        # Every text of either is a first, or an answer, as often: they take turns by fives.
        if at // 5 % 2:
            answer = await intake.receive(text)
        else:
            answer = _direct(database, directory, tags, text)
        (ours if at // 5 % 2 else theirs).append(time.perf_counter() - started)
        must_be_taken([answer])
    intake.close()
    return theirs, ours


def _direct(database: Database, directory: Directory, tags: Tags, text: Mapping[str, Any]) -> dict[str, Any]:
    with database.write() as tx:
        return Group(tx, ORGANIZATION, directory, tags, time.time_ns() // 1000).take([text])[0]


def _hashing_seconds(database: Database, after: int) -> float:
    """Return what the run's salts, commitments, leaf hashes and tree cost when made once more, and nothing else."""
    with database.read() as tx:
        entries = read_range(tx, ORGANIZATION, after, 1_000_000)
    values = [_values(entry) for entry in entries]
    started = time.perf_counter()
    leaves = []
    for entry, personal in zip(entries, values, strict=True):
        os.urandom(16 * len(personal))
        for salt, name, value in personal:
            commitment(salt, name, value)
        leaves.append(leaf_of(entry))
    merkle.root(merkle.extend((), 0, leaves))
    return time.perf_counter() - started


def _values(entry: Entry) -> list[tuple[bytes, str, Any]]:
    held = orjson.loads(entry.values or b"{}")
    return [(from_base64url(one["salt"]), name, one["value"]) for name, one in held.items()]


def _share(subject: str, shares: Sequence[float]) -> Result:
    return Result(subject, "share of intake's time", "", middle(shares) * 100, "%", 15, at_most=True)


def _size(database: Database) -> int:
    with database.read() as tx:
        return newest_head(tx, ORGANIZATION).size
