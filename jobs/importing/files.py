"""Reads a list as it comes: CSV, XLSX or JSON lines; one row after another, each with where it stands."""

import csv
import io
import json
import zipfile
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from jobs.exits import Exit, Problem
from jobs.importing.formats import Format

#: A longer cell is none that a person filled in, and a whole file behind one forgotten quote isn't a cell.
_LONGEST = 64 * 1024
_BLOCK = 1 << 20
#: An XLSX is a ZIP: what it unpacks to must fit.
_UNPACKED = 1 << 30


class Row(NamedTuple):
    """One row as it came."""

    #: Line of the file, or row of the sheet, from 1.
    number: int
    #: What its columns say, as text, by the names in the heading.
    cells: Mapping[str, str]
    #: Why it can't be read at all.
    fault: str | None = None


@dataclass
class Source:
    """A list that is open: its heading, and its rows one at a time."""

    format: Format
    #: As they stand in the heading; of JSON lines those of the first object.
    columns: list[str]
    rows: Iterator[Row]
    #: How much of the file was read, from 0 to 1.
    share: Callable[[], float]


@contextmanager
def open_source(path: Path, *, wanted: Format | None = None, sheet: str | None = None) -> Iterator[Source]:
    """Open a list until the end of the block; Problem where it can't be read."""
    with ExitStack() as opened:
        yield _opened(path, wanted, sheet, opened)


def _opened(path: Path, wanted: Format | None, sheet: str | None, opened: ExitStack) -> Source:
    try:
        with path.open("rb") as file:
            start = file.read(4096)
        chosen = wanted or _guessed(path, start)
        if chosen is Format.XLSX:
            return _xlsx(path, sheet)
        if sheet is not None:
            raise Problem(Exit.USAGE, "--sheet is for XLSX only")
        return _csv(path, opened) if chosen is Format.CSV else _json_lines(path, opened)
    except OSError as error:
        raise Problem(Exit.USAGE, f"{path} can't be read ({error.strerror}): check the path and its rights") from error


def json_cells(value: Any) -> dict[str, str] | None:
    """Return an object's members as cells; None where it is no object. `employee` may be an object as in a message."""
    if not isinstance(value, dict):
        return None
    cells: dict[str, str] = {}
    for name, cell in value.items():
        if name == "employee" and isinstance(cell, dict):
            cells |= {f"employee_{part}": _text(cell[part]) for part in ("id", "name") if part in cell}
        else:
            cells[name] = _text(cell)
    return cells


