"""A small archive on a real disk: two ledgers, three lanes, late entries, three manifests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from consent.entry import Entry
from tests.archive.archive_samples import fill


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def reopen(root: Path) -> Iterator[Callable[[], ArchiveConnector]]:
    """Give a new connector to the same archive, as another process would have."""
    opened: list[ArchiveConnector] = []

    def open_again() -> ArchiveConnector:
        opened.append(ArchiveConnector(Directory(root)))
        return opened[-1]

    yield open_again
    for connector in opened:
        connector.shut()


@pytest.fixture
def archive(reopen: Callable[[], ArchiveConnector]) -> ArchiveConnector:
    connector = reopen()
    connector.prepare()
    return connector


@pytest.fixture
def ledger(archive: ArchiveConnector) -> list[Entry]:
    """The entries of a filled archive's ledger `acme`; another one stands beside it."""
    fill(archive, "umbrella", 15)
    return fill(archive)
