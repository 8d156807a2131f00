"""The command line as a process of its own, in a folder with settings and a migrated database."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.portal import migrate
from consent.database import open_database
from consent.organizations import create_organization, set_feature

SETTINGS = """
[database]
url = "sqlite:///var/assent.db"

[destinations.archive]
kind = "archive"
transport = "directory"
path = "var/archive"
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Place:
    """A folder to run `assent` in."""

    folder: Path

    def environ(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSENT_")}
        return kept | {"PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"} | more

    def run(self, *arguments: object, told: str = "", under: tuple[str, ...] = (), **environ: str) -> Ended:
        """Run a command to its end; `under` is a program that starts it."""
        command = [*under, str(Path(sys.executable).parent / "assent"), *map(str, arguments)]
        ended = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ(**environ),
            input=told,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def run_all(self, *commands: tuple[object, ...], **environ: str) -> list[Ended]:
        """Run commands one after another, sparing most of each one's start."""
        driver = [sys.executable, str(Path(__file__).parent / "command_driver.py")]
        asked = json.dumps([[str(one) for one in command] for command in commands])
        ended = subprocess.run(
            driver, cwd=self.folder, env=self.environ(**environ), input=asked,
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return [Ended(*one) for one in json.loads(ended.stdout)]

    def start(self, *arguments: object, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "assent"), *map(str, arguments)],
            cwd=self.folder, env=self.environ(**environ), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


@pytest.fixture
def bare(tmp_path: Path) -> Place:
    """An empty folder."""
    (tmp_path / "place").mkdir()
    return Place(tmp_path / "place")


@pytest.fixture(scope="session")
def whole_template(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with the portal's tables in it, as `db upgrade` leaves it."""
    path = tmp_path_factory.mktemp("whole") / "assent.db"
    shutil.copyfile(sqlite_template, path)
    database = open_database(f"sqlite:///{path}")
    migrate.upgrade(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.dispose()
    return path


@pytest.fixture
def place(bare: Place, whole_template: Path) -> Place:
    """A folder with settings and a migrated database."""
    (bare.folder / "settings.toml").write_text(SETTINGS)
    (bare.folder / "var").mkdir()
    shutil.copyfile(whole_template, bare.folder / "var/assent.db")
    return bare


@pytest.fixture
def acme(place: Place) -> Place:
    """The same with an organization that asks for consent."""
    database = open_database(f"sqlite:///{place.folder}/var/assent.db")
    with database.write() as tx:
        create_organization(tx, "acme", "Acme Bank", parent=None, actor="test", now=1)
        set_feature(tx, "acme", "sms_opt_in", True, actor="test", now=1)
    database.dispose()
    return place


@pytest.fixture
def text() -> Callable[..., dict[str, Any]]:
    """Write texts, each with an id of its own."""
    count = 0

    def write(text: str, at: str = "10:00", *, sender: str = "contact", **more: Any) -> dict[str, Any]:
        nonlocal count
        count += 1
        return {
            "id": f"SM{count}", "org": "acme", "channel": "sms", "sender": sender, "line": "+14155550100",
            "employee": {"id": "e1", "name": "Ann Lee"}, "contact": "+14045550123", "text": text,
            "sent_at": f"2024-05-06T{at}:00Z", **more,
        }  # fmt: skip

    return write
