"""Three hosts on one PostgreSQL: the work is shared, and whoever dies or is cut off is replaced, with nothing twice."""

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from connectors.archive.verify import verify_archive
from jobs.build import Parts
from jobs.settings import load_settings
from sync.reconcile import reconcile
from sync.status import status
from tests.ledger.auditing import assert_whole
from tests.sync.hosts import Host
from tests.sync.sync_world import entries, found, text

_TOKEN = "three-hosts-token"
_ORGANIZATIONS = [f"org-{number}" for number in range(9)]
_LEASE = 1.5
_ASSENT = [str(Path(sys.executable).parent / "assent")]


class Cluster:
    """Three hosts, one database, a shared archive, and a portal elsewhere."""

    def __init__(self, folder, url, postgres, stack):
        self.folder, self._url = folder, url
        self.portal_url, secret = self._portal(stack)
        portal = (self.portal_url.hostname, self.portal_url.port)
        self.hosts = []
        for number in range(3):
            host = Host(number, lambda: unix(postgres.socket), lambda: socket.create_connection(portal))
            stack.callback(host.close)
            self.hosts.append(host)
        self.secret = secret
        (folder / "token").write_text(_TOKEN)
        (folder / "token").chmod(0o600)
        straight = self._settings("straight", url, "127.0.0.1", self.portal_url.geturl())
        self.parts = Parts(load_settings(straight, {}))
        stack.callback(self.parts.close)
        self.parts.upgrade()
        self.database = self.parts.database
        found(self.database, *_ORGANIZATIONS)

    def start(self):
        for host in self.hosts:
            database = f"{self._url.partition('?')[0].replace('@', f'@{host.gateway}:{host.database.port}')}"
            config = self._settings(
                f"host-{host.number}", database, host.address, f"http://{host.gateway}:{host.portal.port}"
            )
            host.serve(config, self.folder / f"host-{host.number}.log", environ())
        for host in self.hosts:
            wait_until(lambda host=host: any(e["event"] == "server.started" for e in events(host)))
            host.url = next(e["url"] for e in events(host) if e["event"] == "server.started")

    def owed(self):
        return sum(row["owed"] + row["set_aside"] + row["refused"] for row in self.rows())

    def rows(self):
        return status(self.database, self.parts.destinations)["destinations"]

    def lease(self, organization, destination):
        with self.database.read() as tx:
            return tx.exec_driver_sql(
                "SELECT holder, fence, until FROM lease WHERE organization = %s AND destination = %s",
                (organization, destination),
            ).one()

    def _portal(self, stack):
        from urllib.parse import urlsplit

        folder = self.folder / "portal"
        folder.mkdir()
        config = folder / "settings.toml"
        config.write_text('[database]\nurl = "sqlite:///serve.db"\n[server]\nport = 0\n')
        subprocess.run([*_ASSENT, "init", "--config", str(config)], check=True, capture_output=True, env=environ())
        output = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(
            [*_ASSENT, "serve", "--no-jobs", "--config", str(config)], env=environ(), stdout=output, stderr=output
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        wait_until(lambda: b'"server.started"' in (folder / "log").read_bytes())
        [line] = [line for line in (folder / "log").read_bytes().splitlines() if b'"server.started"' in line]
        [secret] = folder.rglob("portal-secret")
        return urlsplit(json.loads(line)["url"]), secret

    def _settings(self, name, database, address, portal):
        path = self.folder / f"{name}.toml"
        path.write_text(f"""
[database]
url = "{database}"

[server]
host = "{address}"
port = 0
token_file = "token"
shutdown_seconds = 5

[delivery]
lease_seconds = {_LEASE}
poll_seconds = 0.2
drain_seconds = 5

[destinations.archive]
kind = "archive"
path = "archive"

[destinations.portal]
kind = "portal"
url = "{portal}/portal"
secret_file = "{self.secret}"
""")
        return path


@pytest.fixture
def cluster(tmp_path, postgres, make_postgres_url):
    with ExitStack() as stack:
        yield Cluster(tmp_path, make_postgres_url(), postgres, stack)


def test_three_hosts_share_the_work_and_replace_who_dies_or_is_cut_off_with_nothing_twice(cluster):
    cluster.start()
    callers = [Caller(cluster, number) for number in range(3)]
    for caller in callers:
        caller.start()
    wait_until(lambda: all(settled_by(host) for host in cluster.hosts))
    dead, lonely, alive = cluster.hosts

    dead.kill()
    lonely.portal.hold_answers(True)
    wait_until(lambda: lonely.portal.held and working(lonely, cluster))
    organization, destination, fence = working(lonely, cluster)
    lonely.cut()
    wait_until(lambda: cluster.lease(organization, destination).fence > fence)
    while_cut = [event["event"] for event in events(lonely)]
    # Before the push that is held is given up for its own timeout: its late answer is what may not be settled.
    lonely.mend()
    lonely.portal.hold_answers(False)
    wait_until(lambda: any(event["event"] in ("settling.refused", "lease.lost") for event in events(lonely)))
    for caller in callers:
        caller.stop()
    wait_until(lambda: cluster.owed() == 0)

    assert "settling.refused" not in while_cut
    assert settled_by(alive)
    assert [caller.failure for caller in callers] == [None] * 3
    texts = Counter()
    for name in _ORGANIZATIONS:
        ledger = assert_whole(cluster.database, name)
        texts.update(entry.revealed()["message_id"] for entry in ledger if entry.kind == "message")
    assert texts == Counter(message for caller in callers for message in caller.answered)
    every = len(entries(cluster.database))
    for destination in cluster.parts.destinations:
        result = reconcile(cluster.database, destination)
        assert (destination.name, result.differences, result.checked) == (destination.name, [], every)
    report = verify_archive(cluster.folder / "archive")
    assert (list(report.flaws), report.entries) == ([], every)
    assert ranges_settled_twice(cluster) == []


class Caller(threading.Thread):
    """Sends texts for three organizations to whichever host answers, until each is answered."""

    def __init__(self, cluster, number):
        super().__init__()
        self._cluster, self._chance = cluster, random.Random(number)
        self._organizations = _ORGANIZATIONS  # all callers write to all ledgers, through all hosts
        self._ended = threading.Event()
        self.answered, self.failure = [], None

    def stop(self):
        self._ended.set()
        self.join()

    def run(self):
        while not self._ended.wait(0.01):
            org = self._chance.choice(self._organizations)
            message = text(self._chance.choice(["Hi", "YES", "STOP"]), org=org, contact=self._chance.randrange(30))
            until = time.monotonic() + 60
            while not self._post(message):
                if time.monotonic() > until:
                    self.failure = "a text was not answered within a minute"
                    return
            self.answered.append(message["id"])

    def _post(self, message):
        host = self._chance.choice(self._cluster.hosts)
        address = host.url.removeprefix("http://").rpartition(":")
        connection = http.client.HTTPConnection(address[0], int(address[2]), timeout=2)
        try:
            headers = {"authorization": f"Bearer {_TOKEN}", "content-type": "application/json"}
            connection.request("POST", "/v1/messages", json.dumps(message), headers)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def events(host):
    """Return what a host has logged, the last line only if it is whole."""
    lines = host.log.read_bytes().split(b"\n")[:-1] if host.log.exists() else []
    return [json.loads(line) for line in lines if line.startswith(b"{")]


def settled_by(host):
    return [event for event in events(host) if event["event"] == "batch.settled"]


def working(host, cluster):
    """Return what a host holds a lease on for the portal just now: (organization, destination, fence)."""
    with cluster.database.read() as tx:
        rows = tx.exec_driver_sql(
            "SELECT organization, destination, fence FROM lease WHERE destination = 'portal' AND until > 0"
            f" AND holder LIKE '%%-{host_pid(host)}-%%'"
        ).fetchall()
    return rows[0] if rows else None


def host_pid(host):
    return next(event["pid"] for event in events(host) if event["event"] == "server.started")


def ranges_settled_twice(cluster):
    """Return receipts that begin before the one before ends."""
    with cluster.database.read() as tx:
        return tx.exec_driver_sql(
            "SELECT a.organization, a.first FROM receipt a JOIN receipt b ON a.organization = b.organization"
            " AND a.destination = b.destination AND a.lane = b.lane AND b.first > a.first AND b.first <= a.last"
        ).fetchall()


def unix(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


def environ():
    return {name: value for name, value in os.environ.items() if not name.startswith(("ASSENT_", "PG"))}


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for didn't happen"
        time.sleep(0.02)
