"""Three faults at a socket, a disk and a process: each must strike, hold up nobody else, and be made up for."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from connectors.salesforce.standin.control import Control
from jobs.demo.folder import ARCHIVE, ARCHIVE_AWAY
from jobs.demo.stage import Stage, Standing
from jobs.demo.telling import Teller
from jobs.exits import Exit, Problem

_RECORDS = "Assent_Entry__c"
_PATIENCE = 30.0

Texts = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Broken:
    """What one break did: what each destination was owed before it, while it lasted, and after it."""

    destination: str
    how: str
    before: Standing
    during: Standing
    after: Standing

    def told(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        times = {"before": self.before, "during": self.during, "after": self.after}
        owed = {at: {name: row["owed"] for name, row in rows.items()} for at, rows in times.items()}
        state = self.during[self.destination]["state"]
        return {"destination": self.destination, "how": self.how, "state": state, "owed": owed}


def break_salesforce(stage: Stage, texts: Texts, teller: Teller, title: str) -> Broken:
    """Kill the stand-in when it has stored a batch and not answered yet, and start it again."""
    teller.step(f"{title}: Salesforce dies in the middle of a batch (kill -9)")
    control = Control(stage.standin.address.control_url)
    teller.tell_taken(stage.take(texts))
    before = _tell(teller, "owed before", stage)
    held = control.counts()[_RECORDS]
    # It stores the next batch and keeps its answer to itself, so that the kill falls between the two.
    fault = control.arm(route="collections", mute="after")
    with stage.syncing() as thread:
        _wait(lambda: control.counts()[_RECORDS] > held, until_ended=thread.is_alive)
        stored, in_flight = control.counts()[_RECORDS] - held, _in_flight(control, fault)
        struck = stage.standin.kill()
    _require(struck and in_flight and stored > 0, "the kill should have struck in the middle of a batch")
    teller.row("killed", f"when it had stored {stored} records and answered for none")
    during = _tell(teller, "owed meanwhile", stage)
    _judge(before, during, "salesforce")
    where = stage.standin.address.url
    stage.standin.start()
    stage.standin.wait()
    _require(stage.standin.address.url == where, "the stand-in should have come back on its old port")
    stage.sync()
    after = _caught_up(teller, stage)
    count = Control(stage.standin.address.control_url).counts()[_RECORDS]
    teller.row("records in Salesforce", f"{count}: those {stored} came a second time, and are there once")
    _require(count == after["salesforce"]["delivered"], "Salesforce should hold each entry exactly once")
    return Broken("salesforce", "killed in mid-batch", before, during, after)


def break_archive(stage: Stage, texts: Texts, teller: Teller, title: str) -> Broken:
    """Move the archive's directory away and back, as an unmounted disk would."""
    teller.step(f"{title}: the archive's directory is moved away")
    archive, away = stage.root / ARCHIVE, stage.root / ARCHIVE_AWAY
    teller.tell_taken(stage.take(texts))
    before = _tell(teller, "owed before", stage)
    archive.rename(away)
    try:
        stage.sync()
        _require(not archive.exists(), "no archive should have been made in the place of the missing one")
        during = _tell(teller, "owed meanwhile", stage)
        _judge(before, during, "archive")
    finally:
        away.rename(archive)
    stage.sync()
    after = _caught_up(teller, stage)
    return Broken("archive", "directory moved away", before, during, after)


def break_portal(stage: Stage, texts: Texts, teller: Teller, title: str) -> Broken:
    """Cut each connection to the portal when its answer begins to come."""
    teller.step(f"{title}: the portal's connections are cut before its answers arrive")
    teller.tell_taken(stage.take(texts))
    before = _tell(teller, "owed before", stage)
    with _cutting(stage) as cuts:
        stage.sync()
    _require(cuts() > 0, "connections should have been cut")
    teller.row("connections cut", f"{cuts()}, each after the portal had done what was asked")
    during = _tell(teller, "owed meanwhile", stage)
    _judge(before, during, "portal")
    stage.sync()
    after = _caught_up(teller, stage)
    return Broken("portal", "connections cut", before, during, after)


def _judge(before: Standing, during: Standing, name: str) -> None:
    """Require that the broken destination is still owed all, and that no other was held up."""
    broken = during[name]
    _require(broken["owed"] > 0 and broken["owed"] == before[name]["owed"], f"{name} should still be owed all")
    _require(broken["state"] == "retrying", f"{name} should be tried again, but is {broken['state']}")
    for other, row in during.items():
        if other != name:
            _require(row["owed"] == 0 and row["state"] == "ok", f"{other} should not have been held up by {name}")


def _caught_up(teller: Teller, stage: Stage) -> Standing:
    stage.require_caught_up()
    return _tell(teller, "owed after", stage)


def _tell(teller: Teller, when: str, stage: Stage) -> Standing:
    standing = stage.status()
    teller.tell_owed(when, standing)
    return standing


def _in_flight(control: Control, fault: int) -> bool:
    """Tell whether a call that met this fault is still waiting: the journal has no answer to it."""
    answered = [line for line in control.journal()["requests"] if line["fault"] == fault and line["status"]]
    return control.struck(fault) == 1 and not answered


@contextmanager
def _cutting(stage: Stage) -> Iterator[Callable[[], int]]:
    earlier = stage.cutter.cuts
    stage.cutter.cutting = True
    try:
        yield lambda: stage.cutter.cuts - earlier
    finally:
        stage.cutter.cutting = False


def _wait(struck: Callable[[], bool], *, until_ended: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE
    while not struck():
        _require(until_ended() and time.monotonic() < until, "the fault should have struck while it was delivering")
        time.sleep(0.01)


def _require(true: bool, what: str) -> None:
    if not true:
        raise Problem(Exit.UNEXPECTED, f"the demo failed: {what}; the logs stand in its folder")
