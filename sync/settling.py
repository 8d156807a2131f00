"""What a tenure writes down: receipts, what is set aside, how an outage goes, how far a destination was told.

The answers of a push become one transaction, which holds the lease's row and compares the fencing number: whoever slept
past his lease writes nothing.
"""

import time
from collections.abc import Sequence
from typing import assert_never

import structlog
from sqlalchemy import Connection

from consent.database import Database, run
from consent.entry import Entry
from sync import findings, leases, outages, receipts
from sync.clock import database_now
from sync.destinations import Destination
from sync.late import aside
from sync.leases import Lease
from sync.port import Delay, Outcome, Receipt, Refusal, StatementRefusedError, SuspendedError, TransientError

log = structlog.get_logger()


class Settling:
    """The writing side of one tenure."""

    def __init__(self, database: Database, destination: Destination, lease: Lease, attempts: int) -> None:
        """An entry that fails alone for the `attempts`th time becomes a dead letter."""
        self._database, self._destination, self._lease, self._attempts = database, destination, lease, attempts
        self._is_away = lease.attempts > 0
        #: True where the destination had been away for this ledger and is back.
        self.recovered = False

    def settle(self, lane: str, first: int, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        """Write down what became of a lane's entries from position `first` on; those without an answer stay owed.

        Raises FencedError where another process took over, SettledTwiceError where the cursor isn't at `first`.
        """
        started = time.monotonic()
        organization, name = self._lease.organization, self._lease.destination
        # A receipt that is lost with the machine is asked for again, by the same push under the same ids: waiting for
        # the disk at each of them would be most of the work.
        with self._database.write(durable=False) as tx:
            now = leases.fence(tx, self._lease)
            receipts.write_receipt(tx, organization, name, lane, first, outcomes, now, self._lease.fence)
            failed = [] if are_receipts(outcomes) else [
                aside(name, entry, outcome, now, attempts=self._attempts, since=now)
                for entry, outcome in zip(entries, outcomes, strict=False) if not isinstance(outcome, Receipt)
            ]  # fmt: skip
            receipts.set_aside(tx, failed)
            ended = self._note_back(tx)
        self._tell_back(ended)
        log.info(
            "batch.settled", destination=name, organization=organization, lane=lane, first=first,
            count=len(outcomes), failed=len(failed), seconds=round(time.monotonic() - started, 4),
        )  # fmt: skip

    def note_closed(self, at: int, refused: StatementRefusedError | None) -> None:
        """Note up to when the destination was told how far it is, the database's microseconds; FencedError.

        Where that was `refused`, people are told; it is tried again when more was settled, or after a day.
        """
        name, organization = self._lease.destination, self._lease.organization
        subject = findings.ledger_at(name, organization)
        with self._database.write(durable=False) as tx:  # it may be told again
            leases.fence(tx, self._lease)
            run(
                tx,
                "UPDATE lease SET closed_at = ? WHERE organization = ? AND destination = ?",
                [at, organization, name],
            )
            if refused is None:
                findings.forget(tx, findings.STATEMENT, subject)
            else:
                told = f"{refused.code}: {refused.advice}"[:1000]
                findings.note(tx, findings.STATEMENT, subject, database_now(tx), 1, told)
            ended = self._note_back(tx)
        if refused is not None:
            log.warning(
                "statement.refused", destination=name, organization=organization, code=refused.code,
                advice=refused.advice,
            )  # fmt: skip
        self._tell_back(ended)

    def note_away(self, error: TransientError, *, after_some: bool) -> None:
        """Note that the destination is away, `after_some` was settled or from the start; tell it where that is news."""
        attempts = 1 if after_some else self._lease.attempts + 1
        with self._database.write() as tx:
            is_new = outages.note_away(tx, self._destination, self._lease, error, attempts, is_known=self._is_away)
        if is_new:
            log.warning("destination.away", destination=self._lease.destination, code=error.code, advice=error.advice)

    def _note_back(self, tx: Connection) -> bool:
        """Note that the destination is back, if it was away; return whether that ended the outage."""
        return self._is_away and outages.note_back(tx, self._destination, self._lease)

    def _tell_back(self, ended: bool) -> None:
        """Say that the destination is back, once that is committed."""
        if self._is_away:
            self._is_away, self.recovered = False, True
        if ended:
            log.warning("destination.back", destination=self._lease.destination)


class Refusals:
    """Refusals in a row for one cause, since the last entry of a lane that was taken."""

    def __init__(self) -> None:
        self._cause, self._count = "", 0

    def add(self, outcomes: Sequence[Outcome], suspend_after: int) -> None:
        """Count on; SuspendedError where a destination refuses all for one cause: it would bury them one by one."""
        if are_receipts(outcomes):
            self._cause, self._count = "", 0
            return
        cause, count = self._cause, self._count
        for outcome in outcomes:
            match outcome:
                case Refusal(code=code):
                    count = count + 1 if code == cause else 1
                    cause = code
                    if count >= suspend_after and not any(isinstance(o, Receipt) for o in outcomes):
                        raise SuspendedError(code, f"{count} entries in a row were refused: {outcome.advice}")
                case Receipt():
                    cause, count = "", 0
                case Delay():
                    pass
                case _:
                    assert_never(outcome)
        self._cause, self._count = cause, count


def are_receipts(outcomes: Sequence[Outcome]) -> bool:
    """Tell whether everything was taken: what nearly every batch is, at a tenth of looking at each."""
    return set(map(type, outcomes)) == {Receipt}
