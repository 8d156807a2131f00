"""One schedule's world: an organization, its database and three destinations, two hosts, and callers who never stop."""

import http.client
import json
import os
import random
import signal
import threading
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from consent.canonical import timestamp
from consent.organizations import create_organization, set_mode
from consent.values import Mode
from jobs.build import Parts
from jobs.settings import load_settings
from tests.chaos.chaos_stage import Stage, served_at

#: A dead host's work is free to take after so many seconds.
LEASE = 1.0
_NOON = 1_795_435_200_000_000  # 2026-11-23T12:00:00Z
_TOKEN = "chaos-" * 4
_SAID = ("Hi", "YES", "STOP", "See you at ten", "Thanks", "stop by at five", "HELP", "no", "Yes please, cancel it")


class Host:
    """`assent serve`: HTTP, workers and jobs in one process."""

    def __init__(self, stage: Stage, config: Path, log: Path) -> None:
        self._nursery = stage.nursery
        self.log = log
        self.pid = self._nursery.start(log, "serve", "--config", str(config))
        self.url = ""
        self.code: int | None = None

    def ready(self) -> None:
        """Wait until it listens."""
        self.url = served_at(self.log)

    def send(self, one: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, one)

    def ended(self) -> int:
        """Wait for its end, and return its exit code, negative for a signal."""
        if self.code is None:
            self.code = self._nursery.wait(self.pid)
        return self.code

    def is_stopped(self) -> bool:
        """Tell whether it was paused by SIGSTOP."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


class World:
    """One organization, two hosts, and the callers' side of every text."""

    def __init__(self, stage: Stage, seed: int, kind: str, folder: Path, urls: tuple[str, str]) -> None:
        self.stage, self.kind, self.folder = stage, kind, folder
        self.org = f"o{seed}-{os.urandom(4).hex()}"
        self.chance = random.Random(seed)
        self.archive = folder / "archive"
        straight, through = urls
        self.config = self._settings(folder / "settings.toml", straight)
        self._hosts_config = self._settings(folder / "hosts.toml", through)
        self.parts = Parts(load_settings(self.config, {}))
        self.database = self.parts.database
        self.parts.prepare()
        with self.database.write() as tx:
            create_organization(tx, self.org, "Acme Bank", parent=None, actor="chaos", now=_NOON)
            set_mode(tx, self.org, Mode.CONSENT, actor="chaos", now=_NOON)
        self.hosts = [self._host() for _ in range(2)]
        for host in self.hosts:
            host.ready()
        self.callers = Callers(self)

    def restart(self, host: Host) -> None:
        """Put a new host in the place of one that ended."""
        new = self._host()
        self.hosts[self.hosts.index(host)] = new
        new.ready()

    def run(self, *arguments: str) -> int:
        """Run a command to its end, and return its exit code."""
        pid = self.stage.nursery.start(self.folder / "commands.log", *arguments, "--config", str(self.config))
        return self.stage.nursery.wait(pid)

    def ask(self, sql: str) -> Any:
        """Return the first value of a query."""
        with self.database.read() as tx:
            row = tx.exec_driver_sql(sql).first()
        return None if row is None else row[0]

    def close(self) -> None:
        """End whatever still runs."""
        self.callers.stop()
        for host in self.hosts:
            if host.code is None:
                host.send(signal.SIGCONT)
                host.send(signal.SIGKILL)
                host.ended()
        self.parts.close()

    def _host(self) -> Host:
        return Host(self.stage, self._hosts_config, self.folder / f"host-{os.urandom(3).hex()}.log")

    def _settings(self, path: Path, url: str) -> Path:
        salesforce, served = self.stage.salesforce, f'organizations = ["{self.org}"]'
        (self.folder / "token").write_text(_TOKEN)
        (self.folder / "token").chmod(0o600)
        path.write_text(f"""
[database]
url = "{url}"

[server]
port = 0
token_file = "token"
shutdown_seconds = 5

[delivery]
lease_seconds = {LEASE}
poll_seconds = 0.1
drain_seconds = 5

[destinations.salesforce]
kind = "salesforce"
lanes = ["consent", "messages", "audit"]
login_url = "{salesforce["url"]}"
client_id = "{salesforce["client_id"]}"
username = "{salesforce["username"]}"
private_key_file = "{salesforce["private_key_file"]}"
ca_bundle = "{salesforce["ca_file"]}"
read_timeout = 2
{served}

[destinations.archive]
kind = "archive"
transport = "directory"
path = "archive"
{served}

[destinations.portal]
kind = "portal"
url = "http://127.0.0.1:{self.stage.portal.port}/portal"
secret_file = "{self.stage.portal_secret_file}"
{served}
""")
        return path


class Callers:
    """Three callers, each with lines and contacts of their own, who send on until they are told to stop.

    What isn't answered is sent again, to either host, until it is.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self.sent: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        #: How often a text had to be sent again because nobody answered.
        self.again = 0
        self.failures: list[str] = []
        chances = [random.Random(world.chance.random()) for _ in range(3)]
        self._threads = [threading.Thread(target=self._send, args=(at, one)) for at, one in enumerate(chances)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish what it is at: all that was sent is answered."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _send(self, me: int, chance: random.Random) -> None:
        number = 0
        while not self._stop.is_set():
            texts = []
            for _ in range(chance.randint(1, 6)):
                texts.append(self._text(me, number, chance))
                number += 1
            with self._guard:
                self.sent |= {text["id"]: text for text in texts}
            self._until_answered(texts, chance)
            time.sleep(chance.uniform(0, 0.06))

    def _until_answered(self, texts: Sequence[dict[str, Any]], chance: random.Random) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            host = chance.choice(self._world.hosts)
            answers = _post(host.url, texts) if host.url else None
            if answers is not None and not any("error" in answer for answer in answers):
                with self._guard:
                    self.answers |= {answer["id"]: answer for answer in answers}
                return
            with self._guard:
                self.again += 1
            time.sleep(0.03)
        self.failures.append("a text was not answered within a minute")
        self._stop.set()

    def _text(self, me: int, number: int, chance: random.Random) -> dict[str, Any]:
        line, contact = me * 3 + chance.randrange(3), me * 20 + chance.randrange(12)
        told = {
            "id": f"{self._world.org}-{me}-{number}", "org": self._world.org, "channel": "sms",
            "sender": chance.choice(["employee", "contact"]), "text": chance.choice(_SAID),
            "line": f"+1415555{line:04d}", "contact": f"+1404555{contact:04d}",
            "sent_at": timestamp(_NOON + number * 1_000_000),
        }  # fmt: skip
        if told["sender"] == "employee":
            told["employee"] = {"id": f"e{line}", "name": "Ann Lee"}  # type: ignore[assignment]
        return told


def _post(url: str, texts: Sequence[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Send texts; None where no answer came."""
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=3)
    headers = {"authorization": f"Bearer {_TOKEN}", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/messages/batch", json.dumps(texts), headers)
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
