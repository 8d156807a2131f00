"""Every transport keeps the contract, on real servers."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from connectors.archive.bucket import Bucket
from connectors.archive.directory import Directory
from connectors.archive.dropbox import Dropbox
from connectors.archive.journal import Journal
from connectors.contract import ConnectorContract, Outage
from tests.archive.conftest import known_at


class TestS3KeepsTheContract(ConnectorContract):
    @pytest.fixture
    def between(self, s3_server, wire):
        return wire(s3_server.port)

    @pytest.fixture
    def connector(self, connect, bucket_settings, between):
        url = f"http://127.0.0.1:{between.port}"
        connector = connect(Bucket(replace(bucket_settings, endpoint_url=url)), batch=4, read_back=1.0)
        connector.prepare()
        return connector

    @pytest.fixture
    def outage(self, between) -> Outage:
        return between.away


class TestSftpKeepsTheContract(ConnectorContract):
    @pytest.fixture
    def between(self, sshd, wire):
        return wire(sshd.port)

    @pytest.fixture
    def connector(self, connect, sshd, dropbox_settings, between):
        connector = connect(Dropbox(known_at(sshd, dropbox_settings, between.port)), batch=4, read_back=1.0)
        connector.prepare()
        return connector

    @pytest.fixture
    def outage(self, between) -> Outage:
        return between.away


class TestJournalKeepsTheContract(ConnectorContract):
    @pytest.fixture
    def connector(self, connect, root, journal_settings):
        connector = connect(Directory(root), batch=4, journal=Journal(journal_settings))
        connector.prepare()
        return connector

    @pytest.fixture
    def outage(self, smtpd, root) -> Outage:
        @contextmanager
        def away():
            # Both halves of it: the server, and the record of what that accepted.
            smtpd.stop()
            root.rename(root.with_name("elsewhere"))
            yield
            root.with_name("elsewhere").rename(root)
            smtpd.start()

        return away
