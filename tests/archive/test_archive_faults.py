"""Crashes and full or forbidden disks, for real: processes killed at each step, limits set by the system."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.archive.verify import verify_archive
from consent.kinds import Lane
from tests.archive.archive_samples import lane_of, make_ledger, push, state

PROJECT = Path(__file__).parents[2]


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=PROJECT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )  # fmt: skip


_PUSH = """
import os, resource, signal, sys
from pathlib import Path
from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from consent.kinds import Lane
from sync.port import SuspendedError, TransientError
from tests.archive.archive_samples import lane_of, make_ledger, push

def attempt(root):
    try:
        push(ArchiveConnector(Directory(Path(root))), lane_of(make_ledger("acme", 50), Lane.CONSENT))
    except (SuspendedError, TransientError) as error:
        print(type(error).__name__, error.code)
"""


def last_line(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()[-1]


def test_a_crash_at_any_step_leaves_whole_files_and_the_next_run_leaves_one_of_each(tmp_path):
    driver = [sys.executable, str(Path(__file__).with_name("crash_driver.py")), str(tmp_path)]

    finished = subprocess.run(
        driver, cwd=PROJECT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )  # fmt: skip

    assert finished.returncode == 0, finished.stderr
    told = json.loads(finished.stdout.splitlines()[-1])
    assert told["wrong"] == []
    assert len(told["kills"]) > 60
    steps = {f"{event} {call}" for event in ("c_call", "c_return") for call in ("write", "fsync", "link", "unlink")}
    assert steps <= set(told["kills"])


def test_a_process_that_dies_in_the_middle_of_a_write_leaves_no_segment(root, archive, reopen):
    finished = run(
        _PUSH
        + """
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the system kills whoever writes more than this
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
attempt(sys.argv[1])
""",
        root,
    )
    left = list((root / "acme/consent").iterdir())
    sizes = [path.stat().st_size for path in left]
    ledger = make_ledger("acme", 50)
    again = reopen()
    push(again, lane_of(ledger, Lane.CONSENT))
    again.close(state(ledger, lanes=[Lane.CONSENT]))

    assert finished.returncode == -signal.SIGXFSZ
    assert [path.suffix for path in left] == [".part"]
    assert sizes == [3000]
    assert verify_archive(root).flaws == []


def test_a_full_disk_is_waited_for_and_leaves_nothing(root, archive, reopen):
    finished = run(
        _PUSH
        + """
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
attempt(sys.argv[1])
""",
        root,
    )

    assert last_line(finished) == "TransientError archive_full"
    assert list((root / "acme/consent").iterdir()) == []
    assert len(push(reopen(), lane_of(make_ledger("acme", 50), Lane.CONSENT))) == 20


def test_a_forbidden_directory_waits_for_a_person(root, archive):
    root.chmod(0o500)
    try:
        finished = run(
            _PUSH
            + """
if os.geteuid() == 0:
    os.setgid(65534)  # root may write anywhere: be nobody
    os.setgroups([])
    os.setuid(65534)
attempt(sys.argv[1])
""",
            root,
        )
    finally:
        root.chmod(0o750)

    assert last_line(finished) == "SuspendedError archive_forbidden"


@pytest.mark.parametrize("times", [3])
def test_processes_that_push_the_same_at_once_leave_one_copy(root, archive, times):
    script = _PUSH + "\nattempt(sys.argv[1])\n"
    command = [sys.executable, "-c", script, str(root)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}

    pushing = [subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL) for _ in range(times)]

    assert [process.wait() for process in pushing] == [0] * times
    assert [path.name for path in (root / "acme/consent").iterdir()] == ["000000000000.segment.jsonl"]
