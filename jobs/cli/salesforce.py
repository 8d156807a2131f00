"""`salesforce`: the package, the deployment, and the preflight of an org."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.shared import Config, Json, group, print_object, print_table, say
from jobs.exits import Exit, Problem

if TYPE_CHECKING:
    from connectors.salesforce.deploy import Deployment
    from connectors.salesforce.settings import SalesforceSettings as Told
    from jobs.settings import SalesforceSettings

app = group("Salesforce: the package, its deployment, and what an org lacks.")

Destination = Annotated[
    str | None, typer.Option("--destination", metavar="NAME", help="Which of them, where the settings name several.")
]


@app.command()
def package(
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE|-", help="Where to; - is standard output.")],
    config: Config = None,  # noqa: ARG001 (every command takes both)
    as_json: Json = False,
) -> None:
    """Write the package as one zip for Salesforce's Metadata API; the same bytes wherever it is made."""
    import hashlib

    from connectors.salesforce.packaging import package_files, package_zip

    made = package_zip()
    if output == "-":
        sys.stdout.buffer.write(made)
        return
    try:
        Path(output).write_bytes(made)
    except OSError as error:
        raise Problem(Exit.USAGE, f"{output} can't be written ({error.strerror})") from error
    if as_json:
        digest = hashlib.sha256(made).hexdigest()
        print_object({"file": output, "files": len(package_files()), "bytes": len(made), "sha256": digest})
    else:
        print(f"wrote {output}: {len(made):,} bytes")
        # Without that option the tool looks for one folder a package in the zip, and finds none.
        sf = f"sf project deploy start --metadata-dir {output} --single-package --target-org ALIAS"
        say(f"An administrator deploys it with `{sf}`.")


@app.command()
def check(name: Destination = None, config: Config = None, as_json: Json = False) -> None:
    """Compare an org with what we need: login, objects, fields, permissions, limits; ends 3 if something is to mend."""
    from connectors.salesforce.connector import SalesforceConnector

    results: list[dict[str, Any]] = []
    for destination, told in _chosen(config, name):
        connector = SalesforceConnector(told)
        try:
            findings = connector.check()
        finally:
            connector.shut()
        well = all(finding.ok for finding in findings)
        results.append({"name": destination, "ok": well, "findings": [asdict(finding) for finding in findings]})
    if as_json:
        print_object({"destinations": results})
    else:
        rows = [
            (one["name"], "ok" if finding["ok"] else "MEND", finding["subject"], finding["advice"])
            for one in results
            for finding in one["findings"]
        ]
        print_table(("DESTINATION", "", "WHAT", "WHAT TO DO"), rows)
    wrong = [finding for one in results for finding in one["findings"] if not finding["ok"]]
    if any(finding["subject"] in ("login", "connection") for finding in wrong):
        raise typer.Exit(Exit.UNREACHABLE)
    if wrong:
        raise typer.Exit(Exit.SOME_FAILED)


@app.command()
def deploy(
    name: Destination = None,
    check_only: Annotated[bool, typer.Option("--check-only", help="Let the org say what it would do.")] = False,
    username: Annotated[
        str | None, typer.Option(metavar="U", help='Sign in as this administrator (auth = "jwt").', show_default=False)
    ] = None,
    wait: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long to wait for the end of it.")] = 1800,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Deploy the package to an org, all of it or nothing; ends 3 if the org takes none of it, and says why."""
    from connectors.salesforce.deploy import deploy as bring
    from connectors.salesforce.packaging import package_zip

    chosen = _chosen(config, name)
    if len(chosen) > 1:
        raise Problem(Exit.USAGE, f"name one with --destination: {', '.join(one for one, _ in chosen)}")
    ((destination, told),) = chosen
    if username is not None:
        if told.auth != "jwt":
            raise Problem(Exit.USAGE, '--username needs auth = "jwt": with client credentials the app names its user')
        told = replace(told, username=username)
    with _progress() as tell:
        ended = bring(told, package_zip(), check_only=check_only, patience=wait, progress=tell)
    if as_json:
        components = {"total": ended.total, "deployed": ended.deployed, "failed": ended.failed}
        print_object(
            {"destination": destination, "deployment": ended.id, "state": ended.state, "check_only": check_only,
             "components": components, "failures": [failure._asdict() for failure in ended.failures]}
        )  # fmt: skip
    else:
        _print_ended(ended, destination, check_only)
    if not ended.succeeded:
        raise typer.Exit(Exit.SOME_FAILED)


def _print_ended(ended: "Deployment", destination: str, check_only: bool) -> None:
    if ended.succeeded:
        what = "would take" if check_only else "holds"
        print(f"{destination} {what} the package: {ended.deployed} components (deployment {ended.id})")
        if not check_only:
            say("Next: assign the permission set Assent Integration to the integration user, then "
                "`assent salesforce check`.")  # fmt: skip
        return
    print(
        f"{destination} took nothing: deployment {ended.id} ended {ended.state}, {ended.failed} of {ended.total} failed"
    )
    rows = [(failure.file or "(all of it)", failure.type, failure.problem) for failure in ended.failures]
    print_table(("FILE", "TYPE", "WHAT SALESFORCE SAYS"), rows)


def _chosen(config: Path | None, name: str | None) -> "list[tuple[str, Told]]":
    """Return the Salesforce destinations that are meant; one that isn't switched on yet is, if none other is."""
    from jobs.build import salesforce_settings

    known = _salesforce(config)
    if not known:
        raise Problem(Exit.SETTINGS, 'the settings name no Salesforce destination: add one of kind = "salesforce"')
    if name is not None and name not in known:
        raise Problem(Exit.USAGE, f"there is no Salesforce destination {name}; there are: {', '.join(known)}")
    names = [name] if name is not None else [one for one in known if known[one].enabled] or list(known)
    if not all(known[one].enabled for one in names):
        # Of a destination that is switched off neither keys nor secrets are read; here they are wanted before that.
        on = {f"ASSENT_DESTINATIONS__{one.upper().replace('-', '_')}__ENABLED": "true" for one in names}
        known = _salesforce(config, os.environ | on)
    return [(one, salesforce_settings(known[one])) for one in names]


def _salesforce(config: Path | None, environ: dict[str, str] | None = None) -> "dict[str, SalesforceSettings]":
    from jobs.settings import load_settings

    destinations = load_settings(config, environ).settings.destinations
    return {name: settings for name, settings in destinations.items() if settings.kind == "salesforce"}


@contextmanager
def _progress() -> "Iterator[Callable[[Deployment], None]]":
    """Give a function that shows how far a deployment is; on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("waiting", total=None)

        def tell(so_far: "Deployment") -> None:
            bar.update(task, description=so_far.state, total=so_far.total or None, completed=so_far.deployed)

        yield tell
