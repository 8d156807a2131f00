"""`assent doctor`: everything that has to be well for texts to be taken and delivered, each fault with its fix."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError

from consent.database import DatabaseError, explain, run
from jobs.build import Parts
from jobs.certificates import certificates_of
from jobs.disks import disks_of
from jobs.exits import Problem
from jobs.settings import PortalSettings, SalesforceSettings
from sync.clock import database_now
from sync.destinations import Destination
from sync.migrate import current, newest
from sync.port import SuspendedError, TransientError
from sync.restored import is_to_be_compared

#: Clocks may differ so far: signed requests are refused at a few minutes, a STOP's order at less.
_CLOCK_SECONDS = 5.0
_PATIENCE = 10.0
_OLDEST_POSTGRES = 130000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    ok: bool
    #: What was seen.
    told: str
    #: What to do, where it isn't well.
    advice: str = ""
    #: Whether it is a destination's.
    destination: bool = False


def examine(parts: Parts) -> list[Finding]:
    """Look at everything; nothing is changed, and nothing that is away keeps the rest from being looked at."""
    found = [*_database(parts), *_clocks(parts), *_disks(parts), *_files(parts), *_certificates(parts)]
    try:
        destinations = parts.destinations
    except Problem as problem:
        return [*found, Finding("destinations", ok=False, told="can't be opened", advice=str(problem))]
    with ThreadPoolExecutor(max(1, len(destinations))) as pool:
        return found + [one for each in pool.map(_destination, destinations) for one in each]


def _database(parts: Parts) -> Iterator[Finding]:
    database = parts.database
    try:
        have, need = current(database), newest()
        yield Finding(
            "schema", have == need, have or "no tables yet", "" if have == need else "run `assent db upgrade`"
        )
        if have == need:
            restored = is_to_be_compared(database)
            advice = "run `assent db restore --compare`" if restored else ""
            yield Finding("restore", not restored, "not compared yet" if restored else "none pending", advice)
        with database.read() as tx:
            yield from _of_postgres(tx) if database.is_postgres else _of_sqlite(tx)
    except (DBAPIError, DatabaseError) as error:
        advice = explain(error) if isinstance(error, DBAPIError) else str(error)
        yield Finding("database", ok=False, told="can't be used", advice=advice)


def _of_sqlite(tx: Connection) -> Iterator[Finding]:
    wanted = {
        "journal_mode": ("wal", "nothing else may open the file in another mode; run `assent db upgrade`"),
        "synchronous": ("2", "a commit must be on disk: report this, it is set at each start"),
    }
    for name, (value, advice) in wanted.items():
        seen = str(run(tx, f"PRAGMA {name}").scalar())
        yield Finding(f"sqlite {name}", seen == value, seen, "" if seen == value else advice)
    seen = str(run(tx, "PRAGMA quick_check(1)").scalar())
    advice = "the file is damaged: copy it away, then `assent db restore` a backup"
    yield Finding("sqlite quick_check", seen == "ok", seen[:60], "" if seen == "ok" else advice)


def _of_postgres(tx: Connection) -> Iterator[Finding]:
    def seen(name: str) -> str:
        return str(run(tx, "SELECT current_setting(?)", [name]).scalar())

    wanted: list[tuple[str, Callable[[str], bool], str]] = [
        ("server_version_num", lambda told: int(told) >= _OLDEST_POSTGRES, "use PostgreSQL 13 or newer"),
        ("fsync", lambda told: told == "on", "set fsync = on: without it a power failure loses what was answered"),
        ("full_page_writes", lambda told: told == "on", "set full_page_writes = on"),
        (
            "synchronous_commit", lambda told: told != "off",
            "set synchronous_commit = on: with `off` a crash loses what was answered",
        ),
        ("server_encoding", lambda told: told == "UTF8", "make the database with ENCODING 'UTF8'"),
        ("transaction_read_only", lambda told: told == "off", "this is a standby: point [database] url at the primary"),
        ("autovacuum", lambda told: told == "on", "set autovacuum = on"),
        ("max_connections", lambda told: int(told) >= 40, "allow 40 connections at least, 32 for each process of ours"),
    ]  # fmt: skip
    for name, is_well, advice in wanted:
        told = seen(name)
        yield Finding(f"postgresql {name}", is_well(told), told, "" if is_well(told) else advice)


def _clocks(parts: Parts) -> Iterator[Finding]:
    try:
        before = time.time()
        with parts.database.read() as tx:
            theirs = database_now(tx) / 1_000_000
        yield _clock("the database", theirs - (before + time.time()) / 2)
    except DBAPIError:
        pass  # said already
    for name, settings in parts.settings.destinations.items():
        if settings.enabled and isinstance(settings, SalesforceSettings | PortalSettings):
            url = settings.login_url if isinstance(settings, SalesforceSettings) else settings.url
            off = _seconds_off(url, str(settings.ca_bundle) if settings.ca_bundle else True)
            if off is not None:
                yield _clock(name, off)


def _clock(where: str, off: float) -> Finding:
    ok = abs(off) <= _CLOCK_SECONDS
    told = f"{abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} ours"
    advice = "" if ok else "let both take their time from NTP; signed requests and the order of texts rest on it"
    return Finding(f"clock of {where}", ok, told, advice)


def _seconds_off(url: str, verify: str | bool) -> float | None:
    """Return how far a server's clock is ahead of ours, by its answer's Date; None where it has none."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            before = time.time()
            answer = session.head(url, timeout=_PATIENCE, verify=verify, allow_redirects=False)
            middle = (before + time.time()) / 2
        return parsedate_to_datetime(answer.headers["date"]).timestamp() + 0.5 - middle
    except (requests.RequestException, KeyError, ValueError):
        return None  # that it can't be reached is told by its own check


