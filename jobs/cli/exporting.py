"""`export`: entries to a file that a regulator can read."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.shared import Config, Json, at_time, now, print_object, say


class Form(StrEnum):
    """What an export can be written as."""

    JSONL = "jsonl"
    CSV = "csv"
    XLSX = "xlsx"
    PDF = "pdf"
    EML = "eml"


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(export)


def export(
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE|-", help="Where to; - is standard output.")],
    form: Annotated[
        Form, typer.Option("--format", help="jsonl is exact; csv, xlsx and pdf are for reading; eml is mails in a ZIP.")
    ] = Form.JSONL,
    org: Annotated[str | None, typer.Option(metavar="O", help="Only this organization.")] = None,
    contact: Annotated[str | None, typer.Option(metavar="N", help="Only with this contact, on every line.")] = None,
    employee: Annotated[str | None, typer.Option(metavar="ID", help="Only of this employee, on every line.")] = None,
    line: Annotated[str | None, typer.Option(metavar="L", help="Only on this line.")] = None,
    conversation: Annotated[str | None, typer.Option(metavar="ID", help="Only this conversation.")] = None,
    hold: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this legal hold covers.")] = None,
    lane: Annotated[str | None, typer.Option(help="Only this lane.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    since: Annotated[str | None, typer.Option(metavar="T", help="Recorded at or after, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Recorded before, RFC 3339.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write entries to a file, with a manifest beside it; that it was done stands in the system ledger."""
    from dataclasses import asdict

    from jobs.build import assembled, host_actor
    from jobs.exits import Exit, Problem
    from jobs.exporting.run import export as write
    from jobs.exporting.selection import Filters

    _one_of("--lane", lane, "Lane")
    _one_of("--kind", kind, "Kind")
    filters = Filters(
        org, lane, kind, at_time(since, "--since"), at_time(until, "--until"), contact, line, employee, conversation,
        hold,
    )  # fmt: skip
    target = None if output == "-" else Path(output)
    if target is not None and not target.parent.is_dir():
        raise Problem(Exit.USAGE, f"{target.parent} is no folder: make it first")
    with assembled(config) as parts, _progress() as told:
        done = write(
            parts.database, filters, form.value, target, actor=host_actor(), now=now(), force=force, progress=told
        )
    if as_json and done.manifest is not None:
        print_object(
            {
                "entries": done.tally.entries,
                "kinds": dict(sorted(done.tally.kinds.items())),
                "files": [asdict(one) for one in done.files],
                "manifest": str(done.manifest),
                "record": done.record,
            }
        )
        return
    say(f"{done.tally.entries:,} entries" + (f"; {done.manifest} says how to check them" if done.manifest else ""))


def _one_of(option: str, value: str | None, choices: str) -> None:
    from consent import kinds
    from jobs.exits import Exit, Problem

    known = [one.value for one in getattr(kinds, choices)]
    if value is not None and value not in known:
        raise Problem(Exit.USAGE, f"{option} is one of {', '.join(known)}")


@contextmanager
def _progress() -> Iterator[Any]:
    """Give a function that moves a bar; on a terminal only."""
    import sys

    if not sys.stderr.isatty():
        yield lambda _most, _more: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda most, more: bar.update(task, total=most, advance=more)
