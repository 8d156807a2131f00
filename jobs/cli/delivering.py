"""Commands of delivery: `sync`, `resync`, `reconcile`, `status`, `destination`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from jobs.cli.shared import (
    Config,
    Json,
    at_time,
    group,
    now,
    print_lines,
    print_object,
    print_table,
    progress_bar,
)
from jobs.exits import Exit, Problem

Destination = Annotated[str | None, typer.Option("--destination", metavar="NAME", help="Only this destination.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the records.")]

destination = group("The destinations: who is paused, and by whom.")

# Seconds that `status` waits for a destination to say what is left of its API today.
_PATIENCE = 3.0


class Only(StrEnum):
    """Which entries a resync brings again (as `sync.resync.Only`, without its imports)."""

    MISSING = "missing"
    DRIFTED = "drifted"
    REFUSED = "refused"
    ALL = "all"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(sync)
    app.command()(resync)
    app.command()(reconcile)
    app.command()(status)
    app.add_typer(destination, name="destination")


def sync(name: Destination = None, config: Config = None, as_json: Json = False) -> None:
    """Deliver what is owed, now; set-aside entries too, due or not, and a suspended destination once."""
    from jobs.build import assembled
    from sync.syncing import sync_now

    with assembled(config) as parts, _stopping() as stop, progress_bar() as told:
        chosen = parts.chosen(name)
        parts.prepare()
        results = sync_now(
            parts.database, chosen, parts.rules, stop=stop, progress=lambda at, tenure: told.add(at, tenure.settled)
        )
    if as_json:
        print_object({"destinations": [asdict(result) for result in results]})
    else:
        columns = ("DESTINATION", "DELIVERED", "OWED", "SET ASIDE", "REFUSED", "")
        rows = [(r.name, r.settled, r.owed, r.set_aside, r.refused, r.advice) for r in results]
        print_table(columns, rows, empty="No destination is switched on: see [destinations.NAME] in the settings.")
    if any(result.away for result in results):
        raise typer.Exit(Exit.UNREACHABLE)
    if any(result.owed or result.set_aside or result.refused for result in results):
        raise typer.Exit(Exit.SOME_FAILED)


def resync(
    name: Destination = None,
    since: Annotated[str | None, typer.Option(metavar="T", help="Recorded at or after, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Recorded before, RFC 3339.")] = None,
    org: Annotated[str | None, typer.Option(metavar="O", help="Only this organization's ledger.")] = None,
    contact: Annotated[str | None, typer.Option(metavar="N", help="Only this contact's conversations.")] = None,
    entry: Annotated[str | None, typer.Option(metavar="ID", help="Only this entry.")] = None,
    only: Annotated[Only, typer.Option(help="Which of them.")] = Only.ALL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with an earlier run.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bring chosen entries to the destinations again; safe to run twice."""
    from jobs.build import assembled, host_actor
    from sync import resync as engine

    with assembled(config) as parts, _stopping() as stop, progress_bar() as told:
        filters = engine.Filters(
            only=engine.Only(only.value),
            organization=org,
            since=at_time(since, "--since"),
            until=at_time(until, "--until"),
            conversations=_conversations(parts, org, contact),
            entry=entry_key(entry),
        )
        results = [
            engine.resync(
                parts.database, one, filters, parts.rules, actor=host_actor(), now=now(), dry_run=dry_run,
                resume=resume, stop=stop,
                progress=lambda so_far: told(f"{so_far.destination}, run {so_far.run}", so_far.seen, so_far.total),
            )
            for one in parts.chosen(name)
        ]  # fmt: skip
    if as_json:
        print_object({"destinations": [asdict(result) for result in results]})
    else:
        _print_resynced(results, dry_run)
    if any(result.refused or result.set_aside for result in results):
        raise typer.Exit(Exit.SOME_FAILED)


