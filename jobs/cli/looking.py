"""Commands that look: `status`, `doctor`, `alert`."""

import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from jobs.cli.shared import (
    Config,
    Json,
    Limit,
    group,
    print_lines,
    print_object,
    print_table,
    say,
)
from jobs.exits import Exit, Problem

alert = group("What people were told of: suspended destinations, late decisions, drift, full disks.")

# Seconds that `status` waits for a destination to say what is left of its API today.
_PATIENCE = 3.0


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(status)
    app.command()(doctor)
    app.add_typer(alert, name="alert")


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until interrupted.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two looks of --watch.")] = 2.0,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print for each destination its state, what it is owed, since when, and how fast it is served."""
    from jobs.build import assembled
    from sync.budgets import ask_budgets
    from sync.status import status as read_status

    with assembled(config, only_reads=True) as parts:
        # Once: it costs a call of those that it counts.
        ask_budgets(parts.destinations, _PATIENCE)

        def read() -> dict[str, Any]:
            return read_status(parts.database, parts.destinations)

        if not watch:
            print_object(read()) if as_json else _print_status(read())
        elif as_json or not sys.stdout.isatty():
            _repeat(interval, lambda: print_lines([read()]) if as_json else _print_status(read()))
        else:
            _watch(interval, read)


def doctor(config: Config = None, as_json: Json = False) -> None:
    """Look at clock, disk, database, certificates and every destination; each fault with its fix.

    Ends 0 where all is well, 5 where a destination is wrong, 4 where anything else is.
    """
    from dataclasses import asdict

    from jobs.build import assembled
    from jobs.doctor import examine

    with assembled(config, schema=False) as parts:
        findings = examine(parts)
    wrong = [one for one in findings if not one.ok]
    if as_json:
        print_object({"ok": not wrong, "findings": [asdict(one) for one in findings]})
    else:
        rows = ((one.subject, "ok" if one.ok else "WRONG", one.told, one.advice) for one in findings)
        print_table(("WHAT", "", "SEEN", "WHAT TO DO"), rows)
    if any(not one.destination for one in wrong):
        raise typer.Exit(Exit.SETTINGS)
    if wrong:
        raise typer.Exit(Exit.UNREACHABLE)


@alert.command("list")
def list_alerts(
    all_: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Only of this kind, as `late` or `drift`.")] = None,
    limit: Limit = 100,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Begin behind this one: the last row's.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print what people were told of and isn't over, the newest first."""
    from jobs.alerting import told
    from jobs.build import assembled
    from sync.alarms import newest_alarms

    with assembled(config, only_reads=True) as parts, parts.database.read() as tx:
        try:
            found = newest_alarms(tx, limit, is_open=not all_, kind=kind, after=after)
        except LookupError as error:
            raise Problem(Exit.USAGE, f"there is no alert {after}: see `assent alert list --all`") from error
    rows = [told(one, end=one.ended_at is not None) | {"told": sorted(one.start_told)} for one in found]
    if as_json:
        print_lines(rows)
    else:
        columns = ("ID", "STARTED_AT", "ENDED_AT", "KIND", "SUBJECT", "WHAT", "ADVICE")
        print_table(columns, ([row[column.lower()] for column in columns] for row in rows), empty="No trouble.")
    if len(rows) == limit:
        say(f"there may be more: --after {rows[-1]['id']}")


@alert.command("test")
def tell_of_nothing(config: Config = None, as_json: Json = False) -> None:
    """Tell every channel of [alerts] something harmless; ends 5 where one couldn't be told."""
    from jobs.alerting import channels_of, harmless
    from jobs.build import assembled

    with assembled(config, schema=False) as parts:
        channels = channels_of(parts.settings.alerts)
    results = []
    for channel in channels:
        try:
            channel.tell(harmless(), end=False)
        except OSError as error:
            results.append({"channel": channel.name, "ok": False, "error": type(error).__name__})
        else:
            results.append({"channel": channel.name, "ok": True, "error": None})
    if as_json:
        print_lines(results)
    else:
        rows = ((one["channel"], "told" if one["ok"] else f"couldn't be told: {one['error']}") for one in results)
        print_table(("CHANNEL", ""), rows, empty="No channel: set [alerts] mail_to, or webhook_url.")
    if not channels:
        say("Nobody is told of anything: see [alerts] in the settings.")
    if any(not one["ok"] for one in results):
        raise typer.Exit(Exit.UNREACHABLE)


def _repeat(interval: float, show: Callable[[], None]) -> None:
    while True:
        show()
        time.sleep(interval)


def _watch(interval: float, read: Callable[[], dict[str, Any]]) -> None:
    from rich.console import Group
    from rich.live import Live

    from jobs.cli.shared import table_of

    with Live(screen=True, auto_refresh=False) as live:
        while True:
            tables = [table_of(columns, rows) for columns, rows in _tables(read())]
            live.update(Group(*[part for table in tables for part in (table, "")]), refresh=True)
            time.sleep(interval)


def _print_status(told: dict[str, Any]) -> None:
    for number, (columns, rows) in enumerate(_tables(told)):
        if number:
            print()
        print_table(columns, rows, empty="No destination yet.")


def _tables(told: dict[str, Any]) -> list[tuple[tuple[str, ...], list[list[Any]]]]:
    """Return what is shown: columns and rows."""
    keys = ("name", "state", "owed", "oldest_owed_seconds", "rate", "delivered", "set_aside", "refused")
    columns = (
        "DESTINATION", "STATE", "OWED", "OLDEST (S)", "PER SECOND", "DELIVERED", "SET ASIDE", "REFUSED", "API TODAY",
        "SINCE", "NEXT TRY", "REASON",
    )  # fmt: skip
    destinations = [
        [
            *(one[key] for key in keys), _used(one["budget"]), _to_the_second(one["since"]),
            _to_the_second(one["next_try_at"]), one["reason"],
        ]
        for one in told["destinations"]
    ]  # fmt: skip
    shown: list[tuple[tuple[str, ...], list[list[Any]]]] = [(columns, destinations)]
    shown.append((("LEDGER", "ENTRIES"), [[one["organization"], one["size"]] for one in told["ledgers"]]))
    if told["reviews"]:
        rows = [[one[key] for key in ("organization", "open", "overdue", "next_due_at")] for one in told["reviews"]]
        shown.append((("REVIEWS OF", "OPEN", "OVERDUE", "NEXT DUE"), rows))
    if told["alerts"]:
        rows = [[one[key] for key in ("since", "what", "advice")] for one in told["alerts"]]
        shown.append((("ALERT SINCE", "WHAT", "WHAT TO DO"), rows))
    return shown


def _to_the_second(timestamp: str | None) -> str | None:
    return None if timestamp is None else f"{timestamp[:19]}Z"


def _used(budget: dict[str, int] | None) -> str | None:
    """Return a budget as `4,210 of 100,000 (5,000 kept for others)`."""
    if budget is None:
        return None
    kept = f" ({budget['reserve']:,} kept for others)" if budget.get("reserve") else ""
    return f"{budget['used']:,} of {budget['limit']:,}{kept}"
