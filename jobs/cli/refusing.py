"""`refused`: the dead letters, entries that a destination refused and a person must look at."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.shared import (
    Config,
    Destination,
    Json,
    Limit,
    Yes,
    confirm,
    entry_key,
    group,
    now,
    print_lines,
    print_object,
    print_table,
    say,
)
from jobs.exits import Exit, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from jobs.build import Parts
    from sync.choosing import Filters
    from sync.destinations import Destination as To

refused = group("The dead letters: entries that a destination refused.")

Code = Annotated[str | None, typer.Option("--code", metavar="C", help="Only those of this cause.")]
Org = Annotated[str | None, typer.Option("--org", metavar="O", help="Only this organization's ledger.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(refused, name="refused")


@refused.command("list")
def list_refused(
    name: Destination = None,
    org: Org = None,
    code: Code = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Those that wait for their next attempt instead.")] = False,
    by_cause: Annotated[bool, typer.Option("--by-cause", help="How many of each cause, and what to do.")] = False,
    limit: Limit = 1000,
    after: Annotated[
        str | None, typer.Option(metavar="ENTRY@DESTINATION", help="Begin behind this one: the last row's.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print the dead letters and why each was refused, a page at a time."""
    from jobs.build import assembled
    from jobs.cli.resyncing import found_ledger
    from sync import receipts

    state = "waiting" if waiting else "refused"
    with assembled(config, only_reads=True) as parts, parts.database.read() as tx:
        _must_be_known(parts, tx, name)
        found_ledger(parts, org)
        if by_cause:
            causes = receipts.causes(tx, destination=name, organization=org, state=state)
            _print_causes([one for one in causes if code in (None, one.code)], as_json)
            return
        found = receipts.asides(
            tx, destination=name, organization=org, state=state, code=code, limit=limit, after=_behind(tx, after)
        )
    rows = [_aside_row(aside) for aside in found]
    if as_json:
        print_lines(rows)
    else:
        columns = ("ENTRY", "DESTINATION", "LANE", "SINCE", "CODE", "ADVICE")
        print_table(columns, ([row[column.lower()] for column in columns] for row in rows), empty="Nothing is refused.")
    if len(rows) == limit:
        say(f"there may be more: --after {rows[-1]['entry']}@{rows[-1]['destination']}")


def _must_be_known(parts: "Parts", tx: "Connection", name: str | None) -> None:
    """Raise where there never was a destination of this name; one that was removed may have left letters behind."""
    from sync.destinations import standings

    known = {standing.name for standing in standings(tx)} | {one.name for one in parts.destinations}
    if name is not None and name not in known:
        told = ", ".join(sorted(known)) or "none"
        raise Problem(Exit.USAGE, f"there is no destination {name}; known are: {told}")


@refused.command()
def retry(
    entry: Annotated[str | None, typer.Argument(metavar="[ID]", help="One entry; without it, all that match.")] = None,
    name: Destination = None,
    org: Org = None,
    code: Code = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bring dead letters to their destinations again: one, those of a cause, or all; ends 3 if some stay refused."""
    from jobs.build import assembled
    from jobs.cli.resyncing import bring_again, found_ledger
    from sync.choosing import Filters, Only

    key = entry_key(entry)
    with assembled(config) as parts:
        chosen = parts.chosen(name)
        ledger = key[0] if key else found_ledger(parts, org)
        filters = Filters(only=Only.REFUSED, organization=ledger, entry=key, code=code)
        _must_match(parts, chosen, filters)
        bring_again(parts, chosen, filters, as_json=as_json)


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
    code: Code = None,
    yes: Yes = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Give up dead letters: they are never brought to that destination; the ledger and the others keep them."""
    from jobs.build import assembled, host_actor
    from sync import receipts
    from sync.destinations import discard as give_up

    if not reason.strip():
        raise Problem(Exit.USAGE, "--reason is empty: it becomes an entry, and says why")
    organization, seq = entry_key(entry) or (org, None)
    with assembled(config) as parts:
        with parts.database.read() as tx:
            found = receipts.asides(
                tx, destination=name, organization=organization, state="refused", code=code, limit=1_000_000
            )
        chosen = [one for one in found if seq in (None, one.seq)]
        if not chosen:
            raise Problem(Exit.USAGE, "no dead letter matches: see `assent refused list`")
        confirm(f"{len(chosen):,} would be discarded for good", yes)
        give_up(parts.database, chosen, reason, host_actor(), now())
    if as_json:
        print_object({"discarded": len(chosen)})
    else:
        print(f"discarded {len(chosen):,}")


def _behind(tx: Any, after: str | None) -> tuple[str, str, str, int]:
    """Return the key of the row that a page begins behind."""
    from consent.ledger import read_entry

    if after is None:
        return "", "", "", -1
    entry, _, destination = after.partition("@")
    found = read_entry(tx, *(entry_key(entry) or ("", -1)))
    if found is None or not destination:
        raise Problem(Exit.USAGE, "--after is an entry's id, @, and a destination, as the last row of a page has them")
    return found.organization, destination, found.lane, found.pos


def _must_match(parts: "Parts", chosen: "Sequence[To]", filters: "Filters") -> None:
    """Problem where no dead letter is meant, or can be brought: a mistyped cause must not look like success."""
    from jobs.comparing import letters_of

    kept, meant = 0, 0
    with parts.database.read() as tx:
        for to in chosen:
            found, taken = letters_of(tx, to, filters)
            kept, meant = kept + found, meant + taken
    if not kept and (filters.entry is not None or filters.code is not None):
        raise Problem(Exit.USAGE, "no dead letter matches: see `assent refused list --by-cause`")
    if kept > meant:
        told = f"{kept - meant:,} of {kept:,} are of ledgers or lanes that this destination takes no more"
        advice = f"{told}: name them in its settings again, or discard these letters"
        if not meant:
            raise Problem(Exit.USAGE, advice)
        say(advice)


def _print_causes(causes: list[Any], as_json: bool) -> None:
    from consent.canonical import timestamp

    rows = [one._asdict() | {"since": timestamp(one.since)} for one in causes]
    if as_json:
        print_lines(rows)
    else:
        columns = ("DESTINATION", "CODE", "ENTRIES", "SINCE", "ADVICE")
        print_table(columns, ([row[column.lower()] for column in columns] for row in rows), empty="Nothing is refused.")


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
