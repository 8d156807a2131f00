"""What the demo works with: the parts of one process, its destinations, and all that it took so far."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.build import Parts
from jobs.demo.cutter import Cutter
from jobs.demo.programs import StandIn
from jobs.exits import Exit, Problem
from sync.intake import Intake
from sync.status import status
from sync.syncing import sync_now

#: How long deliveries may take to end when the demo is interrupted, seconds.
_END = 10.0

#: A destination's row of `assent status --json`, by its name.
Standing = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Taken:
    """What became of texts."""

    texts: int = 0
    #: Answered as the same text was before.
    repeated: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    auto_messages: int = 0
    entries: int = 0
    #: Turned down, by error code.
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Taken") -> None:
        """Add up."""
        for name in ("texts", "repeated", "auto_messages", "entries"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.verdicts += other.verdicts
        self.errors += other.errors

    def told(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            "taken": self.texts, "repeated": self.repeated, "verdicts": dict(self.verdicts),
            "auto_messages": self.auto_messages, "entries": self.entries, "errors": dict(self.errors),
        }  # fmt: skip


class Stage:
    """The demo's own process, put together as every command of ours is."""

    def __init__(self, root: Path, parts: Parts, standin: StandIn, cutter: Cutter, portal_url: str) -> None:
        self.root, self.parts, self.standin, self.cutter, self.portal_url = root, parts, standin, cutter, portal_url
        self.taken = Taken()
        self._intake = Intake(parts.database)
        self._answers: dict[str, dict[str, Any]] = {}
        self._stop = threading.Event()

    def take(self, texts: Sequence[dict[str, Any]]) -> Taken:
        """Take texts and count the answers; Problem where a repeated text is answered in another way than before."""
        taken = Taken(texts=len(texts))
        for text, answer in zip(texts, self._intake.take(texts), strict=True):
            before = self._answers.get(text["id"])
            self._answers[text["id"]] = answer
            if before is not None and before != answer:
                raise Problem(Exit.UNEXPECTED, "a repeated text was answered in another way than the first time")
            if before is not None:
                taken.repeated += 1
            elif "error" in answer:
                taken.errors[answer["error"]["code"]] += 1
            else:
                taken.verdicts[answer["verdict"]] += 1
                taken.auto_messages += len(answer["auto_messages"])
                taken.entries += len(answer["entries"])
        self.taken.add(taken)
        return taken

    def sync(self) -> None:
        """Deliver all that is owed, as `assent sync` does."""
        with self.syncing():
            pass

    @contextmanager
    def syncing(self) -> Iterator[threading.Thread]:
        """Deliver in the background; the end of the block waits for it."""
        failed: list[BaseException] = []
        thread = threading.Thread(target=self._sync, args=(failed,), name="sync")
        thread.start()
        try:
            yield thread
            thread.join()
        except BaseException:
            # We are being ended: what is in flight ends after its batch, or with the one who doesn't answer.
            self._stop.set()
            self.standin.kill()
            thread.join(_END)
            raise
        for error in failed:
            raise error

    def status(self) -> Standing:
        """Return each destination's row."""
        return {row["name"]: row for row in status(self.parts.database, self.parts.destinations)["destinations"]}

    def require_caught_up(self) -> None:
        """Raise Problem if a destination is owed something, or refused something."""
        for name, row in self.status().items():
            left = row["owed"] + row["set_aside"] + row["refused"]
            if left or row["state"] != "ok":
                told = f"{name} should have caught up, but is {row['state']} with {left} entries left"
                raise Problem(Exit.UNEXPECTED, f"{told}: see {self.root / 'logs'}")

    def close(self) -> None:
        """Stop what is at work."""
        self._stop.set()
        self._intake.close()

    def _sync(self, failed: list[BaseException]) -> None:
        try:
            sync_now(self.parts.database, self.parts.destinations, self.parts.rules, stop=self._stop)
        except BaseException as error:
            failed.append(error)
