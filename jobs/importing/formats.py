"""How a list may be written. Only the standard library: `--help` reads this file."""

from enum import StrEnum


class Format(StrEnum):
    """How a list is written."""

    CSV = "csv"
    XLSX = "xlsx"
    JSONL = "jsonl"