def _guessed(path: Path, start: bytes) -> Format:
    if start.startswith(b"PK\x03\x04"):
        return Format.XLSX
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json") or start.lstrip(BOM_UTF8 + b" \r\n\t").startswith(b"{"):
        return Format.JSONL
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise Problem(Exit.USAGE, f"{path} is an old Excel file (.xls), or has a password: save it as .xlsx or CSV")
    return Format.CSV


def _csv(path: Path, opened: ExitStack) -> Source:
    encoding = _encoding(path)
    size = max(1, path.stat().st_size)
    binary = opened.enter_context(path.open("rb", buffering=_BLOCK))
    # cp1252 has five bytes without a character; they can only stand in names and notes.
    file = opened.enter_context(io.TextIOWrapper(binary, encoding, errors="replace", newline=""))
    read = _records(file, _delimiter(file))
    heading = next((cells for _, cells in read if isinstance(cells, list) and any(cells)), None)
    if heading is None:
        raise Problem(Exit.USAGE, f"{path} has no heading: its first line names the columns")
    columns = _unique(heading)
    return Source(Format.CSV, columns, _tabular(read, columns), lambda: min(1.0, binary.tell() / size))


def _encoding(path: Path) -> str:
    """Tell the encoding by its mark, else UTF-8 where the whole file is, else the Western one of Windows."""
    decoder = getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        start = file.read(4)
        if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            return "utf-16"
        if start.startswith(BOM_UTF8):
            return "utf-8-sig"
        file.seek(0)
        try:
            while block := file.read(_BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _delimiter(file: TextIO) -> str:
    """Return what parts the heading into most columns."""
    heading = ""
    while not heading.strip() and (line := file.readline(_LONGEST)):
        heading = line
    file.seek(0)
    counted = {mark: len(next(csv.reader([heading], delimiter=mark), [])) for mark in (",", ";", "\t")}
    return max(counted, key=lambda mark: counted[mark])


def _records(file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield records with the line that each begins at, or what is wrong with one."""
    csv.field_size_limit(_LONGEST)
    reader = csv.reader(file, delimiter=delimiter)
    while True:
        began = reader.line_num + 1
        try:
            yield began, next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield began, f"a cell is longer than {_LONGEST:,} characters: look for a quotation mark without its other"


def _tabular(read: Iterator[tuple[int, Sequence[Any] | str]], columns: Sequence[str]) -> Iterator[Row]:
    for number, cells in read:
        if isinstance(cells, str):
            yield Row(number, {}, cells)
            continue
        said = [_text(cell) for cell in cells]
        if not any(cell.strip() for cell in said):
            continue
        named = dict(zip_longest(columns, said[: len(columns)], fillvalue=""))
        if any(cell.strip() for cell in said[len(columns) :]):
            yield Row(
                number, named, f"it has more than the {len(columns)} cells of the heading: quote the ones with commas"
            )
        else:
            yield Row(number, named)


def _xlsx(path: Path, sheet: str | None) -> Source:
    # Imported where an XLSX comes: the command line starts without it.
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError, WorksheetNotFound

    try:
        with zipfile.ZipFile(path) as packed:
            if sum(one.file_size for one in packed.infolist()) > _UNPACKED:
                raise Problem(Exit.USAGE, f"{path} unpacks to more than {_UNPACKED >> 30} GiB: save it as CSV")
        workbook = CalamineWorkbook.from_path(str(path))
        name = sheet or workbook.sheet_names[0]
        found = workbook.get_sheet_by_name(name)
    except WorksheetNotFound:
        raise Problem(Exit.USAGE, f"{path} has no sheet of that name: {', '.join(workbook.sheet_names)}") from None
    except PasswordError:
        raise Problem(Exit.USAGE, f"{path} has a password: save it without one, or as CSV") from None
    except (CalamineError, zipfile.BadZipFile, IndexError):
        raise Problem(Exit.USAGE, f"{path} is no readable XLSX file: save it anew, or as CSV") from None
    read = enumerate(found.iter_rows(), 1)
    heading = next((cells for _, cells in read if any(_text(cell).strip() for cell in cells)), None)
    if heading is None:
        raise Problem(Exit.USAGE, f"sheet {name} of {path} has no heading: its first row names the columns")
    columns = _unique([_text(cell) for cell in heading])
    at = [0]
    return Source(
        Format.XLSX, columns, _counted(_tabular(read, columns), at), lambda: at[0] / max(1, found.total_height)
    )


def _counted(rows: Iterator[Row], at: list[int]) -> Iterator[Row]:
    for row in rows:
        at[0] = row.number
        yield row


def _json_lines(path: Path, opened: ExitStack) -> Source:
    from jobs import wire

    size = max(1, path.stat().st_size)
    file = opened.enter_context(path.open("rb", buffering=_BLOCK))
    if file.read(3) != BOM_UTF8:
        file.seek(0)

    def read() -> Iterator[Row]:
        number = 0
        while line := file.readline(_LONGEST):
            number += 1
            whole = line.endswith(b"\n") or len(line) < _LONGEST
            while not whole:
                whole = not (more := file.readline(_LONGEST)) or more.endswith(b"\n")
                line = b"{"
            if not line.strip():
                continue
            try:
                cells = json_cells(wire.read_json(line))
            except ValueError:
                cells = None
            fault = None if cells is not None else "the line is no JSON object"
            yield Row(number, cells or {}, fault)

    rows = read()
    first = next(rows, None)
    columns = list(first.cells) if first is not None else []
    every = chain([first] if first is not None else [], rows)
    return Source(Format.JSONL, columns, every, lambda: min(1.0, file.tell() / size))


def _unique(heading: Sequence[str]) -> list[str]:
    """Return the heading with a number behind names that come again, so that no cell hides another."""
    seen: dict[str, int] = {}
    names = []
    for cell in heading:
        name = cell.strip()
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def _text(cell: Any) -> str:
    """Return a cell as text: a number without the `.0` that a spreadsheet gives it, a time as ISO 8601."""
    match cell:
        case str():
            return cell
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case float() if cell.is_integer():
            return str(int(cell))
        case datetime() | date() | time():
            return cell.isoformat()
        case int() | float():
            return str(cell)
        case _:
            return json.dumps(cell)
