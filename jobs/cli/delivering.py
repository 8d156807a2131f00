"""Commands of delivery: `sync`, `destination`."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from jobs.cli.shared import (
    Config,
    Destination,
    Json,
    group,
    now,
    print_lines,
    print_object,
    print_table,
    progress_bar,
    stopping,
)
from jobs.exits import Exit

Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the records.")]

destination = group("The destinations: who is paused, and by whom.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(sync)
    app.add_typer(destination, name="destination")


def sync(name: Destination = None, config: Config = None, as_json: Json = False) -> None:
    """Deliver what is owed, now; set-aside entries too, due or not, and a suspended destination once."""
    from jobs.build import assembled
    from sync.syncing import sync_now

    with assembled(config) as parts, stopping() as stop, progress_bar() as told:
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


@destination.command("list")
def list_destinations(config: Config = None, as_json: Json = False) -> None:
    """Print the destinations of the settings, and what is known of each."""
    from jobs.build import assembled
    from sync.destinations import standings

    with assembled(config, only_reads=True) as parts:
        with parts.database.read() as tx:
            known = {one.name: one for one in standings(tx)}
        configured = parts.settings.destinations
        known |= {name: one.as_removed() for name, one in known.items()
                  if name not in configured or not configured[name].enabled}  # fmt: skip
        rows: list[dict[str, Any]] = [
            {
                "name": name,
                "kind": configured[name].kind if name in configured else None,
                "enabled": name in configured and configured[name].enabled,
                "lanes": [lane.value for lane in configured[name].lanes] if name in configured else [],
                "state": known[name].state.value if name in known else "ok",
                "reason": known[name].reason if name in known else None,
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
        # Other processes may have other settings: what these don't name isn't removed by this.
        destinations.register(parts.database, parts.chosen(name), complete=False)
        act(parts.database, name, reason, host_actor(), now())
    if as_json:
        print_object({"name": name, "state": "paused" if operation == "pause" else "ok"})
    else:
        print(f"{name} is {operation}d")
