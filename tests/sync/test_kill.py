"""kill -9, and SIGTERM, in the middle of `assent ingest` and of `assent sync`: nothing is missing, nothing is twice.

Real commands, a real archive, a portal served by `assent serve`, and the Salesforce stand-in over TLS.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from itertools import count
from pathlib import Path

import pytest

from connectors.archive.verify import verify_archive
from connectors.salesforce.standin.control import Control
from consent.ledger import newest_head
from consent.replay import replay
from jobs.build import Parts
from jobs.settings import load_settings
from sync.reconcile import reconcile
from sync.status import status
from tests.ledger.auditing import assert_whole, kept
from tests.sync.sync_world import entries, found, text

_ROOT = Path(__file__).parents[2]
_ASSENT = str(Path(sys.executable).parent / "assent")
_TEXTS = 900
#: Exit codes by signal: an order to end is carried out and told.
ENDED = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143}
_organizations = count()


@pytest.fixture(scope="module")
def salesforce(tmp_path_factory):
    """The stand-in as a process: its address, as it wrote it."""
    state = tmp_path_factory.mktemp("salesforce")
    ready = state / "ready.json"
    command = [
        sys.executable, "-m", "connectors.salesforce.standin", "--package",
        str(files("connectors.salesforce") / "package"), "--state", str(state / "state"), "--port", "0",
        "--ready-file", str(ready),
    ]  # fmt: skip
    with running(command, state / "log"):
        wait_for(ready.exists)
        yield json.loads(ready.read_text())


@pytest.fixture(scope="module")
def portal(tmp_path_factory):
    """`assent serve` as a process: the settings of a destination that delivers to its portal."""
    folder = tmp_path_factory.mktemp("portal")
    config = folder / "settings.toml"
    config.write_text('[database]\nurl = "sqlite:///serve.db"\n[server]\nport = 0\n')
    subprocess.run([_ASSENT, "init", "--config", str(config)], check=True, capture_output=True, env=environ())
    with running([_ASSENT, "serve", "--no-jobs", "--config", str(config)], folder / "log"):
        wait_for(lambda: b'"server.started"' in (folder / "log").read_bytes())
        [line] = [line for line in (folder / "log").read_bytes().splitlines() if b'"server.started"' in line]
        [secret] = folder.rglob("portal-secret")
        yield f'kind = "portal"\nurl = "{json.loads(line)["url"]}/portal"\nsecret_file = "{secret}"'


class World:
    """One organization with its database, its settings and its three destinations."""

    def __init__(self, folder, database_url, salesforce, portal):
        self.org = f"acme-{next(_organizations)}"
        self.folder, self.config = folder, folder / "settings.toml"
        served = f'organizations = ["{self.org}"]'
        self.config.write_text(f"""
[database]
url = "{database_url}"

[delivery]
lease_seconds = 1

[destinations.salesforce]
kind = "salesforce"
lanes = ["consent", "messages", "audit"]
login_url = "{salesforce["url"]}"
client_id = "{salesforce["client_id"]}"
username = "{salesforce["username"]}"
private_key_file = "{salesforce["private_key_file"]}"
ca_bundle = "{salesforce["ca_file"]}"
{served}

[destinations.archive]
kind = "archive"
transport = "directory"
path = "archive"
{served}

[destinations.portal]
{portal}
{served}
""")
        self.parts = Parts(load_settings(self.config, {}))
        self.parts.upgrade()
        self.database = self.parts.database
        found(self.database, self.org)
        self.messages = [
            text(
                chance.choice(["Hi", "YES", "STOP", "See you at ten", "Thanks"]), org=self.org, at=at,
                sender=chance.choice(["employee", "contact"]), contact=at % 90, line=at % 7,
            )
            for chance in [random.Random(self.org)] for at in range(_TEXTS)
        ]  # fmt: skip
        self.file = folder / "messages.jsonl"
        self.file.write_text("".join(json.dumps(message) + "\n" for message in self.messages))

    def start(self, *arguments):
        return subprocess.Popen(
            [_ASSENT, *arguments, "--config", str(self.config)], env=environ(), cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments):
        """Run a command to its end and return what it printed."""
        process = self.start(*arguments)
        out, err = process.communicate()
        assert process.returncode == 0, err.decode()[-2_000:]
        return out

    def receipts(self):
        with self.database.read() as tx:
            return tx.exec_driver_sql("SELECT count(*) FROM receipt").scalar_one()

    def owed(self):
        rows = status(self.database, self.parts.destinations)["destinations"]
        return {row["name"]: row["owed"] for row in rows}

    def size(self):
        with self.database.read() as tx:
            return newest_head(tx, self.org).size


@pytest.fixture(params=["sqlite", "postgresql"])
def database_place(request, tmp_path):
    """Where a database is to be made: SQLite for most moments, PostgreSQL for some."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/assent.db"
    make = request.getfixturevalue("make_postgres_url")
    return make()