def reconcile(
    name: Destination = None,
    repair: Annotated[bool, typer.Option("--repair", help="Bring again what is missing or drifted.")] = False,
    org: Annotated[str | None, typer.Option(metavar="O", help="Only this organization's ledger.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Read back what destinations hold, compare with the ledger, report (and repair) drift; ends 6 on a difference."""
    from jobs.build import assembled

    with assembled(config) as parts, _stopping() as stop:
        found = [_reconcile_one(parts, one, org, repair, stop) for one in parts.chosen(name)]
    if as_json:
        print_object({"destinations": found})
    else:
        columns = (
            "DESTINATION",
            "CHECKED",
            "HELD",
            "MISSING",
            "DRIFTED",
            "UNSETTLED",
            "EXTRA",
            "DUPLICATE",
            "REPAIRED",
        )
        print_table(
            columns,
            [[one[column.lower() if column != "DESTINATION" else "name"] for column in columns] for one in found],
        )
        for one in found:
            for difference in one["remaining"][:20]:
                what = difference["entry"] or difference["remote_id"] or difference["pos"]
                print(f"{one['name']}: {what} is {difference['problem']}{' still' if repair else ''}")
            if one["left"] > 20:
                print(f"{one['name']}: {one['left'] - 20:,} more; --json lists them")
    if any(one["left"] for one in found):
        raise typer.Exit(Exit.DIFFERENT)


def status(config: Config = None, as_json: Json = False) -> None:
    """Print for each destination its state, what it is owed, and since when."""
    from jobs.build import assembled
    from sync.budgets import ask_budgets
    from sync.status import status as read_status

    with assembled(config, only_reads=True) as parts:
        ask_budgets(parts.destinations, _PATIENCE)
        told = read_status(parts.database, parts.destinations)
    if as_json:
        print_object(told)
        return
    keys = ("name", "state", "owed", "oldest_owed_seconds", "delivered", "set_aside", "refused")
    columns = ("DESTINATION", "STATE", "OWED", "OLDEST (S)", "DELIVERED", "SET ASIDE", "REFUSED", "API TODAY", "REASON")
    rows = ([*(one[key] for key in keys), _used(one["budget"]), one["reason"]] for one in told["destinations"])
    print_table(columns, rows, empty="No destination yet.")
    print()
    print_table(("LEDGER", "ENTRIES"), ([one["organization"], one["size"]] for one in told["ledgers"]))
    if told["reviews"]:
        print()
        rows = ([one[key] for key in ("organization", "open", "overdue", "next_due_at")] for one in told["reviews"])
        print_table(("REVIEWS OF", "OPEN", "OVERDUE", "NEXT DUE"), rows)


@destination.command("list")
def list_destinations(config: Config = None, as_json: Json = False) -> None:
    """Print the destinations of the settings, and what is known of each."""
    from jobs.build import assembled
    from sync.destinations import standings

    with assembled(config, only_reads=True) as parts:
        with parts.database.read() as tx:
            known = {one.name: one for one in standings(tx)}
        configured = parts.settings.destinations
        rows: list[dict[str, Any]] = [
            {
                "name": name,
                "kind": configured[name].kind if name in configured else None,
                "enabled": name in configured and configured[name].enabled,
                "lanes": [lane.value for lane in configured[name].lanes] if name in configured else [],
                "state": known[name].state.value if name in known else "ok",
                "reason": known[name].advice if name in known else None,
            }
            for name in sorted(configured.keys() | known.keys())
        ]
    if as_json:
        print_lines(rows)
    else:
        columns = ("DESTINATION", "KIND", "ENABLED", "LANES", "STATE", "REASON")
        table = ([r["name"], r["kind"], r["enabled"], ", ".join(r["lanes"]), r["state"], r["reason"]] for r in rows)
        print_table(columns, table, empty="No destination: add [destinations.NAME] to the settings.")


@destination.command()
def pause(name: str, reason: Reason = "", config: Config = None, as_json: Json = False) -> None:
    """Deliver nothing to a destination until it is resumed; what it is owed stays owed."""
    _operate("pause", name, reason, config, as_json)


@destination.command("resume")
def resume_destination(name: str, reason: Reason = "", config: Config = None, as_json: Json = False) -> None:
    """Let deliveries to a paused or suspended destination go on."""
    _operate("resume", name, reason, config, as_json)


def _operate(operation: str, name: str, reason: str, config: Any, as_json: bool) -> None:
    from jobs.build import assembled, host_actor
    from sync import destinations

    act = destinations.pause if operation == "pause" else destinations.resume
    with assembled(config) as parts:
        destinations.register(parts.database, parts.destinations)
        try:
            act(parts.database, name, reason, host_actor(), now())
        except LookupError as error:
            raise Problem(Exit.USAGE, f"there is no destination {name}: see `assent destination list`") from error
    if as_json:
        print_object({"name": name, "state": "paused" if operation == "pause" else "ok"})
    else:
        print(f"{name} is {operation}d")


def _reconcile_one(parts: Any, chosen: Any, org: str | None, repair: bool, stop: threading.Event) -> dict[str, Any]:
    from jobs.build import host_actor
    from sync.reconcile import Problem as Difference
    from sync.reconcile import reconcile as compare
    from sync.resync import Filters, resync
    from sync.resync import Only as Which

    found = left = compare(parts.database, chosen, organization=org, stop=stop)
    repaired = 0
    if repair and found.differences:
        repaired = resync(
            parts.database, chosen, Filters(only=Which.DIFFERING, organization=org), parts.rules, actor=host_actor(),
            now=now(), stop=stop, found=None if found.more else found,
        ).taken  # fmt: skip
        left = compare(parts.database, chosen, organization=org, stop=stop)
    return {
        "name": chosen.name,
        "checked": found.checked,
        "held": found.held,
        **{problem.value: found.count(problem) for problem in Difference},
        "repaired": repaired,
        "left": len(left.differences) + left.more,
        "differences": [asdict(difference) for difference in found.differences],
        "remaining": [asdict(difference) for difference in left.differences],
    }


def _print_resynced(results: list[Any], dry_run: bool) -> None:
    if dry_run:
        print_table(
            ("DESTINATION", "WOULD BRING", "CALLS", "CALLS LEFT TODAY", "SECONDS, ABOUT"),
            ((r.destination, r.matched, r.calls, r.calls_left, r.seconds) for r in results),
        )
        return
    columns = ("DESTINATION", "RUN", "MATCHED", "TAKEN", "REFUSED", "SET ASIDE", "CALLS")
    rows = ((r.destination, r.run, r.matched, r.taken, r.refused, r.set_aside, r.calls) for r in results)
    print_table(columns, rows)


def _used(budget: dict[str, int] | None) -> str | None:
    """Return a budget as `4,210 of 100,000 (5,000 kept for others)`."""
    if budget is None:
        return None
    kept = f" ({budget['reserve']:,} kept for others)" if budget.get("reserve") else ""
    return f"{budget['used']:,} of {budget['limit']:,}{kept}"


def _conversations(parts: Any, org: str | None, contact: str | None) -> tuple[str, ...] | None:
    """Return the ids of a contact's conversations; None where no contact is meant."""
    from jobs.asking import conversations_of

    if contact is None:
        return None
    with parts.database.read() as tx:
        return conversations_of(tx, org, contact)


def entry_key(entry: str | None) -> tuple[str, int] | None:
    from consent.canonical import parse_entry_id

    if entry is None:
        return None
    try:
        return parse_entry_id(entry)
    except ValueError as error:
        raise Problem(Exit.USAGE, str(error)) from error


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Give an event that is set when the command is interrupted, so that worker threads end after their batch."""
    stop = threading.Event()
    try:
        yield stop
    except BaseException:
        stop.set()
        raise
