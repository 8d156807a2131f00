"""Commands that read back and bring again: `resync`, `reconcile`."""

import threading
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from jobs.cli.shared import (
    Bar,
    Config,
    Destination,
    Json,
    Limit,
    at_time,
    entry_key,
    now,
    print_lines,
    print_object,
    print_table,
    progress_bar,
    say,
    stopping,
)
from jobs.exits import Exit, Problem

Org = Annotated[str | None, typer.Option("--org", metavar="O", help="Only this organization's ledger.")]
Budget = Annotated[int | None, typer.Option("--budget", min=1, metavar="CALLS", help="Stop before more calls than so.")]


class Only(StrEnum):
    """Which entries a resync brings again (as `sync.resync.Only`, without its imports)."""

    MISSING = "missing"
    DRIFTED = "drifted"
    REFUSED = "refused"
    ALL = "all"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(resync)
    app.command()(reconcile)


def resync(
    name: Destination = None,
    since: Annotated[str | None, typer.Option(metavar="T", help="Recorded at or after, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Recorded before, RFC 3339.")] = None,
    org: Org = None,
    contact: Annotated[str | None, typer.Option(metavar="N", help="Only this contact's conversations.")] = None,
    entry: Annotated[str | None, typer.Option(metavar="ID", help="Only this entry.")] = None,
    only: Annotated[Only, typer.Option(help="Which of them.")] = Only.ALL,
    budget: Budget = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count entries, calls and time, and change nothing.")
    ] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with an earlier run: its filters count, no others.")
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="List the newest runs instead.")] = False,
    limit: Limit = 20,
    after: Annotated[str | None, typer.Option(metavar="RUN", help="With --runs: those behind this one.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bring chosen entries to the destinations again; safe to run twice.

    Ends 3 if some were refused or set aside, or the budget ended first; 5 if a destination stays away or is paused;
    7 if another resync or repair of it is running. Killed, it goes on with --resume.
    """
    from jobs.build import assembled
    from sync.choosing import Filters
    from sync.choosing import Only as Which

    if runs:
        _print_runs(name, limit, after, config, as_json)
        return
    with assembled(config) as parts:
        filters = Filters(
            only=Which(only.value),
            organization=found_ledger(parts, org),
            since=at_time(since, "--since"),
            until=at_time(until, "--until"),
            conversations=_conversations(parts, org, contact),
            entry=_known_entry(parts, entry),
        )
        if filters.since is not None and filters.until is not None and filters.since >= filters.until:
            raise Problem(Exit.USAGE, "--since is not before --until: nothing lies between")
        chosen = parts.chosen(name if resume is None else _destination_of(parts, resume, name))
        bring_again(parts, chosen, filters, budget=budget, dry_run=dry_run, resume=resume, as_json=as_json)


def bring_again(
    parts: Any, chosen: Any, filters: Any, *, budget: int | None = None, dry_run: bool = False,
    resume: str | None = None, as_json: bool = False,
) -> None:  # fmt: skip
    """Bring the entries that match to each of these destinations, print what became of it, and end with its code."""
    from sync.resync import AlreadyRunningError

    results: list[dict[str, Any]] = []
    running, away = False, False
    with stopping() as stop, progress_bar() as bar:
        for one in chosen:
            try:
                results.append(_resync_one(parts, one, filters, budget, dry_run, resume, stop, bar))
            except AlreadyRunningError:
                running = True
                results.append(_failed(one.name, "another resync or repair of it is running: wait for it"))
            except _AwayError as error:  # the others are finished first
                away = True
                results.append(_failed(one.name, str(error)))
    if as_json:
        print_object({"destinations": results})
    else:
        _print_resynced(results, dry_run)
    if running:
        raise typer.Exit(Exit.RUNNING)
    if away:
        raise typer.Exit(Exit.UNREACHABLE)
    if any(one["refused"] or one["set_aside"] or one["stopped"] for one in results):
        raise typer.Exit(Exit.SOME_FAILED)


def reconcile(
    name: Destination = None,
    repair: Annotated[bool, typer.Option("--repair", help="Bring again what is missing or drifted.")] = False,
    org: Org = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Read back what destinations hold, compare with the ledger, report (and repair) drift.

    Ends 6 on a difference, 5 if a destination stays away, 3 if somebody stopped it in the portal before the end.
    """
    from jobs.build import assembled
    from sync.port import SuspendedError, TransientError

    found: list[dict[str, Any]] = []
    away = False
    with assembled(config, only_reads=not repair) as parts, stopping() as stop, progress_bar() as bar:
        ledger = found_ledger(parts, org)
        for one in parts.chosen(name):
            try:
                found.append(_reconcile_one(parts, one, ledger, repair, stop, bar))
            except (TransientError, SuspendedError) as error:  # the others are looked at first
                away = True
                say(f"assent: {one.name}: {error.advice}")
    if as_json:
        print_object({"destinations": found})
    else:
        _print_compared(found, repair)
    if any(one["left"] for one in found):
        raise typer.Exit(Exit.DIFFERENT)
    if away:
        raise typer.Exit(Exit.UNREACHABLE)
    if any(one["stopped"] for one in found):
        raise typer.Exit(Exit.SOME_FAILED)


class _AwayError(Exception):
    """A destination can't be brought anything now; the message says what to do."""


def _resync_one(
    parts: Any, one: Any, filters: Any, budget: int | None, dry_run: bool, resume: str | None,
    stop: threading.Event, bar: Bar,
) -> dict[str, Any]:  # fmt: skip
    from jobs.build import host_actor
    from jobs.comparing import bring, noted_bring
    from sync.destinations import require_not_paused
    from sync.port import SuspendedError, TransientError
    from sync.resync import resync as foresee

    run, actor = "", host_actor()

    def tell(so_far: Any) -> None:
        nonlocal run
        if not run:
            run = so_far.run
            say(f"{one.name}: run {run}; if it is cut, `assent resync --resume {run}` goes on with it")
        bar(f"{so_far.destination}, run {so_far.run}", so_far.seen, so_far.total)

    try:
        if dry_run:
            done = foresee(
                parts.database, one, filters, parts.rules, actor=actor, now=now(), dry_run=True, resume=resume,
                stop=stop, budget=budget,
            )  # fmt: skip
        else:
            require_not_paused(parts.database, one.name)  # what can't begin is no run
            with noted_bring(
                parts.database, one.name, filters, resume=resume, budget=budget, actor=actor, stop=stop
            ) as told:
                done = bring(
                    parts.database, one, filters, parts.rules, told, actor=actor, now=now(), resume=resume,
                    budget=budget, progress=tell,
                )  # fmt: skip
    except LookupError as error:
        raise Problem(Exit.USAGE, f"there is no run {resume} of {one.name}: see `assent resync --runs`") from error
    except (TransientError, SuspendedError) as error:
        go_on = f". What was brought counts; then run `assent resync --resume {run}`" if run else ""
        raise _AwayError(error.advice.rstrip(".") + go_on) from error
    return asdict(done) | {"error": None}


def _failed(name: str, error: str) -> dict[str, Any]:
    say(f"assent: {name}: {error}")
    from sync.resync import Resynced

    return asdict(Resynced("", name)) | {"error": error}


def _reconcile_one(
    parts: Any, chosen: Any, org: str | None, repair: bool, stop: threading.Event, bar: Bar
) -> dict[str, Any]:
    from jobs.build import host_actor
    from jobs.comparing import compare, noted_compare
    from sync.reconcile import Problem as Difference

    actor = host_actor()
    with noted_compare(
        parts.database, chosen.name, organization=org, repair=repair, actor=actor, stop=stop
    ) as run:  # fmt: skip
        compared = compare(
            parts.database, chosen, run, organization=org, repair=parts.rules if repair else None, actor=actor,
            now=now(), progress=lambda told: bar(f"{chosen.name} read back", told["seen"], told["total"]),
        )  # fmt: skip
    found, left = compared.found, compared.left
    return {
        "name": chosen.name,
        "checked": found.checked,
        "held": found.held,
        **{problem.value: found.count(problem) for problem in Difference},
        "repaired": compared.repaired,
        "left": len(left.differences) + left.more,
        "differences": [asdict(difference) for difference in found.differences],
        "remaining": [asdict(difference) for difference in left.differences],
        "stopped": compared.stopped,
    }


def _print_compared(found: list[dict[str, Any]], repair: bool) -> None:
    columns = ("DESTINATION", "CHECKED", "HELD", "MISSING", "DRIFTED", "UNSETTLED", "EXTRA", "DUPLICATE", "REPAIRED")
    rows = [[one[column.lower() if column != "DESTINATION" else "name"] for column in columns] for one in found]
    print_table(columns, rows, empty="No destination could be read back.")
    for one in found:
        for difference in one["remaining"][:20]:
            what = difference["entry"] or difference["remote_id"] or difference["pos"]
            print(f"{one['name']}: {what} is {difference['problem']}{' still' if repair else ''}")
        if one["left"] > 20:
            print(f"{one['name']}: {one['left'] - 20:,} more; --json lists them")
        if one["stopped"]:
            print(f"{one['name']}: stopped before all was read back")


def _print_resynced(results: list[dict[str, Any]], dry_run: bool) -> None:
    names: tuple[str, ...]
    columns: tuple[str, ...]
    if dry_run:
        names = ("destination", "matched", "calls", "calls_left", "seconds")
        columns = ("DESTINATION", "WOULD BRING", "CALLS", "CALLS LEFT TODAY", "SECONDS, ABOUT", "")
    else:
        names = ("destination", "run", "matched", "taken", "refused", "set_aside", "calls")
        columns = ("DESTINATION", "RUN", "MATCHED", "TAKEN", "REFUSED", "SET ASIDE", "CALLS", "")
    rows = [[*(one[name] for name in names), _how_it_ended(one, dry_run)] for one in results]
    print_table(columns, rows, empty="No destination is switched on: see [destinations.NAME] in the settings.")


def _how_it_ended(one: dict[str, Any], dry_run: bool) -> str:
    if one["error"]:
        return str(one["error"])
    if one["stopped"]:
        return f"stopped: go on with --resume {one['run']}"
    if dry_run and one["calls_left"] is not None and one["calls"] > one["calls_left"]:
        return "more calls than are left today: say --budget, and --resume it tomorrow"
    return ""


def _print_runs(name: str | None, limit: int, after: str | None, config: Any, as_json: bool) -> None:
    from consent.canonical import timestamp
    from jobs.build import assembled
    from sync.resync_runs import find_run, runs

    with assembled(config, only_reads=True) as parts, parts.database.read() as tx:
        if after is not None and find_run(tx, after) is None:
            raise Problem(Exit.USAGE, f"there is no run {after}: see `assent resync --runs`")
        found = [
            asdict(one) | {"started_at": timestamp(one.started_at)}
            for one in runs(tx, limit, destination=name, after=after)
        ]
    if as_json:
        print_lines(found)
    else:
        columns = ("RUN", "DESTINATION", "STATE", "STARTED_AT", "ONLY")
        print_table(columns, ([one[column.lower()] for column in columns] for one in found), empty="No run yet.")


def _destination_of(parts: Any, run: str, name: str | None) -> str:
    """Return the destination of a run, which is the one that is meant."""
    from sync.resync_runs import find_run

    with parts.database.read() as tx:
        found = find_run(tx, run)
    if found is None or name not in (None, found.destination):
        raise Problem(Exit.USAGE, f"there is no run {run}{f' of {name}' if name else ''}: see `assent resync --runs`")
    return str(found.destination)


def found_ledger(parts: Any, org: str | None) -> str | None:
    """Return the ledger that is meant, None for all; Problem where there is none of that name."""
    from consent.ledger import ledgers

    if org is None:
        return None
    with parts.database.read() as tx:
        if org not in ledgers(tx):
            raise Problem(Exit.USAGE, f"there is no ledger {org}: name a main organization, see `assent org list`")
    return org


def _known_entry(parts: Any, entry: str | None) -> tuple[str, int] | None:
    from consent.ledger import read_entry

    key = entry_key(entry)
    if key is None:
        return None
    with parts.database.read() as tx:
        if read_entry(tx, *key) is None:
            raise Problem(Exit.USAGE, f"there is no entry {entry}: `assent status` says how large each ledger is")
    return key


def _conversations(parts: Any, org: str | None, contact: str | None) -> tuple[str, ...] | None:
    """Return the ids of a contact's conversations; None where no contact is meant, Problem where they have none."""
    from jobs.asking import conversations_of

    if contact is None:
        return None
    with parts.database.read() as tx:
        found = conversations_of(tx, org, contact)
    # What is no number may be a sender's name, so that a slip of the keys is only seen by this.
    if not found:
        raise Problem(Exit.USAGE, "there is no conversation with this contact: name a number as +14155550100")
    return found
