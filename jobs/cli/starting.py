"""Commands that start things: `init`, `serve`, `demo`."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.shared import Config, Json, print_object, say


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(demo)
    app.command()(init)
    app.command()(serve)


def demo(
    config: Config = None,  # noqa: ARG001 (every command takes both)
    as_json: Json = False,
    folder: Annotated[
        Path | None, typer.Option(help="Where it keeps its files.", show_default="var/demo", file_okay=False)
    ] = None,
) -> None:
    """Take a sample of conversations through the whole system, with no account anywhere."""
    from jobs.demo import run_demo

    raise typer.Exit(run_demo(folder or Path("var/demo"), as_json=as_json))


def init(config: Config = None, as_json: Json = False) -> None:
    """Write a commented settings.toml, make keys, create the database; what is there already is kept."""
    from jobs.initialize import initialize

    made = initialize(config)
    if as_json:
        print_object({"made": [str(path) for path in made.made], "kept": [str(path) for path in made.kept]})
        return
    for path in made.made:
        print(f"made {path}")
    for path in made.kept:
        print(f"kept {path}, which was there already")
    say("Next: `assent org create acme --name 'Acme Bank'`, then `assent serve`.")


def serve(
    config: Config = None,
    as_json: Json = False,  # noqa: ARG001 (every command takes both)
    host: Annotated[str | None, typer.Option(help="Address to listen on, over the settings.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port, over the settings; 0 is any.")] = None,
    no_jobs: Annotated[bool, typer.Option("--no-jobs", help="HTTP only: nothing is delivered from here.")] = False,
    jobs_only: Annotated[bool, typer.Option("--jobs-only", help="Deliveries and scheduled jobs only.")] = False,
) -> None:
    """HTTP API, portal and scheduled jobs in one process; SIGTERM finishes what is at work."""
    from jobs.exits import Exit, Problem
    from jobs.serve import run_server

    if no_jobs and jobs_only:
        raise Problem(Exit.USAGE, "--no-jobs and --jobs-only exclude each other")
    run_server(config, host=host, port=port, http=not jobs_only, jobs=not no_jobs)
