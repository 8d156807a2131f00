"""One export from end to end: chosen, written, recorded, and only then given its name."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from consent.canonical import timestamp
from consent.database import Database
from consent.entry import Entry
from consent.kinds import SYSTEM, Kind
from consent.ledger import append, create_ledger
from consent.tags import Tags
from consent.values import Record
from jobs.exits import Exit, Problem
from jobs.exporting.heading import CHECK, Heading, Tally, asked_of
from jobs.exporting.output import Output, Written
from jobs.exporting.selection import Filters, normalized, read, select, tagged
from sync.migrate import tag_key

Write = Callable[[BinaryIO, Iterator[Entry], Heading, Tally], None]
#: Told how many entries there are to look at, then how many more were.
Progress = Callable[[int, int], None]

#: By form: most entries of one file. What keeps a whole file in memory, or a list of what is in it, is cut in volumes.
FORMS: Mapping[str, int | None] = {"csv": None, "xlsx": None, "pdf": 5_000, "jsonl": None, "eml": 50_000}
#: What can go to standard output.
STREAMS = ("csv", "jsonl")


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    tally: Tally
    files: tuple[Written, ...]
    #: None where it went to standard output.
    manifest: Path | None
    #: The id of the entry that says who took what.
    record: str


def export(
    database: Database, filters: Filters, form: str, target: Path | None, *, actor: str, now: int,
    force: bool = False, progress: Progress | None = None,
) -> Exported:  # fmt: skip
    """Write the entries that match to a file, or to standard output where `target` is None.

    Raises Problem where the file is there already (unless `force`), QuestionError for what isn't known.
    """
    if target is None and form not in STREAMS:
        raise Problem(Exit.USAGE, f"{form} needs a file: name it with -o")
    with database.read() as tx:
        tags = Tags(tag_key(tx))
        filters = normalized(tx, filters)
        chosen = select(tx, tags, filters)
    most = sum(one.most for one in chosen)
    tell = progress or (lambda _most, _more: None)
    heading = Heading(filters, form, actor, now, tuple(one.head for one in chosen))
    output = Output(target, force=force) if target is not None else Output(_spool(), force=True)
    try:
        tally = _write(output, read(database, chosen, lambda more: tell(most, more)), heading)
        files = output.written()
        # Recorded before anybody has it: of what was taken no trace may be missing.
        record = _record(database, tags, filters, form, tally, files, actor, now)
        if target is None:
            output.stream(sys.stdout.buffer)
            return Exported(tally, tuple(files), None, record)
        manifest = output.commit(_manifest(heading, tally, files, record))
        return Exported(tally, tuple(files), manifest, record)
    finally:
        output.drop()


def _write(output: Output, entries: Iterator[Entry], heading: Heading) -> Tally:
    """Write volume after volume, at least one."""
    write, most, total = _writer(heading.form), FORMS[heading.form], Tally()
    volume = 1
    while True:
        first = next(entries, None)
        if first is None and volume > 1:
            return total
        rest = chain(() if first is None else (first,), islice(entries, None if most is None else most - 1))
        tally = Tally()
        with output.file() as file:
            write(file, tally.counted(rest), _numbered(heading, volume), tally)
        total.add(tally)
        volume += 1


def _numbered(heading: Heading, volume: int) -> Heading:
    return Heading(heading.filters, heading.form, heading.actor, heading.made_at, heading.heads, volume)


def _writer(form: str) -> Write:
    # The libraries that write a form are slow to import.
    try:
        if form == "pdf":
            from jobs.exporting.pages import write_pdf

            return write_pdf
        if form == "xlsx":
            import xlsxwriter  # noqa: F401
    except ModuleNotFoundError as error:
        raise Problem(Exit.SETTINGS, f"what writes {form} isn't installed: pip install 'assent[export]'") from error
    from jobs.exporting import lines, tables

    return {"csv": tables.write_csv, "xlsx": tables.write_xlsx, "eml": lines.write_eml, "jsonl": lines.write_jsonl}[
        form
    ]


def _spool() -> Path:
    import tempfile

    return Path(tempfile.gettempdir()) / "assent-export"


def _record(
    database: Database, tags: Tags, filters: Filters, form: str, tally: Tally, files: list[Written], actor: str,
    now: int,
) -> str:  # fmt: skip
    facts: dict[str, Any] = {
        "operation": "export", "format": form, "entries": tally.entries, "actor": actor,
        "asked": tagged(tags, filters), "sha256": [one.sha256 for one in files],
    }  # fmt: skip
    for name in ("since", "until"):
        if (at := getattr(filters, name)) is not None:
            facts["asked"][name] = timestamp(at)
    if filters.organization is not None:
        facts["of"] = filters.organization
    with database.write() as tx:
        create_ledger(tx, SYSTEM)
        [entry] = append(tx, SYSTEM, [Record(Kind.ACCESS, now, facts, {})], now)
    return entry.id


def _manifest(heading: Heading, tally: Tally, files: list[Written], record: str) -> bytes:
    told = {
        "schema": "assent-export/1",
        "asked": asked_of(heading.filters),
        "format": heading.form,
        "actor": heading.actor,
        "made_at": timestamp(heading.made_at),
        "record": record,
        "entries": tally.entries,
        "kinds": dict(sorted(tally.kinds.items())),
        "erased": tally.erased,
        "disposed": tally.disposed,
        "files": [asdict(one) for one in files],
        "ledgers": [
            {"organization": one.organization, "size": one.size, "root": one.root.hex()} for one in heading.heads
        ],
        "check": list(CHECK),
    }
    return json.dumps(told, ensure_ascii=False, indent=2).encode() + b"\n"
