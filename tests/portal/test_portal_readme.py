"""The receiver in the README does what it says."""

import re
import socket
import subprocess
import sys
import time
from importlib.resources import files

import pytest

from connectors.contract import ConnectorContract, find, push_all
from connectors.portal import protocol
from connectors.portal.connector import PortalConnector, PortalSettings
from sync.port import SuspendedError
from tests.portal.portal_world import batch, text_entry, texts


class Receiver:
    """The README's receiver as a process that can be stopped and started again."""

    def __init__(self, folder):
        (block,) = re.findall(r"```python\n(.*?)```", (files("connectors.portal") / "README.md").read_text(), re.DOTALL)
        self.lines = block.splitlines()
        self.script = folder / "receiver.py"
        self.script.write_text(block)
        self.secret, self.data = protocol.new_secret(), folder / "portal.db"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.__enter__()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(self.script), str(self.port), self.secret, str(self.data)],
            stderr=subprocess.DEVNULL,
        )
        while True:
            assert self.process.poll() is None, "the receiver ended before it was ready"
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.01)
            else:
                return

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def away(self):
        return _Away(self)


class _Away:
    def __init__(self, receiver):
        self.receiver = receiver

    def __enter__(self):
        self.receiver.__exit__()

    def __exit__(self, *_):
        self.receiver.__enter__()


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    receiver = Receiver(tmp_path_factory.mktemp("receiver"))
    yield receiver
    receiver.__exit__()


@pytest.fixture
def connector(receiver):
    connector = PortalConnector(PortalSettings(receiver.url, (receiver.secret,), longest_wait=0.05))
    yield connector
    connector.shut()


class TestTheReadmesReceiverKeepsTheContract(ConnectorContract):
    @pytest.fixture
    def connector(self, connector):
        return connector

    @pytest.fixture
    def outage(self, receiver):
        return receiver.away


def test_it_is_as_short_as_it_says(receiver):
    assert len([line for line in receiver.lines if line.strip()]) < 40


def test_it_tells_tampering_from_a_repeat(connector):
    push_all(connector, texts(3, organization="globex"))

    (refused,) = connector.push(batch([text_entry(1, "I never agreed", organization="globex")]))

    assert refused.code == "tamper"
    assert len(find(connector, texts(3, organization="globex"))) == 3


def test_it_refuses_another_secret(receiver):
    stranger = PortalConnector(PortalSettings(receiver.url, (protocol.new_secret(),)))

    with pytest.raises(SuspendedError):
        stranger.push(batch(texts(1)))
    stranger.shut()
