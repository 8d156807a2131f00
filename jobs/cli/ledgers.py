"""Commands that read ledgers: `entry show`, `export`, `verify`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.shared import Config, Json, at_time, group, print_object, print_table, say
from jobs.exits import Exit, Problem

entry = group("Single entries of a ledger.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(entry, name="entry")
    app.command()(export)
    app.command()(verify)


@entry.command("show")
def show_entry(
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="As in acme-000000000005.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print one ledger entry, whole."""
    import orjson

    from consent.canonical import parse_entry_id
    from consent.entry import entry_json
    from consent.ledger import read_entry
    from jobs.build import assembled

    try:
        organization, seq = parse_entry_id(entry_id)
    except ValueError as error:
        raise Problem(Exit.USAGE, str(error)) from error
    with assembled(config) as parts, parts.database.read() as tx:
        found = read_entry(tx, organization, seq)
    if found is None:
        raise Problem(Exit.USAGE, f"there is no entry {entry_id}: `assent status` says how large each ledger is")
    shown = orjson.loads(entry_json(found))
    if as_json:
        print_object(shown)
        return
    personal = found.revealed()
    members = {name: value for name, value in shown.items() if name not in ("body", "values")}
    print_table(("MEMBER", "VALUE"), members.items())
    print()
    body = {name: personal.get(name, value) for name, value in shown["body"].items()} if shown["body"] else {}
    print_table(("FACT", "VALUE"), ((name, _plain(value)) for name, value in body.items()), empty="Disposed of.")


def export(
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE|-", help="Where to; - is standard output.")],
    form: Annotated[str, typer.Option("--format", help="jsonl: an entry a line, as /v1/entries gives them.")] = "jsonl",
    org: Annotated[str | None, typer.Option(metavar="O", help="Only this organization's ledger.")] = None,
    lane: Annotated[str | None, typer.Option(help="Only this lane.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    since: Annotated[str | None, typer.Option(metavar="T", help="Recorded at or after, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Recorded before, RFC 3339.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write entries to a file; that it was done stands in the system ledger."""
    from jobs.build import assembled, host_actor
    from jobs.exporting import Filters, export_entries

    if form != "jsonl":
        raise Problem(Exit.USAGE, "--format is jsonl")
    filters = Filters(org, lane, kind, at_time(since, "--since"), at_time(until, "--until"))
    with assembled(config) as parts:
        if output == "-":
            count = export_entries(parts.database, sys.stdout.buffer, filters, host_actor())
        else:
            with _created(Path(output)) as file:
                count = export_entries(parts.database, file, filters, host_actor())
    if as_json and output != "-":
        print_object({"entries": count, "file": output})
    else:
        say(f"{count:,} entries")


def verify(
    ledger: Annotated[bool, typer.Option("--ledger", help="The ledgers in the database (the default).")] = False,
    archive: Annotated[
        Path | None, typer.Option(metavar="PATH", help="An archive, without the database; with --ledger, against it.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Check every hash, number and root again; ends 6 and names what differs."""
    from jobs.verifying import verify_directory, verify_ledgers

    found = []
    if ledger or archive is None:
        from jobs.build import assembled

        with assembled(config) as parts:
            found += verify_ledgers(parts.database)
            if archive is not None:
                found.append(verify_directory(archive, parts.database))
    elif archive is not None:
        found.append(verify_directory(archive))
    whole = all(one.ok for one in found)
    if as_json:
        print_object({"ok": whole, "verified": [one.told() for one in found]})
    else:
        rows = ((one.subject, one.entries, "ok" if one.ok else "DIFFERENT", one.problem) for one in found)
        print_table(("WHAT", "ENTRIES", "RESULT", "PROBLEM"), rows)
        for one in found:
            for problem in one.problems[1:]:
                print(f"{one.subject}: {problem}")
            for note in one.notes:
                print(f"{one.subject}: worth knowing: {note}")
    if not whole:
        raise typer.Exit(Exit.DIFFERENT)


def _created(path: Path) -> Any:
    try:
        # It holds numbers and texts: nobody but its owner reads it.
        import os

        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError as error:
        raise Problem(Exit.USAGE, f"{path} is there already: name another file") from error
    except OSError as error:
        raise Problem(Exit.USAGE, f"{path} can't be written ({error.strerror})") from error


def _plain(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
