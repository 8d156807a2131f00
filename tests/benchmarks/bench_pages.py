"""The portal's pages over a ledger of a million entries: how long a person waits for what they looked for."""

import random
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests
from fastapi import FastAPI
from sqlalchemy import Table

from consent.conversations import conversation_table
from consent.database import Database, fetch, insert, run
from consent.ledger import entry_table, head_table, newest_head
from consent.names import name_table
from jobs.access import Access, Purpose, Role, users
from jobs.access.links import make_link
from jobs.running import Runs
from jobs.tracing import whereabouts_of
from jobs.web.pages import Desk, portal_router
from sync.delivery import Rules
from sync.intake import Intake
from tests.benchmarks.bench_world import ORGANIZATION, Result, Scale, Store, fill, percentile
from tests.portal.portal_stage import Server

#: Entries that the intake writes; the others are copies of them under other names.
_WRITTEN = 20_000
_REQUESTS = 30
_FLOOR = 200.0


def pages(store: Store, scale: Scale) -> Iterator[Result]:
    """Search by number and by name, read a timeline and a day, each page whole as a browser gets it."""
    with store.fresh() as database:
        entries = _many(database, scale.large)
        with _portal(database) as (url, session):
            number, name, conversation = _someone(database)
            asks: dict[str, Callable[[], requests.Response]] = {
                "search by number": lambda: session.post(f"{url}/reports/search", data={"q": number}),
                "search by name": lambda: session.post(f"{url}/reports/search", data={"q": name}),
                "a timeline": lambda: session.get(f"{url}/reports/conversations/{ORGANIZATION}/{conversation}"),
                "the entries of days": lambda: session.get(f"{url}/reports/days?first=2020-01-01&last=2040-12-31"),
                "opt-ins and opt-outs": lambda: session.get(f"{url}/reports/decisions?days=365"),
                "the overview": lambda: session.get(f"{url}/operations"),
            }
            for what, ask in asks.items():
                first, *waited = [_timed(ask) for _ in range(_REQUESTS + 1)]
                yield Result(
                    f"pages over {entries:,} entries, {store.name}: {what}",
                    f"the first {first:,.0f} ms, p50 {percentile(waited, 0.5):,.0f} ms", "p95",
                    percentile(waited, 0.95), "ms", _FLOOR, at_most=True,
                )  # fmt: skip


def _timed(ask: Callable[[], requests.Response]) -> float:
    started = time.perf_counter()
    answer = ask()
    took = (time.perf_counter() - started) * 1_000
    if answer.status_code != 200:
        raise RuntimeError(f"a page was answered with {answer.status_code}")
    return took


class _portal:
    """A portal at work on a database, and somebody signed in."""

    def __init__(self, database: Database) -> None:
        self._intake = Intake(database)
        access = Access(database)
        desk = Desk(database, access, whereabouts_of(database, ()), self._intake, (), Runs(database, (), Rules()))
        app = FastAPI()
        app.include_router(portal_router(desk))
        self._server = Server(app, socket.create_server(("127.0.0.1", 0)))
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["sec-fetch-site"] = "same-origin"
        now = access.clock()
        with database.write() as tx:
            made = users.create_user(tx, "bench", "Bench", Role, organization=None, actor="bench", now=now)
            key = make_link(tx, Purpose.SIGN_IN, made.id, now, seconds=60)
        self._session.post(f"{self._server.address}/portal/welcome/{key}")

    def __enter__(self) -> tuple[str, requests.Session]:
        return f"{self._server.address}/portal", self._session

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._server.stop()
        self._intake.close()


def _someone(database: Database) -> tuple[str, str, str]:
    """Return a number, a name and a conversation that are there."""
    with database.read() as tx:
        row = run(tx, "SELECT contact, id, contact_tag FROM conversation LIMIT 1 OFFSET 7").one()
        name = run(tx, "SELECT name FROM contact_name WHERE contact_tag = ?", [row.contact_tag]).scalar_one()
    return row.contact, name, row.id


def _many(database: Database, entries: int) -> int:
    """Write some entries by the intake, name their contacts, and copy all that until there are enough."""
    fill(database, min(_WRITTEN, entries))
    names = _names()
    with database.write() as tx:
        rows = fetch(tx, "SELECT organization, contact_tag FROM conversation")
        insert(tx, name_table, [_named(organization, tag, next(names)) for organization, tag in rows])
        head = newest_head(tx, ORGANIZATION)
        kept = {table: _rows(tx, table) for table in (entry_table, conversation_table)}
    size, lanes = head.size, head.lanes
    copies = max(0, -(-entries // size) - 1)
    for copy in range(1, copies + 1):
        with database.write() as tx:
            insert(tx, entry_table, [_copied(row, copy, size, lanes) for row in kept[entry_table]])
            moved = [_moved(row, copy) for row in kept[conversation_table]]
            insert(tx, conversation_table, moved)
            insert(tx, name_table, [_named(row[0], row[6], next(names)) for row in moved])
    with database.write() as tx:
        total = size * (copies + 1)
        told = [lanes[lane] * (copies + 1) for lane in ("consent", "messages", "audit")]
        if copies:
            frontier = run(tx, "SELECT frontier FROM head WHERE organization = ? LIMIT 1", [ORGANIZATION]).scalar_one()
            insert(tx, head_table, [(ORGANIZATION, total, *told, frontier, head.recorded_at)])
        if database.is_postgres:
            for table in ("entry", "conversation", "contact_name"):
                run(tx, f"ANALYZE {table}")
    return total


def _rows(tx: Any, table: Table) -> list[tuple[Any, ...]]:
    columns = ", ".join(column.name for column in table.columns)
    return fetch(tx, f"SELECT {columns} FROM {table.name} WHERE organization = ?", [ORGANIZATION])


def _copied(row: tuple[Any, ...], copy: int, size: int, lanes: dict[str, int]) -> tuple[Any, ...]:
    organization, seq, lane, pos, kind, conversation, *rest = row
    known = None if conversation is None else f"{conversation}{copy:04d}"
    return (organization, seq + copy * size, lane, pos + copy * lanes[lane], kind, known, *rest)


def _moved(row: tuple[Any, ...], copy: int) -> tuple[Any, ...]:
    organization, _, id_, sub_organization, channel, line_tag, _, *rest = row
    return (organization, secrets.token_bytes(16), f"{id_}{copy:04d}", sub_organization, channel, bytes(line_tag),
            secrets.token_bytes(16), *rest)  # fmt: skip


def _named(organization: str, contact_tag: bytes, name: str) -> tuple[Any, ...]:
    return (organization, bytes(contact_tag), secrets.token_bytes(16), 0, name.lower().encode(), name, 1)


def _names() -> Iterator[str]:
    letters, drawn = "abcdefghiklmnoprstuvw", random.Random(7)
    while True:
        yield " ".join("".join(drawn.choices(letters, k=k)).capitalize() for k in (6, 8))
