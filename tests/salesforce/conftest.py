"""An org to test against: the stand-in as a process of its own, and connectors to it."""

import json
import os
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest

from connectors.salesforce import SalesforceSettings
from connectors.salesforce.connector import SalesforceConnector
from connectors.salesforce.standin.control import Control
from consent.entry import Record, seal
from consent.kinds import Kind
from sync.port import Batch

NOON = 1_795_428_000_000_000


@pytest.fixture(scope="session")
def org_ready(tmp_path_factory):
    """The ready file of an org that runs."""
    state = tmp_path_factory.mktemp("org")
    ready = state / "ready.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "connectors.salesforce.standin", "--package",
         str(files("connectors.salesforce") / "package"), "--state", str(state / "state"), "--port", "0",
         "--ready-file", str(ready)],
        cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not ready.exists():
            assert process.poll() is None, "the stand-in ended before it was ready"
            time.sleep(0.02)
        yield ready
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def org_address(org_ready):
    return json.loads(org_ready.read_text())


@pytest.fixture(scope="module")
def empty_org(org_address):
    """The control address of an org that is empty when a module's tests begin."""
    return _emptied(org_address)


@pytest.fixture
def org(org_address):
    """The control address of an empty org in which nothing is armed."""
    return _emptied(org_address)


def _emptied(address):
    control = Control(address["control_url"])
    control.reset(rows=True)
    return control


@pytest.fixture
def settings(org_address):
    """Return settings for the org, some of them changed."""

    def make(**changes):
        known = {
            "login_url": org_address["url"],
            "client_id": org_address["client_id"],
            "username": org_address["username"],
            "private_key": Path(org_address["private_key_file"]).read_text(),
            "client_secret": Path(org_address["client_secret_file"]).read_text().strip(),
            "ca_bundle": org_address["ca_file"],
        }
        return SalesforceSettings(**{**known, **changes})

    return make


@pytest.fixture
def connect(settings):
    """Return connectors to the org; they are shut at the end of the test."""
    made = []

    def make(**changes):
        made.append(SalesforceConnector(settings(**changes)))
        return made[-1]

    yield make
    for connector in made:
        connector.shut()


@pytest.fixture
def salesforce(org, connect):
    """A connector to an empty org."""
    return connect()


@pytest.fixture
def make_entries():
    """Return sealed entries, one for each text."""

    def make(texts, first=0, organization="acme", **values):
        return [
            seal(
                Record(
                    Kind.AUTO_MESSAGE,
                    NOON + 1_234_567 * seq,
                    {"template": "mo.request.contact", "template_version": 1, "channel": "sms", "to": "contact"},
                    {"contact": "+14045550123", "line": "+14155550100", "text": text, **values},
                    "conversation-1",
                    seq,
                ),
                organization, seq, seq, NOON + 1_234_999 * seq, os.urandom(16 * (3 + len(values))),
            )
            for seq, text in enumerate(texts, first)
        ]  # fmt: skip

    return make


@pytest.fixture
def batch_of():
    return lambda entries: Batch(entries[0].organization, entries[0].lane, entries)
