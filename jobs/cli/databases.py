"""`db`: the schema of the database, its backups, and how fast it grows."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.shared import (
    Config,
    Json,
    Yes,
    confirm,
    group,
    print_object,
    print_table,
    progress_bar,
)
from jobs.exits import Exit, Problem

app = group("The database: its schema, its backups, its growth.")


@app.command()
def upgrade(config: Config = None, as_json: Json = False) -> None:
    """Bring the database to this program's schema; a new one is created."""
    from jobs.build import assembled
    from sync.migrate import current as revision

    with assembled(config, schema=False) as parts:
        before = revision(parts.database)
        parts.upgrade()
        after = revision(parts.database)
    if as_json:
        print_object({"before": before, "after": after})
    else:
        print(f"the schema is at {after}" + ("" if before != after else ", as it was"))


@app.command()
def current(config: Config = None, as_json: Json = False) -> None:
    """Print the database's schema, and the one this program needs; ends 4 where they differ."""
    from jobs.build import assembled
    from sync.migrate import current as revision
    from sync.migrate import newest

    with assembled(config, schema=False) as parts:
        have, need = revision(parts.database), newest()
    if as_json:
        print_object({"current": have, "needed": need, "up_to_date": have == need})
    else:
        print(
            f"{have or 'no tables yet'}; this program needs {need}" + ("" if have == need else ": `assent db upgrade`")
        )
    if have != need:
        raise typer.Exit(Exit.SETTINGS)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file; nothing is overwritten.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write all ledgers and what is kept beside them to one file, as one commit left them, while others go on."""
    from jobs.build import assembled
    from sync.backup import BackupError
    from sync.backup import backup as back_up

    with assembled(config, only_reads=True) as parts, progress_bar() as bar:
        try:
            made = back_up(
                parts.database, file, parts.migrations, lambda done, total: bar("rows copied", done, total)
            )  # fmt: skip
        except BackupError as error:
            raise Problem(Exit.USAGE, str(error)) from error
    told = {"file": str(file), "bytes": made.bytes, "entries": made.entries, "ledgers": made.ledgers}
    if as_json:
        print_object(told)
    else:
        print(f"{file}: {made.entries:,} entries of {len(made.ledgers):,} ledgers, {made.bytes:,} bytes")


@app.command()
def restore(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="What `db backup` wrote.")] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Restore nothing: compare the database as it is with the destinations, and bring back what they hold.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    yes: Yes = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Put a backup in the database's place, then bring back from the archive what was recorded since.

    Stop every other process first. Ends 6 where a destination holds entries that couldn't be brought back, 5 where one
    couldn't be asked; nothing is taken or delivered until this command ends 0.
    """
    from jobs.build import assembled
    from jobs.restoring import catch_up, look_at, restore_from

    if (file is None) is not compare:
        raise Problem(Exit.USAGE, "name the backup's FILE, or say --compare where the database stands already")
    with assembled(config, schema=compare, only_reads=True) as parts, progress_bar() as bar:
        if file is not None:
            known = look_at(parts, file)
            told = f"{file} ({known['entries_there']:,} entries) takes the place of {known['entries_here']:,} entries"
            if dry_run:
                print_object(known) if as_json else print(told)
                return
            confirm(f"{told}, which are lost where no archive holds them", yes)
            restore_from(parts, file, bar)
        found = catch_up(parts, bar, dry_run=dry_run)
    if as_json:
        print_object(found.told())
    else:
        _print_compared(found)
    if found.left or found.refused:
        raise typer.Exit(Exit.DIFFERENT)
    if found.unreachable:
        raise typer.Exit(Exit.UNREACHABLE)


@app.command()
def forecast(
    days: Annotated[int, typer.Option(min=1, max=3650, help="Over how many days growth is measured.")] = 30,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Measure what an entry takes and how fast the ledgers grow, and say when the disk is full."""
    from dataclasses import asdict

    from jobs.build import assembled
    from sync.forecast import forecast as measure

    with assembled(config, only_reads=True) as parts:
        found = measure(parts.database, days=days)
    told = asdict(found) | {"bytes_per_day": found.bytes_per_day, "days_left": found.days_left}
    if as_json:
        print_object(told)
        return
    left = "unknown: nothing grows, or the disk is another machine's" if found.days_left is None else (
        f"{found.days_left:,.0f} days"
    )  # fmt: skip
    rows = [
        ("entries", f"{found.entries:,}"),
        ("bytes", f"{found.bytes:,}"),
        ("bytes an entry", f"{found.bytes_per_entry:,.0f}" if found.bytes_per_entry else ""),
        (f"entries a day, over {found.days:.1f} days", f"{found.entries_per_day:,.1f}"),
        ("bytes a day", f"{found.bytes_per_day:,.0f}"),
        ("free bytes", "" if found.free_bytes is None else f"{found.free_bytes:,}"),
        ("disk full in", left),
    ]
    print_table(("MEASURED", ""), rows)


def _print_compared(found: Any) -> None:
    for name, count in found.brought_back.items():
        print(f"{name}: {count:,} entries brought back")
    for one in found.left[:50]:
        print(f"{one['entry']} ({one['lane']}) is held by {', '.join(one['destinations'])} and unknown here")
    if len(found.left) > 50:
        print(f"and {len(found.left) - 50:,} more; --json lists them")
    for why in found.refused:
        print(why)
    for name, why in found.unreachable.items():
        print(f"{name} couldn't be asked: {why}")
    if not (found.left or found.refused or found.unreachable):
        print("No destination holds anything that this database doesn't know of.")
    else:
        print(f"Nothing is taken or delivered until this is settled: {found.advice}")
