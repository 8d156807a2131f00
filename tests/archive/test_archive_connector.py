"""The archive keeps the contract, on a real disk."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from connectors.contract import ConnectorContract, Outage


class TestArchiveKeepsTheContract(ConnectorContract):
    @pytest.fixture
    def connector(self, tmp_path: Path):
        connector = ArchiveConnector(Directory(tmp_path / "archive"), batch=4)
        connector.prepare()
        yield connector
        connector.shut()

    @pytest.fixture
    def outage(self, tmp_path: Path) -> Outage:
        @contextmanager
        def moved_away():
            (tmp_path / "archive").rename(tmp_path / "elsewhere")
            yield
            (tmp_path / "elsewhere").rename(tmp_path / "archive")

        return moved_away
