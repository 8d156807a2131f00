"""Commands that read ledgers: `entry show`, `verify`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.shared import Config, Json, group, print_object, print_table
from jobs.exits import Exit, Problem

entry = group("Single entries of a ledger.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(entry, name="entry")
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
    with assembled(config, only_reads=True) as parts, parts.database.read() as tx:
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


def verify(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="What `assent proof` wrote.")] = None,
    ledger: Annotated[bool, typer.Option("--ledger", help="The ledgers in the database (the default).")] = False,
    archive: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|s3://…", help="An archive, without the database; with --ledger, against it. sftp://… too."
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="A key that is trusted, as `assent keys list` prints it; may be repeated. Default: of a proof, its "
            "own; of an archive, those in the settings.",
        ),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Check every hash, number, root and signature again, or one proof offline; ends 6 and names what differs."""
    if file is not None:
        if ledger or archive is not None:
            raise Problem(Exit.USAGE, "a proof is verified by itself: name FILE, or --ledger and --archive")
        _verify_proof(file, key or [], as_json)
        return
    from jobs.verifying import Verified, verify_archive, verify_ledgers

    found: list[Verified] = []
    store, trusted = None, list[str]()
    if archive is not None:
        from jobs.archives import archive_at

        trusted = _checked(key) if key else _known_keys(config)
        store = archive_at(archive, config)
    with _progress() as told:
        if ledger or store is None:
            from jobs.build import assembled

            with assembled(config, only_reads=True) as parts:
                found += verify_ledgers(parts.database)
                if store is not None:
                    found.append(verify_archive(store, parts.database, told, trusted))
        else:
            found.append(verify_archive(store, progress=told, keys=trusted))
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


def _checked(keys: list[str]) -> list[str]:
    from consent.notes import NoteError, check_verifier

    try:
        for one in keys:
            check_verifier(one)
    except NoteError as error:
        raise Problem(Exit.USAGE, f"--key: {error}") from error
    return keys


def _known_keys(config: Path | None) -> list[str]:
    from jobs.keys import trusted_keys
    from jobs.settings import SettingsError, load_settings

    try:
        return trusted_keys(load_settings(config))
    except SettingsError as error:
        # An archive is verified by itself, wherever it was brought to.
        print(f"assent: no key is known ({error}): signatures are not looked at; --key names one", file=sys.stderr)
        return []


def _verify_proof(file: Path, keys: list[str], as_json: bool) -> None:
    from jobs.evidence import verify_bundle

    try:
        data = file.read_bytes()
        tried = [verify_bundle(data, key) for key in keys] or [verify_bundle(data)]
        found = min(tried, key=lambda one: len(one.problems))
    except OSError as error:
        raise Problem(Exit.USAGE, f"{file} can't be read ({error.strerror}): check the path and its rights") from error
    except ValueError as error:
        # A damaged proof can't be told from another file, and neither proves anything.
        raise Problem(Exit.DIFFERENT, f"{file}: {error}") from error
    if as_json:
        print_object(
            {"ok": not found.problems, "entry": found.entry, "problems": list(found.problems), "key": found.key,
             "size": found.size, "trusted": bool(keys)}
        )  # fmt: skip
    elif found.problems:
        for problem in found.problems:
            print(f"{found.entry}: {problem}")
    else:
        print(f"{found.entry} stands in a ledger of {found.size:,} entries, as signed by {found.key}")
        if not keys:
            print("worth knowing: the key is the proof's own word; --key KEY compares it with the one that you trust")
    if found.problems:
        raise typer.Exit(Exit.DIFFERENT)


@contextmanager
def _progress() -> Iterator[Callable[[int], None] | None]:
    """Give a function that is told how many entries were looked at; on a terminal only."""
    import sys

    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} entries verified"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda entries: bar.update(task, completed=entries)


def _plain(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
