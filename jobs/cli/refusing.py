"""`refused`: the dead letters, entries that a destination refused and a person must look at."""

import sys
from typing import Annotated, Any

import typer

from jobs.cli.delivering import Destination, Only, entry_key, resync
from jobs.cli.shared import Config, Json, Limit, Yes, group, now, print_lines, print_object, print_table
from jobs.exits import Exit, Problem

refused = group("The dead letters: entries that a destination refused.")

Org = Annotated[str | None, typer.Option("--org", metavar="O", help="Only this organization's ledger.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(refused, name="refused")


@refused.command("list")
def list_refused(
    name: Destination = None,
    org: Org = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Those that wait for their next attempt instead.")] = False,
    limit: Limit = 1000,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print the dead letters and why each was refused."""
    from jobs.build import assembled
    from sync import receipts

    with assembled(config, only_reads=True) as parts, parts.database.read() as tx:
        state = "waiting" if waiting else "refused"
        found = receipts.asides(tx, destination=name, organization=org, state=state, limit=limit)
    rows = [_aside_row(aside) for aside in found]
    if as_json:
        print_lines(rows)
    else:
        columns = ("ENTRY", "DESTINATION", "LANE", "SINCE", "CODE", "ADVICE")
        print_table(columns, ([row[column.lower()] for column in columns] for row in rows), empty="Nothing is refused.")


@refused.command()
def retry(
    entry: Annotated[str | None, typer.Argument(metavar="[ID]", help="One entry; without it, all.")] = None,
    name: Destination = None,
    org: Org = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bring dead letters to their destinations again."""
    resync(name, org=org, entry=entry, only=Only.REFUSED, config=config, as_json=as_json)


@refused.command()
def show(entry: str, config: Config = None, as_json: Json = False) -> None:
    """Print where one entry is refused, and why."""
    rows = _asides_of(entry, config)
    if as_json:
        print_lines(rows)
    else:
        for row in rows:
            print("\n".join(f"{key:12} {value}" for key, value in row.items()), end="\n\n")


@refused.command()
def discard(
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the records.")],
    entry: Annotated[str | None, typer.Argument(metavar="[ID]", help="One entry; without it, all that match.")] = None,
    name: Destination = None,
    org: Org = None,
    code: Annotated[str | None, typer.Option("--code", metavar="C", help="Only those of this cause.")] = None,
    yes: Yes = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Give up dead letters: they are never brought to that destination; the ledger and the others keep them."""
    from jobs.build import assembled, host_actor
    from sync import receipts
    from sync.destinations import discard as give_up

    organization, seq = entry_key(entry) or (org, None)
    with assembled(config) as parts:
        with parts.database.read() as tx:
            found = receipts.asides(tx, destination=name, organization=organization, state="refused", limit=1_000_000)
        chosen = [one for one in found if seq in (None, one.seq) and code in (None, one.code)]
        if not chosen:
            raise Problem(Exit.USAGE, "no dead letter matches: see `assent refused list`")
        if not yes and not sys.stdin.isatty():
            raise Problem(Exit.USAGE, f"{len(chosen):,} would be discarded for good: say --yes to do it")
        if not yes:
            typer.confirm(f"Discard {len(chosen):,} for good?", abort=True, err=True)
        give_up(parts.database, chosen, reason, host_actor(), now())
    if as_json:
        print_object({"discarded": len(chosen)})
    else:
        print(f"discarded {len(chosen):,}")


def _asides_of(entry: str, config: Any) -> list[dict[str, Any]]:
    from jobs.build import assembled
    from sync import receipts

    organization, seq = entry_key(entry) or ("", -1)
    with assembled(config, only_reads=True) as parts, parts.database.read() as tx:
        found = [one for one in receipts.asides(tx, organization=organization, limit=10_000) if one.seq == seq]
    if not found:
        raise Problem(Exit.USAGE, f"no destination refuses {entry} or waits for it: see `assent refused list`")
    return [_aside_row(aside) for aside in found]


def _aside_row(aside: Any) -> dict[str, Any]:
    from consent.canonical import entry_id, timestamp

    return {
        "entry": entry_id(aside.organization, aside.seq),
        "destination": aside.destination,
        "lane": aside.lane,
        "state": aside.state,
        "attempts": aside.attempts,
        "since": timestamp(aside.since),
        "due_at": timestamp(aside.due_at),
        "code": aside.code,
        "advice": aside.advice,
    }
