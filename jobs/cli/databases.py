"""`db`: the schema of the database."""

from jobs.cli.shared import Config, Json, group, print_object

app = group("The database: its schema.")


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
    import typer

    from jobs.build import assembled
    from jobs.exits import Exit
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
