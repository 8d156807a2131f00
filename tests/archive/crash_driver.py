"""Runs a delivery to an archive again and again, killing it (SIGKILL) at each step that reaches the disk.

    python crash_driver.py FOLDER          prints one JSON object: the steps killed at, and what was wrong after

The interpreter's own profiler says when a call to the operating system begins and ends; nothing of the archive's
code is changed. Each run is a process of its own, as a crashed one would be.
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from connectors.archive.flaws import Cause
from connectors.archive.verify import verify_archive
from consent.kinds import Lane
from sync.port import Batch, Receipt
from tests.archive.archive_samples import lane_of, make_ledger, state

_CALLS = {"write", "fsync", "link", "unlink", "mkdir", "flock"}
_LEDGER = make_ledger("acme", 20)


def deliver(root: Path) -> None:
    """Deliver everything as sync would: what was settled before the crash may come again."""
    connector = ArchiveConnector(Directory(root))
    connector.prepare()
    consent = lane_of(_LEDGER, Lane.CONSENT)
    push(connector, consent[:3])
    push(connector, consent[4:])
    push(connector, consent[3:4], late=True)
    for lane in (Lane.MESSAGES, Lane.AUDIT):
        push(connector, lane_of(_LEDGER, lane))
    connector.close(state(_LEDGER))
    connector.shut()


def push(connector: ArchiveConnector, entries: Any, *, late: bool = False) -> None:
    while entries:
        outcomes = connector.push(Batch("acme", entries[0].lane, entries, late))
        assert all(isinstance(outcome, Receipt) for outcome in outcomes), outcomes
        entries = entries[len(outcomes) :]


def killed_at(step: int, root: Path) -> str | None:
    """Deliver in a process that is killed at its n-th step; return the step's name, None if it got through."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        steps = 0

        def profile(frame: FrameType, event: str, arg: Any) -> None:
            nonlocal steps
            name = getattr(arg, "__name__", "")
            system = getattr(arg, "__module__", "") in {"posix", "fcntl"}  # not a file object's write, of a log
            if event in {"c_call", "c_return"} and system and name in _CALLS:
                steps += 1
                if steps == step:
                    sys.setprofile(None)
                    os.write(writing, f"{event} {name}".encode())
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(profile)
        deliver(root)
        sys.setprofile(None)
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        named = pipe.read()
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return named
    assert status == 0, "the delivery failed by itself"
    return None


def look(root: Path) -> list[str]:
    """Say what a crash must not leave behind: files that aren't whole."""
    if not root.exists():
        return []
    # What is not there yet is told too, and rightly: the run was cut.
    cut = {Cause.UNLISTED, Cause.MISSING, Cause.GAP}
    return [str(flaw) for flaw in verify_archive(root).flaws if flaw.cause not in cut]


def look_again(root: Path) -> list[str]:
    """Say what is wrong after the next run."""
    report = verify_archive(root)
    connector = ArchiveConnector(Directory(root))
    wrong = [str(flaw) for flaw in report.flaws]
    for lane in Lane:
        held = [one.pos for one in connector.find("acme", lane, 0, 99)]
        if held != [entry.pos for entry in lane_of(_LEDGER, lane)]:
            wrong.append(f"{lane} holds {held}")
    if report.entries != len(_LEDGER) or report.roots != 1:
        wrong.append(f"{report.entries} entries, {report.roots} roots")
    return wrong


def main(folder: Path) -> None:
    kills, wrong = [], []
    while True:
        root = folder / f"{len(kills)}" / "archive"
        root.parent.mkdir()
        step = killed_at(len(kills) + 1, root)
        if step is None:
            break
        kills.append(step)
        wrong += [f"{len(kills)} {step}: {one}" for one in look(root)]
        deliver(root)
        wrong += [f"{len(kills)} {step}, delivered again: {one}" for one in look_again(root)]
    sys.stdout.write(json.dumps({"kills": kills, "wrong": wrong}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
