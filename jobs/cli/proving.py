"""Commands of evidence: `proof`, `keys`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.shared import Config, Json, Yes, confirm, entry_key, group, now, print_lines, print_object, print_table
from jobs.exits import Exit, Problem

keys = group("The keys that sign checkpoints.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(proof)
    app.add_typer(keys, name="keys")


def proof(
    entry: Annotated[str, typer.Argument(metavar="ID", help="As in acme-000000000005.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="A new file; - is standard output.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write a bundle that proves one entry: `assent verify FILE` checks it offline, without us."""
    import json

    from jobs.build import assembled
    from jobs.evidence import bundle
    from jobs.keys import signer_of

    key = entry_key(entry)
    assert key is not None
    with assembled(config) as parts:
        try:
            made = bundle(parts.database, *key, signer_of(parts.settings.evidence))
        except LookupError as error:
            raise Problem(
                Exit.USAGE, f"there is no entry {entry}: `assent status` says how large each ledger is"
            ) from error
    if str(output) == "-":
        print_object(made)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(json.dumps(made, ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        raise Problem(Exit.USAGE, f"{output} can't be written ({error.strerror}): name a new file") from error
    told = {"entry": entry, "file": str(output), "size": made["proof"]["size"], "key": made["key"]}
    if as_json:
        print_object(told)
    else:
        print(f"{output} proves {entry}: a checkpoint of {told['size']:,} entries, signed by {told['key']}")


@keys.command("list")
def list_keys(config: Config = None, as_json: Json = False) -> None:
    """Print the key in force and those that signed before, as others need them to verify."""
    from consent.canonical import timestamp
    from consent.checkpoints import verifiers
    from consent.ledger import ledgers
    from jobs.build import assembled
    from jobs.keys import signer_of

    with assembled(config, only_reads=True) as parts:
        signer = signer_of(parts.settings.evidence)
        found: dict[str, list[int]] = {signer.verifier: []} if signer is not None else {}
        with parts.database.read() as tx:
            for name in ledgers(tx):
                for key, first, last in verifiers(tx, name):
                    found.setdefault(key, []).extend((first, last))
    rows: list[dict[str, Any]] = [
        {
            "key": key,
            "in_force": signer is not None and key == signer.verifier,
            "first_at": timestamp(min(at)) if at else None,
            "last_at": timestamp(max(at)) if at else None,
        }
        for key, at in found.items()
    ]
    if as_json:
        print_lines(rows)
    else:
        table = ([row[name] for name in ("key", "in_force", "first_at", "last_at")] for row in rows)
        print_table(("KEY", "IN FORCE", "FIRST", "LAST"), table, empty="No key yet: run `assent init`.")


@keys.command()
def rotate(yes: Yes = False, config: Config = None, as_json: Json = False) -> None:
    """Make a new key in the place of the one in force, which is kept beside it; the change is an entry."""
    from jobs.build import assembled, host_actor
    from jobs.evidence import rotate as change

    with assembled(config) as parts:
        confirm("every process must be started anew to sign with the new key", yes)
        made = change(parts, host_actor(), now())
    if as_json:
        print_object(made)
    else:
        print(f"signs now: {made['key']}\nkept: {made['kept']}")
