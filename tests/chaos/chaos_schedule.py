"""One schedule: a seed says which faults strike when; afterwards an auditor counts what every place holds."""

import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from connectors.archive.verify import verify_archive
from consent.replay import replay
from sync.intake import Intake
from sync.reconcile import Problem, reconcile
from sync.status import status
from tests.chaos.chaos_faults import ON, NotStruckError
from tests.chaos.chaos_stage import Stage, wait_until
from tests.chaos.chaos_world import World
from tests.ledger.auditing import assert_whole, kept
from tests.sync.sync_world import entries


@dataclass
class Told:
    """What became of one schedule."""

    seed: int
    kind: str
    faults: list[str] = field(default_factory=list)
    texts: int = 0
    entries: int = 0
    seconds: float = 0.0
    #: What an auditor found: each of these is a promise broken.
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    wrong: list[str] = field(default_factory=list)
    folder: Path | None = None

    @property
    def holds(self) -> bool:
        """True where nothing was lost, doubled or changed, and all faults struck."""
        return not (self.lost or self.doubled or self.changed or self.wrong)

    def line(self) -> str:
        """Return the schedule as one line."""
        found = f"{self.lost} lost, {self.doubled} doubled, {self.changed} changed"
        mark = "ok    " if self.holds else "BROKEN"
        size = f"{self.texts:4} texts {self.entries:5} entries"
        return (
            f"{mark} seed {self.seed} {self.kind:10} {self.seconds:5.1f} s {size}"
            f"  {found}  [{'; '.join(self.faults)}]{''.join(f' !! {one}' for one in self.wrong)}"
            f"{'' if self.holds else f' !! kept in {self.folder}'}"
        )


def play(stage: Stage, seed: int, *, meddle: Callable[[World], None] | None = None) -> Told:
    """Play one schedule, always the same for a seed but for the moment at which a process happens to be.

    `meddle` is done when all is through, before the auditor comes: to see that he sees.
    """
    chance = random.Random(seed)
    kind = "sqlite" if seed % 2 else "postgresql"
    told, started = Told(seed, kind), time.monotonic()
    told.folder = Path(mkdtemp(prefix=f"{seed}-", dir=stage.folder))
    with stage.database(kind, told.folder) as urls:
        world = World(stage, seed, kind, told.folder, urls)
        try:
            world.callers.start()
            for fault in chance.sample(ON[kind], chance.randint(3, 5)):
                time.sleep(chance.uniform(0.02, 0.3))
                name = fault.__name__.replace("_", " ")
                told.faults.append(f"{name}: {fault(world)}")
            world.callers.stop()
            told.wrong += world.callers.failures
            _heal(world, told)
            if meddle is not None:
                meddle(world)
            _audit(world, told)
        except (NotStruckError, TimeoutError) as error:
            places = status(world.database, world.parts.destinations)["destinations"]
            told.wrong.append(f"{type(error).__name__}: {error} {places}")
        finally:
            stage.portal.heal()
            stage.control.disarm()
            world.close()
    told.seconds = time.monotonic() - started
    if told.holds:
        # Another schedule would only go through what this one left at the org.
        stage.control.reset(rows=True)
        shutil.rmtree(told.folder)
    else:
        stage.keeps = True
    return told


def _heal(world: World, told: Told) -> None:
    """Nothing is broken any more: the hosts end in order, and a person brings what is left."""
    for host in world.hosts:
        host.send(signal.SIGTERM)
    codes = [host.ended() for host in world.hosts]
    if codes != [143, 143]:
        told.wrong.append(f"hosts ended by {codes}")
    if world.ask("SELECT count(*) FROM set_aside WHERE state = 'refused'"):
        world.run("refused", "retry")

    left: list[dict[str, Any]] = []

    def is_through() -> bool:
        world.run("sync")
        rows = status(world.database, world.parts.destinations)["destinations"]
        left[:] = [row for row in rows if row["owed"] or row["set_aside"] or row["refused"]]
        return not left

    try:
        wait_until(is_through)
    except TimeoutError as error:
        raise TimeoutError(f"a minute after healing is left: {left}") from error


def _audit(world: World, told: Told) -> None:
    """Count from what each place holds by itself."""
    sent, answers = world.callers.sent, world.callers.answers
    told.texts = len(sent)
    try:
        assert_whole(world.database, world.org)
    except AssertionError as error:
        told.wrong.append(f"the ledger isn't whole: {str(error)[:200]}")
    ledger = entries(world.database, world.org)
    told.entries = len(ledger)
    if replay(ledger) != kept(world.database, world.org):
        told.wrong.append("the states aren't those that the entries lead to")
    written = Counter(entry.revealed()["message_id"] for entry in ledger if entry.kind == "message")
    _count(told, "the ledger", written, Counter(list(sent)))
    again = Intake(world.database).take(list(sent.values()))
    told.changed += sum(1 for answer in again if answers.get(answer["id"]) != answer)
    wanted = Counter(entry.id for entry in ledger)
    rows = world.stage.control.rows("Assent_Entry__c")
    _count(told, "salesforce", Counter(r["Entry_Id__c"] for r in rows if r["Organization__c"] == world.org), wanted)
    report = verify_archive(world.archive)
    if list(report.flaws) or report.entries != len(ledger):
        told.wrong.append(f"the archive: {report.entries} of {len(ledger)}, {[str(one) for one in report.flaws][:3]}")
    for destination in world.parts.destinations:
        found = reconcile(world.database, destination)
        told.lost += found.count(Problem.MISSING)
        told.doubled += found.count(Problem.DUPLICATE) + found.count(Problem.EXTRA)
        told.changed += found.count(Problem.DRIFTED)
        if found.checked != len(ledger):
            told.wrong.append(f"{destination.name} was promised {found.checked} of {len(ledger)}")
        if not found.agrees:
            told.wrong.append(f"{destination.name} differs: {found.differences[:3]}")


def _count(told: Told, place: str, held: "Counter[str]", wanted: "Counter[str]") -> None:
    lost, doubled = wanted - held, held - wanted
    told.lost += lost.total()
    told.doubled += doubled.total()
    if lost or doubled:
        told.wrong.append(f"{place}: {lost.total()} lost, {doubled.total()} too many")
