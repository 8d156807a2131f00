"""CSV and XLSX: a row an entry, and nothing in a cell that a spreadsheet would run."""

import csv
import re
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any, BinaryIO

from consent.entry import Entry
from jobs.exporting.heading import CHECK, Heading, Tally
from jobs.exporting.rows import COLUMNS, row, visible

#: What spreadsheets begin a formula with, full-width forms and leading blanks too (OWASP, CSV injection).
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠\t\r\n]")
#: A number in E.164 computes to itself.
_NUMBER = re.compile(r"\+\d{3,15}")

#: What Excel can hold in a sheet and in a cell.
_SHEET_ROWS = 1_048_576
_CELL = 32_767
_SHORTENED = "… [shortened: this cell holds no more; the JSON lines have all of it]"


def write_csv(file: BinaryIO, entries: Iterator[Entry], _heading: Heading, _tally: Tally) -> None:
    """Write a row an entry as RFC 4180 has it, in UTF-8 with the mark by which spreadsheets know it."""
    text = TextIOWrapper(file, "utf-8-sig", newline="", write_through=False)
    out = csv.writer(text, lineterminator="\r\n")
    out.writerow(COLUMNS)
    out.writerows([harmless(visible(cell)) for cell in row(entry)] for entry in entries)
    text.flush()
    text.detach()


def harmless(cell: str) -> str:
    """Return a cell's text so that no spreadsheet takes it for a formula: an apostrophe before what looks like one."""
    if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


def write_xlsx(file: BinaryIO, entries: Iterator[Entry], heading: Heading, tally: Tally) -> None:
    """Write a workbook: what it is about on one sheet, the entries on others; every cell is text."""
    from xlsxwriter import Workbook

    book = Workbook(
        file,
        {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "use_zip64": True,
        },
    )
    about, bold = book.add_worksheet("About"), book.add_format({"bold": True})
    about.set_column(0, 0, 28)
    about.set_column(1, 1, 100)
    sheets = [_sheet(book, 1, bold)]
    at = 1
    for entry in entries:
        if at == _SHEET_ROWS:
            sheets.append(_sheet(book, len(sheets) + 1, bold))
            at = 1
        for column, cell in enumerate(row(entry)):
            if cell:
                sheets[-1].write_string(at, column, _fitting(cell))
        at += 1
    rows = [("Assent export", heading.form), *heading.told(), *tally.told(), *(("How to check", one) for one in CHECK)]
    for number, (name, value) in enumerate(rows):
        about.write_string(number, 0, name, bold)
        about.write_string(number, 1, _fitting(value))
    book.close()


def _sheet(book: Any, number: int, bold: Any) -> Any:
    sheet = book.add_worksheet("Entries" if number == 1 else f"Entries {number}")
    sheet.freeze_panes(1, 1)
    for column, name in enumerate(COLUMNS):
        sheet.write_string(0, column, name, bold)
    return sheet


def _fitting(cell: str) -> str:
    # Excel counts UTF-16 units.
    if len(cell) * 2 <= _CELL or len(cell.encode("utf-16-le")) // 2 <= _CELL:
        return cell
    kept = cell.encode("utf-16-le")[: 2 * (_CELL - len(_SHORTENED))].decode("utf-16-le", "ignore")
    return kept + _SHORTENED
