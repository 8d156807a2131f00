"""`python -m tests.benchmarks [--quick] [--only NAME]`: what Assent reaches, beside its floors, in one run."""

import argparse
import logging
import platform
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import structlog
from rich.console import Console
from rich.table import Table

from tests.benchmarks.bench_archive import archive, export
from tests.benchmarks.bench_bookkeeping import bookkeeping
from tests.benchmarks.bench_engine import engine
from tests.benchmarks.bench_http import http
from tests.benchmarks.bench_intake import decisions, lone
from tests.benchmarks.bench_latency import latency
from tests.benchmarks.bench_pages import pages
from tests.benchmarks.bench_queue import queue
from tests.benchmarks.bench_receivers import portal
from tests.benchmarks.bench_salesforce import backlog, salesforce
from tests.benchmarks.bench_scale import large, many
from tests.benchmarks.bench_world import FULL, QUICK, Result, Scale, Store, stores

#: By name: what is measured on each kind of database, and what once.
ON_EACH: dict[str, Callable[[Store, Scale], Iterator[Result]]] = {
    "intake": decisions,
    "lone": lone,
    "bookkeeping": bookkeeping,
    "queue": queue,
    "latency": latency,
    "large": large,
    "many": many,
}
ONCE: dict[str, Callable[[Store, Scale], Iterator[Result]]] = {
    "engine": engine,
    "salesforce": salesforce,
    "backlog": backlog,
    "archive": archive,
    "export": export,
    "portal": portal,
    "pages": pages,
    "http": http,
}


def main() -> int:
    """Measure, print the table, and return 1 where a floor is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, one round: about 40 s")
    parser.add_argument("--only", action="append", choices=[*ON_EACH, *ONCE], help="measure this one only")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="on this kind of database only")
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    console = Console(width=None if sys.stdout.isatty() else 180)
    scale, started = QUICK if chosen.quick else FULL, time.monotonic()
    results: list[Result] = []
    with stores() as both:
        kept = [store for store in both if chosen.database in (None, store.name.lower())]
        for name, measure, store in _plan(kept, chosen.only):
            console.print(f"[dim]{time.monotonic() - started:5.0f} s  {name}, {store.name}", highlight=False)
            for result in measure(store, scale):
                results.append(result)
                console.print(f"         {result.subject}: {_figure(result)}", highlight=False)
    console.print(_table(results, time.monotonic() - started, quick=chosen.quick))
    return 0 if all(result.holds for result in results) else 1


def _plan(
    kept: list[Store], only: list[str] | None
) -> Iterator[tuple[str, Callable[[Store, Scale], Iterator[Result]], Store]]:
    for name, measure in ON_EACH.items():
        if only is None or name in only:
            yield from ((name, measure, store) for store in kept)
    for name, measure in ONCE.items():
        if only is None or name in only:
            yield name, measure, kept[0]


def _table(results: list[Result], seconds: float, *, quick: bool) -> Table:
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    machine = f"Python {platform.python_version()}, {platform.machine()}, {_processors()} processors"
    table = Table(title=f"{when} · {machine} · {'quick, ' if quick else ''}{seconds:.0f} s", title_justify="left")
    for heading in ("what", "measured", "beside", "figure", "floor", ""):
        table.add_column(heading, justify="right" if heading in ("figure", "floor") else "left")
    for result in results:
        floor = "" if result.floor is None else f"{'≤' if result.at_most else '≥'} {_number(result.floor)}"
        mark = "" if result.floor is None else "ok" if result.holds else "[bold red]missed"
        table.add_row(result.subject, result.measured, result.beside, _figure(result), floor, mark)
    return table


def _figure(result: Result) -> str:
    return f"{_number(result.figure)} {result.unit}"


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def _processors() -> int:
    import os

    return os.cpu_count() or 1
