"""`import`: consents with their evidence, from a customer's own list, a carrier, another vendor or a report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.shared import Config, Json, now, print_object, print_table, say
from jobs.exits import Exit
from jobs.importing.formats import Format

#: Rejections that a person is told one by one.
_SHOWN = 10

File = Annotated[Path, typer.Argument(metavar="FILE", help="CSV, XLSX or JSON lines; the heading names the columns.")]
Org = Annotated[str | None, typer.Option("--org", metavar="O", help="The organization of rows that name none.")]
Map = Annotated[
    list[str], typer.Option("--map", metavar="COLUMN=NAME", help="What a column says that isn't known by its name.")
]
Set = Annotated[
    list[str], typer.Option("--set", metavar="NAME=VALUE", help="What all rows say that don't say it themselves.")
]
Sheet = Annotated[str | None, typer.Option("--sheet", metavar="S", help="Of XLSX; the first one where it is missing.")]
As = Annotated[Format | None, typer.Option("--format", help="Where the file's name doesn't tell it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would become of each row, and change nothing.")]
RejectedFile = Annotated[
    Path | None,
    typer.Option("--rejected", metavar="FILE", help="Where rejected rows go [default: FILE.rejected.csv].",
                 show_default=False, dir_okay=False),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_consents)


def import_consents(
    file: File,
    org: Org = None,
    mapped: Map = [],  # noqa: B006 (Typer's way to take an option several times)
    constant: Set = [],  # noqa: B006
    timezone: Annotated[
        str | None, typer.Option("--timezone", metavar="Z", help="The zone of dates without one, as America/New_York.")
    ] = None,
    date_format: Annotated[
        str | None, typer.Option("--date-format", metavar="P", help="As strptime takes it, as '%m/%d/%Y %I:%M %p'.")
    ] = None,
    sheet: Sheet = None,
    written: As = None,
    dry_run: DryRun = False,
    rejected: RejectedFile = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take opt-ins and opt-outs with their evidence, and text nobody because of them.

    Each row needs a contact, opted_in or opted_out, a date and its evidence; an opt-in its line. A later date wins, in
    whatever order; the same list again changes nothing. Rejected rows are kept as they came, with what to mend.
    Ends 0; 3 if a row was rejected.
    """
    from consent.imports import Outcome
    from jobs.build import assembled, host_actor
    from jobs.importing import bringing, columns, consents, files, moments
    from jobs.importing.rejected import Rejected, rejected_path
    from jobs.wire import Takes
    from sync.imports import Preview
    from sync.intake import Intake

    pairs = columns.read_pairs(mapped, "--map", list(columns.CONSENTS))
    constants = columns.read_pairs(constant, "--set", consents.SETTABLE)
    dates = moments.Moments(moments.zone_of(timezone), date_format)
    with files.open_source(file, wanted=written, sheet=sheet) as source, assembled(config) as parts:
        told = columns.told_columns(
            source.columns, columns.CONSENTS, pairs, all_there=source.format is not Format.JSONL
        )
        reader = consents.reader_of(parts.database, host_actor(), now(), org=org, moments=dates, constants=constants)
        path = rejected_path(rejected, file, source.format, dry_run=dry_run)
        with ExitStack() as open_until_then:
            kept = open_until_then.enter_context(closing(Rejected(path, source.format, source.columns)))
            if dry_run:
                takes: Takes = Preview(parts.database)
            else:
                takes = open_until_then.enter_context(closing(Intake(parts.database)))
            advance = open_until_then.enter_context(progress(source))
            summary = bringing.bring(source.rows, told, reader, takes, kept, dry_run=dry_run, progress=advance)
    _print(summary, list(Outcome), kept.written, as_json)


def import_lines(
    file: File,
    org: Org = None,
    mapped: Map = [],  # noqa: B006
    sheet: Sheet = None,
    written: As = None,
    dry_run: DryRun = False,
    rejected: RejectedFile = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Register the lines of a list: line, employee id, employee name, and organization (or --org).

    As `line set` for each; the same list again changes nothing. Ends 0; 3 if a row was rejected.
    """
    from consent.tags import Tags
    from jobs.asking import found_organization
    from jobs.build import assembled, host_actor
    from jobs.importing import columns, consents, files, lines
    from jobs.importing.rejected import Rejected, rejected_path
    from sync.migrate import tag_key

    pairs = columns.read_pairs(mapped, "--map", list(columns.LINES))
    with files.open_source(file, wanted=written, sheet=sheet) as source, assembled(config) as parts:
        told = columns.told_columns(source.columns, columns.LINES, pairs, all_there=source.format is not Format.JSONL)
        with parts.database.read() as tx:
            if org is not None:
                found_organization(tx, org)
            tags, policies = Tags(tag_key(tx)), consents.all_policies(tx)
        registry = lines.Registry(parts.database, policies, tags, host_actor(), now(), org)
        path = rejected_path(rejected, file, source.format, dry_run=dry_run)
        with closing(Rejected(path, source.format, source.columns)) as kept, progress(source) as advance:
            summary = lines.bring_lines(source.rows, told, registry, kept, dry_run=dry_run, progress=advance)
    _print(summary, ("registered", "unchanged"), kept.written, as_json)


@contextmanager
def progress(source: Any) -> Iterator[Callable[[int], None]]:
    """Give a function that shows how far a list is; on a terminal only."""
    import sys

    if not sys.stderr.isatty():
        yield lambda _rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[rows]:,} rows"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0, rows=0)
        rows = 0

        def advance(count: int) -> None:
            nonlocal rows
            rows += count
            bar.update(task, completed=source.share(), rows=rows)

        yield advance


def _print(summary: Any, outcomes: Sequence[str], written: Path | None, as_json: bool) -> None:
    """Tell what became of the rows; ends 3 if some were rejected."""
    counts = {outcome: summary.outcomes[outcome] for outcome in outcomes} | {"rejected": summary.rejected}
    if as_json:
        told = {"dry_run": summary.dry_run, "rows": summary.rows, **counts, "skipped": summary.skipped}
        kept = str(written) if written is not None else None
        print_object({**told, "released": summary.released, "errors": summary.errors, "rejected_file": kept})
    else:
        columns = ("WOULD BECOME" if summary.dry_run else "BECAME", "ROWS")
        counts["skipped"] = summary.skipped
        rows = ((name.replace("_", " "), f"{count:,}") for name, count in counts.items() if count)
        print_table(columns, rows, empty="The list has no rows.")
        if summary.released:
            print(f"{len(summary.released):,} held texts may now be delivered: --json names them")
        _print_rejections(summary, written)
    if summary.rejected:
        raise typer.Exit(Exit.SOME_FAILED)


def _print_rejections(summary: Any, written: Path | None) -> None:
    for error in summary.errors[:_SHOWN]:
        say(f"row {error['row']}: {error['detail']}")
    if summary.rejected > _SHOWN:
        say(f"… and {summary.rejected - _SHOWN:,} more")
    if written is not None:
        say(f"the rejected rows are in {written}: mend them there, and import that file")
