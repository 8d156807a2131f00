"""What every command shares: its two options, and how it prints. Only light imports: `--help` reads this file."""

import json
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.exits import Exit, Problem


def _inherit(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
    """Take the option as it was given before the command, where it isn't given after it."""
    return value or context.find_root().params.get(parameter.name or "")


Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="PATH", help="Settings file [default: $ASSENT_CONFIG or settings.toml].",
        callback=_inherit, show_default=False,
    ),
]  # fmt: skip
Json = Annotated[
    bool, typer.Option("--json", help="Print machine-readable output.", callback=_inherit, show_default=False)
]
Destination = Annotated[str | None, typer.Option("--destination", metavar="NAME", help="Only this destination.")]
Yes = Annotated[bool, typer.Option("--yes", help="Confirm without being asked.", show_default=False)]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Most rows to print.")]


def group(help_text: str) -> typer.Typer:
    """Return a family of commands; called without one, it prints its help."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)


def print_object(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()


def print_lines(values: Iterable[Mapping[str, Any]]) -> None:
    """Print JSON objects, one a line."""
    for value in values:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "Nothing.") -> None:
    """Print rows for people."""
    from rich.console import Console

    table = table_of(columns, rows)
    # Not on a terminal, a line is as long as it must be, for `grep` and `awk`.
    width = None if sys.stdout.isatty() else 500
    if table.row_count:
        Console(width=width, highlight=False).print(table)
    else:
        print(empty)


def table_of(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    """Return rows for people as Rich shows them."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        # Text, not markup: a cell may hold what a contact wrote.
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    return table


def say(text: str) -> None:
    """Tell a person something that is no data."""
    print(text, file=sys.stderr, flush=True)


def confirm(what: str, yes: bool) -> None:
    """Ask before something that can't be undone; without a terminal, `--yes` must have been given."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Problem(Exit.USAGE, f"{what}: confirm it with --yes")
    if not typer.confirm(f"{what}. Go on?", err=True):
        raise Problem(Exit.USAGE, "nothing was changed")


def at_time(text: str | None, option: str) -> int | None:
    """Return microseconds since 1970 of an RFC 3339 time."""
    from consent.canonical import parse_timestamp

    if text is None:
        return None
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise Problem(Exit.USAGE, f"{option} is no time: write it as 2026-11-23T10:00:00Z") from error


def entry_key(entry: str | None) -> tuple[str, int] | None:
    """Return an entry's organization and number."""
    from consent.canonical import parse_entry_id

    if entry is None:
        return None
    try:
        return parse_entry_id(entry)
    except ValueError as error:
        raise Problem(Exit.USAGE, str(error)) from error


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Give an event that is set when the command is interrupted, so that worker threads end after their batch."""
    stop = threading.Event()
    try:
        yield stop
    except BaseException:
        stop.set()
        raise


def now() -> int:
    """Return the time, in microseconds since 1970."""
    import time

    return time.time_ns() // 1000


@contextmanager
def progress_bar() -> Iterator["Bar"]:
    """Give what shows how far the work is, on a terminal only: a count, the rate, the time left where it's known."""
    if not sys.stderr.isatty():
        yield Bar(None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    count = TextColumn("{task.completed:,}")
    columns = (TextColumn("{task.description}"), BarColumn(), count, Rate(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress)


class Bar:
    """A line for each destination; silent where there is no terminal."""

    def __init__(self, progress: Any) -> None:
        self._progress, self._tasks = progress, dict[str, Any]()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show that so many are done, of so many."""
        if self._progress is not None:
            self._progress.update(self._task(name), completed=done, total=total or None)

    def add(self, name: str, count: int) -> None:
        """Show that so many more are done."""
        if self._progress is not None:
            self._progress.update(self._task(name), advance=count)

    def _task(self, name: str) -> Any:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None)
        return self._tasks[name]