def _disks(parts: Parts) -> Iterator[Finding]:
    least = parts.settings.alerts.disk_free_percent
    for disk in disks_of(parts.places()):
        ok = disk.free_percent >= least
        told = f"{disk.free / 2**30:,.1f} GiB free, {disk.free_percent:.0f} %"
        advice = "" if ok else "free some space or enlarge it; `assent db forecast` says how long it lasts"
        yield Finding(f"disk of {disk.name}", ok, told, advice)


def _files(parts: Parts) -> Iterator[Finding]:
    """Yield who may read what holds secrets or numbers."""
    for subject, path in _private_files(parts):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        ok = not mode & 0o077
        yield Finding(f"rights on {subject}", ok, f"{mode:04o}", "" if ok else f"chmod 600 {path}")


def _private_files(parts: Parts) -> Iterator[tuple[str, Path]]:
    if os.name != "posix":
        return
    url = make_url(parts.database.url)
    if not parts.database.is_postgres and url.database:
        yield "the database", Path(url.database)
    tree = parts.settings.model_dump()
    yield from _secret_files(tree)


def _secret_files(tree: dict[str, Any], at: str = "") -> Iterator[tuple[str, Path]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _secret_files(value, f"{at}{name}.")
        elif name.endswith("_file") and isinstance(value, Path) and name != "known_hosts_file":
            yield f"{at}{name}", value


def _certificates(parts: Parts) -> Iterator[Finding]:
    for one in certificates_of(parts.settings, _PATIENCE):
        days = one.days_left(time.time())
        if days is None:
            advice = f"{one.problem}: check the address, the way there, and the file"
            yield Finding(f"certificate of {one.subject}", ok=False, told="unseen", advice=advice, destination=True)
            continue
        ok = days >= parts.settings.alerts.certificate_days
        advice = "" if ok else "have it renewed; deliveries stop when it has expired"
        told = f"good for {days:.0f} days" if days > 0 else f"expired {-days:.0f} days ago"
        yield Finding(f"certificate of {one.subject}", ok, told, advice, destination=True)


def _destination(destination: Destination) -> list[Finding]:
    try:
        return [
            Finding(f"{destination.name}: {one.subject}", one.ok, "well" if one.ok else "wrong", one.advice, True)
            for one in destination.connector.check()
        ]
    except (TransientError, SuspendedError) as error:
        return [Finding(destination.name, ok=False, told=error.code, advice=error.advice, destination=True)]
    except Exception as error:
        told = type(error).__name__
        advice = "its check failed in a way that we don't know: report it"
        return [Finding(destination.name, ok=False, told=told, advice=advice, destination=True)]