@pytest.fixture
def world(database_place, tmp_path, salesforce, portal):
    world = World(tmp_path, database_place, salesforce, portal)
    yield world
    world.parts.close()


@pytest.mark.parametrize(
    ("database_place", "seed", "how"),
    [
        ("sqlite", 1, signal.SIGKILL),
        ("postgresql", 2, signal.SIGKILL),
        ("sqlite", 3, signal.SIGKILL),
        ("postgresql", 4, signal.SIGTERM),
        ("sqlite", 5, signal.SIGTERM),
    ],
    indirect=["database_place"],
)
def test_ingest_and_sync_killed_in_the_middle_lose_nothing_and_bring_nothing_twice(world, salesforce, seed, how):
    chance = random.Random(seed)

    answered = kill_ingest(world, chance, how)
    again = [json.loads(line) for line in world.run("ingest", str(world.file)).splitlines()]
    killed_at = kill_sync(world, chance, Control(salesforce["control_url"]), how)
    world.run("sync")

    assert 0 < len(answered) < _TEXTS
    assert again[: len(answered)] == answered
    assert [answer["id"] for answer in again] == [message["id"] for message in world.messages]
    assert_ledger(world)
    assert killed_at["receipts"] > 0
    assert 0 < sum(killed_at["owed"].values()) < 3 * world.size()
    assert set(world.owed().values()) == {0}
    assert_destinations(world, Control(salesforce["control_url"]))


def kill_ingest(world, chance, how):
    """Kill `assent ingest` some time after its first answers, and return those that it printed whole."""
    process = world.start("ingest", str(world.file))
    # What nobody reads any more fills the pipe: it can't end before it is killed.
    lines = [process.stdout.readline() for _ in range(chance.randrange(1, _TEXTS // 2))]
    time.sleep(chance.uniform(0, 0.1))

    process.send_signal(how)

    lines += process.stdout.readlines()
    assert process.wait() == ENDED[how], "it ended before it was killed"
    process.stdout.close()
    process.stderr.close()
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def kill_sync(world, chance, control, how):
    """Kill `assent sync` after some of its receipts, and return what had been settled and what was owed then."""
    control.settings(latency_seconds=0.3)
    process = world.start("sync")
    enough = chance.randrange(1, 9)
    wait_for(lambda: world.receipts() >= enough or process.poll() is not None)
    time.sleep(chance.uniform(0, 0.02))

    process.send_signal(how)

    assert process.wait() == ENDED[how], "it ended before it was killed"
    process.stdout.close()
    process.stderr.close()
    control.settings(latency_seconds=0)
    return {"receipts": world.receipts(), "owed": world.owed()}


def assert_ledger(world):
    """Every text of the file stands in the ledger once, and the ledger is whole."""
    assert_whole(world.database, world.org)
    written = [entry for entry in entries(world.database, world.org) if entry.kind == "message"]
    assert Counter(entry.revealed()["message_id"] for entry in written) == Counter(
        message["id"] for message in world.messages
    )
    assert replay(entries(world.database, world.org)) == kept(world.database, world.org)


def assert_destinations(world, control):
    """Each destination holds every entry once, as read back from it."""
    for destination in world.parts.destinations:
        result = reconcile(world.database, destination)
        assert (destination.name, result.differences, result.checked) == (destination.name, [], world.size())
    report = verify_archive(world.folder / "archive")
    assert (list(report.flaws), report.entries) == ([], world.size())
    ids = [row["Entry_Id__c"] for row in control.rows("Assent_Entry__c") if row["Organization__c"] == world.org]
    assert sorted(ids) == sorted(entry.id for entry in entries(world.database, world.org))


@contextmanager
def running(command, log):
    """Run a program beside the tests; ended at the end."""
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(command, cwd=_ROOT, env=environ(), stdout=output, stderr=output)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        yield process


def environ():
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSENT_")}
    return kept | {"PYTHONPATH": str(_ROOT)}


def wait_for(condition):
    """Wait until something is so; the test run's own time limit ends what never becomes so."""
    while not condition():
        time.sleep(0.002)
