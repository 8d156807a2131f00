"""The port: what sync asks of a connector, and how a push can end.

A connector translates, nothing more: entries in, the remote's answer to a `Receipt` out.
`push` may be called again with entries that it has had before (transport is at least once),
and from several threads; the entry's id is the idempotency key, so that a repeat leaves one copy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from consent.entry import Entry


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries of one lane of one ledger, in order of position."""

    organization: str
    lane: str
    entries: Sequence[Entry]
    #: True for entries that were set aside, or are pushed again by a resync: positions may have gaps.
    late: bool = False


class Receipt(NamedTuple):
    """The destination's proof that it holds an entry."""

    #: The remote's own name for it: a Salesforce id, a segment's name.
    remote_id: str
    #: 16 bytes over the fields as the remote keeps them: what `find` will give for the same record.
    digest: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """The destination won't take this entry, for this reason: a dead letter until a person acts."""

    #: A word of a closed list, the same for the same cause: `STRING_TOO_LONG`, `tamper`.
    code: str
    #: What the operator reads: what happened and what to do. Never a number, a name or a text.
    advice: str


@dataclass(frozen=True, slots=True)
class Delay:
    """Nobody's fault, and only this entry's: it is set aside and tried later."""

    code: str
    advice: str
    #: Seconds the destination asked us to wait, where it did.
    retry_after: float | None = None


Outcome = Receipt | Refusal | Delay


class TransientError(Exception):
    """The destination is away, slow or busy; nothing of this push counts, and it is tried again later."""

    def __init__(self, code: str, advice: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {advice}")
        self.code, self.advice, self.retry_after = code, advice, retry_after


class StatementRefusedError(Exception):
    """The destination won't be told how far it is. Entries go on: a STOP must not wait for that."""

    def __init__(self, code: str, advice: str) -> None:
        super().__init__(f"{code}: {advice}")
        self.code, self.advice = code, advice


class SuspendedError(Exception):
    """The destination refuses us (credentials, a missing object, a quota): it waits for a person or until `until`."""

    def __init__(self, code: str, advice: str, *, until: int | None = None) -> None:
        super().__init__(f"{code}: {advice}")
        #: `until` is in microseconds since 1970: the quota's hour, where one is known.
        self.code, self.advice, self.until = code, advice, until


@dataclass(frozen=True, slots=True)
class Held:
    """One entry that a destination holds, as read back."""

    organization: str
    seq: int
    lane: str
    pos: int
    remote_id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`: what was looked at, whether it is well, and what to do if not."""

    subject: str
    ok: bool
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a destination is told when a tenure ends: how far the ledger is, and how far this destination."""

    organization: str
    size: int
    #: The tree's root, 32 bytes.
    root: bytes
    #: For each lane this destination takes: (size of the lane in the ledger, settled up to but not including).
    lanes: Mapping[str, tuple[int, int]]
    recorded_at: int
    #: The newest signed checkpoint, where keys exist.
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """How a connector likes to be fed."""

    #: Entries in one push.
    batch: int = 200
    #: Calls of it at one time over all lanes of one ledger.
    in_flight: int = 1
    #: Pushes more than that, which are made ready while those calls are under way.
    ahead: int = 0
    #: One push at a time per lane: its order matters to the destination (archive segments name the one before).
    ordered: bool = False

    @property
    def pushes(self) -> int:
        """Pushes at one time."""
        return self.in_flight + self.ahead


@dataclass(frozen=True, slots=True)
class Budget:
    """Today's allowance of a remote API, where it has one."""

    used: int
    limit: int
    details: Mapping[str, int] = field(default_factory=dict)


class Connector(Protocol):
    """Code for one outside system."""

    @property
    def capacity(self) -> Capacity:
        """How it likes to be fed."""
        ...

    def push(self, batch: Batch) -> Sequence[Outcome]:
        """Bring entries there, answering for each in order; a shorter answer leaves the rest owed.

        Raises TransientError where nothing of it counts, SuspendedError where a person must act.
        """
        ...

    def find(self, organization: str, lane: str, first: int, last: int) -> Iterable[Held]:
        """Read back what the destination holds of a ledger's lane between two positions, both included."""
        ...

    def check(self) -> Sequence[Finding]:
        """Look at the destination as a preflight would: reachable, allowed, able to take what we send."""
        ...

    def close(self, statement: Statement) -> None:
        """Leave word of how far the ledger and this destination are; safe to repeat.

        Raises StatementRefusedError where that alone is refused.
        """
        ...

    def shut(self) -> None:
        """Let go of connections."""
        ...
