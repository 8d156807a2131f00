"""A destination in memory that fails when told to: what the tests of sync deliver to, and a first thing to read.

It keeps the same promises as the others (`ConnectorContract`), so what sync does with it, it does with them.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from consent.entry import Entry, entry_json
from sync.port import (
    Batch,
    Capacity,
    Delay,
    Finding,
    Held,
    Outcome,
    Receipt,
    Refusal,
    Statement,
    SuspendedError,
    TransientError,
)

_AWAY = TransientError("away", "The destination in memory was told to be away: wait until it is told to be back.")
_BROKEN = TransientError("500", "The destination in memory was told to fail at an entry: wait, or take that one out.")


class MemoryConnector:
    """Holds entries by id; each fault is asked for beforehand and used up once."""

    def __init__(self, capacity: Capacity | None = None) -> None:
        self._capacity = capacity or Capacity()
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._faults: deque[_Fault] = deque()
        self._refusals: dict[str, Refusal] = {}
        self._delays: dict[str, deque[Delay]] = {}
        self._limits: deque[int] = deque()
        self._breaking: set[str] = set()
        self._gate: threading.Event | None = None
        self._away = False
        #: Every push as it came, those that failed too: organization, lane, positions, late.
        self.pushes: list[tuple[str, str, tuple[int, ...], bool]] = []
        #: What `close` was told.
        self.statements: list[Statement] = []

    @property
    def capacity(self) -> Capacity:
        """How it likes to be fed."""
        return self._capacity

    def push(self, batch: Batch) -> Sequence[Outcome]:
        """Keep entries, unless told otherwise; a repeat of an entry replaces its copy."""
        with self._lock:
            positions = tuple(entry.pos for entry in batch.entries)
            self.pushes.append((batch.organization, batch.lane, positions, batch.late))
            gate = self._gate
        if gate is not None:
            gate.wait()
        with self._lock:
            if any(entry.id in self._breaking for entry in batch.entries):
                raise TransientError(_BROKEN.code, _BROKEN.advice)
            fault = self._next_fault()
            if fault is not None and not fault.after_commit:
                raise fault.error
            limit = self._limits.popleft() if self._limits else len(batch.entries)
            outcomes = [self._take(entry) for entry in batch.entries[:limit]]
            if fault is not None:
                raise fault.error
            return outcomes

    def find(self, organization: str, lane: str, first: int, last: int) -> Iterator[Held]:
        """Give what is kept between two positions, in order."""
        with self._lock:
            self._be_there()
            found = [
                Held(organization, kept.entry.seq, lane, kept.entry.pos, kept.receipt.remote_id, kept.receipt.digest)
                for kept in self._kept.values()
                if kept.entry.organization == organization and kept.entry.lane == lane
            ]
        return iter(sorted((one for one in found if first <= one.pos <= last), key=lambda one: one.pos))

    def check(self) -> Sequence[Finding]:
        """Say whether it was told to be away."""
        return [Finding("memory", not self._away, _AWAY.advice if self._away else "")]

    def close(self, statement: Statement) -> None:
        """Remember the statement."""
        with self._lock:
            self._be_there()
            self.statements.append(statement)

    def shut(self) -> None:
        """Let a push that hangs go on."""
        if self._gate is not None:
            self._gate.set()

    # What it is told to do.

    def fail_with(self, error: TransientError | SuspendedError, *, times: int = 1) -> None:
        """Raise this at the next pushes, before anything is kept."""
        self._faults.extend([_Fault(error, after_commit=False)] * times)

    def lose_answers(self, times: int = 1) -> None:
        """Keep what the next pushes bring, then cut the connection instead of answering."""
        cut = TransientError("connection_cut", "The connection was cut before the answer: try again.")
        self._faults.extend([_Fault(cut, after_commit=True)] * times)

    def refuse(self, *entry_ids: str, code: str = "REFUSED", advice: str = "Told to refuse this entry.") -> None:
        """Refuse these entries until `accept` is called for them."""
        self._refusals.update(dict.fromkeys(entry_ids, Refusal(code, advice)))

    def accept(self, *entry_ids: str) -> None:
        """Refuse these entries no longer."""
        for entry_id in entry_ids:
            self._refusals.pop(entry_id, None)

    def delay(self, *entry_ids: str, times: int = 1, code: str = "LOCKED", retry_after: float | None = None) -> None:
        """Put these entries off the next times they come."""
        put_off = Delay(code, "Told to put this entry off.", retry_after)
        for entry_id in entry_ids:
            self._delays.setdefault(entry_id, deque()).extend([put_off] * times)

    def break_at(self, *entry_ids: str) -> None:
        """Fail as a whole at every push that holds one of these entries, as a server does that an entry upsets."""
        self._breaking.update(entry_ids)

    def answer_at_most(self, *counts: int) -> None:
        """Take no more than these many entries at the next pushes, one number a push."""
        self._limits.extend(counts)

    def hang_on(self, event: threading.Event | None) -> None:
        """Make pushes wait for this event before they take anything; None: wait no more."""
        self._gate = event

    def recover(self) -> None:
        """Forget every fault that was asked for and not used up."""
        with self._lock:
            for asked in (self._faults, self._refusals, self._delays, self._limits, self._breaking):
                asked.clear()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Be away, for pushes and for reading back."""
        self._away = True
        try:
            yield
        finally:
            self._away = False

    def forget(self, *entry_ids: str) -> None:
        """Lose these entries, as a person deleting records would."""
        for entry_id in entry_ids:
            del self._kept[entry_id]

    def spoil(self, *entry_ids: str) -> None:
        """Change these entries, as a person editing records would."""
        for entry_id in entry_ids:
            kept = self._kept[entry_id]
            self._kept[entry_id] = kept._replace(receipt=Receipt(kept.receipt.remote_id, b"spoiled" + bytes(9)))

    # What the tests ask.

    def ids(self) -> list[str]:
        """Return the ids of all entries kept, sorted."""
        return sorted(self._kept)

    def entries(self) -> list[Entry]:
        """Return all entries kept, by id."""
        return [self._kept[entry_id].entry for entry_id in sorted(self._kept)]

    def holds(self, kind: str, decision: str | None = None) -> bool:
        """Say whether an entry of this kind, and of this decision, is kept."""
        return any(
            entry.kind == kind and (decision is None or entry.facts().get("decision") == decision)
            for entry in self.entries()
        )

    def _take(self, entry: Entry) -> Outcome:
        if entry.id in self._refusals:
            return self._refusals[entry.id]
        if self._delays.get(entry.id):
            return self._delays[entry.id].popleft()
        kept = self._kept.get(entry.id)
        if kept is not None and kept.entry.leaf != entry.leaf:
            return Refusal("tamper", "Another entry is kept under this id: find out which of the two is true.")
        digest = hashlib.sha256(entry_json(entry)).digest()[:16]
        receipt = Receipt(kept.receipt.remote_id if kept else f"memory-{len(self._kept):06d}", digest)
        self._kept[entry.id] = _Kept(entry, receipt)
        return receipt

    def _next_fault(self) -> "_Fault | None":
        self._be_there()
        return self._faults.popleft() if self._faults else None

    def _be_there(self) -> None:
        if self._away:
            raise TransientError(_AWAY.code, _AWAY.advice)


class _Kept(NamedTuple):
    entry: Entry
    receipt: Receipt


class _Fault(NamedTuple):
    error: TransientError | SuspendedError
    after_commit: bool
