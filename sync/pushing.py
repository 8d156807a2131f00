"""One push, and what goes wrong in it: a fault that one entry causes stays that entry's.

A connector names the entries that it couldn't bring. Where a whole push fails, two causes look alike from outside:
the destination is away, or one entry of the batch makes it fail each time (a body that its server answers with 500).
They are told apart by asking it to take another entry at once.
"""

from collections.abc import Callable, Sequence

import structlog

from consent.entry import Entry
from sync import measures
from sync.port import Batch, Connector, Delay, Outcome, Refusal, SuspendedError, TransientError

log = structlog.get_logger()

Push = Callable[[Batch], Sequence[Outcome]]
Before = Callable[[], Entry | None]


def push(connector: Connector, name: str, batch: Batch) -> Sequence[Outcome]:
    """Push; a fault of our own in one entry is that entry's refusal.

    Raises TransientError and SuspendedError as the connector does.
    """
    try:
        with measures.measured(name):
            outcomes = connector.push(batch)
    except (TransientError, SuspendedError):
        raise
    except Exception as error:
        if len(batch.entries) > 1:
            middle = len(batch.entries) // 2
            front = push(connector, name, _part(batch, batch.entries[:middle]))
            if len(front) < middle:
                return front
            return [*front, *push(connector, name, _part(batch, batch.entries[middle:]))]
        log.exception("push.failed", destination=name, entry=batch.entries[0].id)
        advice = "our connector failed on this entry: report it with the log line push.failed, then retry it"
        return [Refusal(f"unexpected {type(error).__name__}", advice)]
    measures.count(name, outcomes)
    return outcomes


def push_around(push: Push, batch: Batch, before: Before) -> Sequence[Outcome]:
    """Push a batch that may hold an entry at which the destination fails: such a one is delayed, the others taken.

    `before` finds an entry that the destination took earlier; it is brought again where nothing else can show that the
    destination is there, so this is only for connectors that keep one copy of a repeat. A shorter answer leaves the
    rest owed. Raises TransientError where the destination takes nothing at all, and SuspendedError.
    """
    try:
        return push(batch)
    except TransientError as error:
        witness = _witness(push, batch, before)
        if witness is None:
            raise error from None
    outcomes: list[Outcome] = []
    try:
        _isolate(push, batch, witness, outcomes)
    except TransientError:  # it went away meanwhile: what it took counts
        if not outcomes:
            raise
    return outcomes


def _witness(push: Push, batch: Batch, before: Before) -> Batch | None:
    """Return an entry that the destination takes at this moment, or None: then it is away."""
    earlier = before()
    others = [batch.entries[0], batch.entries[-1]] if len(batch.entries) > 1 else []
    for entry in [*others, *([earlier] if earlier is not None else [])]:
        alone = Batch(batch.organization, batch.lane, [entry], late=True)
        try:
            if push(alone):
                return alone
        except TransientError:
            continue
    return None


def _isolate(push: Push, batch: Batch, witness: Batch, outcomes: list[Outcome]) -> None:
    """Push by halves, adding to `outcomes` in order; the destination answers for `witness` before one is delayed."""
    middle = len(batch.entries) // 2
    for part in (batch.entries[:middle], batch.entries[middle:]) if middle else (batch.entries,):
        smaller = _part(batch, part)
        try:
            answered = push(smaller)
        except TransientError as error:
            if len(part) > 1:
                _isolate(push, smaller, witness, outcomes)
                continue
            push(witness)
            answered = [Delay(error.code, f"It fails at this entry alone. {error.advice}", error.retry_after)]
        outcomes += answered
        if len(answered) < len(part):
            raise TransientError("short_answer", "the destination took a part: the rest is tried again")


def _part(batch: Batch, entries: Sequence[Entry]) -> Batch:
    return Batch(batch.organization, batch.lane, entries, batch.late)
