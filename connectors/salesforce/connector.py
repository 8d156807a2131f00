"""The connector: entries in, records of an org out."""

import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import takewhile

import orjson
import structlog

from connectors.salesforce.check import examine
from connectors.salesforce.client import RejectedError, SalesforceClient, suspension
from connectors.salesforce.errors import TAMPERED, Ending, Fault
from connectors.salesforce.fields import ENTRY_KEY, ENTRY_OBJECT, RUN_KEY, RUN_OBJECT
from connectors.salesforce.gate import CALLS
from connectors.salesforce.mapping import Row, row_of, run_records
from connectors.salesforce.reading import read_digests, read_lane_back
from connectors.salesforce.settings import SalesforceSettings
from consent.kinds import Lane
from consent.values import new
from sync.port import (
    Batch,
    Budget,
    Capacity,
    Delay,
    Finding,
    Held,
    Outcome,
    Receipt,
    Refusal,
    Statement,
    StatementRefusedError,
    SuspendedError,
    TransientError,
)

log = structlog.get_logger()

_CALL_RECORDS = 200  # Salesforce's limit for a collection
# Calls that one push may spend on finding poison: 5 rows among 200, each behind 8 halvings.
_SPLIT_CALLS = 48
# Seconds, at most, before rows that failed for a moment go once more, alone: locks last as long as somebody's save.
_ROUNDS = (0.2, 1.0)
#: Makes a receipt of a pair: what `Receipt._make` does, without a step in Python.
_receipt = partial(new, Receipt)
_SUSPENDING = frozenset({Ending.SUSPENDED, Ending.QUOTA, Ending.EXPIRED})
#: What is said of one object alone, though of a whole call.
_OF_AN_OBJECT = frozenset({
    "INSUFFICIENT_ACCESS", "INSUFFICIENT_ACCESS_OR_READONLY", "INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE",
    "INVALID_TYPE", "NOT_FOUND",
})  # fmt: skip
_BY_A_RULE = "FIELD_CUSTOM_VALIDATION_EXCEPTION"
_MOMENTARY = frozenset({Ending.AGAIN, Ending.LOCKED, Ending.TRANSIENT})


class SalesforceConnector:
    """One Salesforce org as a destination."""

    def __init__(self, settings: SalesforceSettings) -> None:
        self._client = SalesforceClient(settings)
        self._portal_url = settings.portal_url.rstrip("/") if settings.portal_url else None
        self._shut = threading.Event()

    @property
    def capacity(self) -> Capacity:
        """200 records a call, and for each call under way the next one made ready.

        Calls that went off together come back together: only as many that wait keep all places busy.
        """
        return Capacity(batch=_CALL_RECORDS, in_flight=CALLS, ahead=CALLS)

    def push(self, batch: Batch) -> Sequence[Outcome]:
        """Upsert entries by their ids, 200 a call, and answer for each."""
        urgent = batch.lane == Lane.CONSENT.value
        outcomes: list[Outcome] = []
        for start in range(0, len(batch.entries), _CALL_RECORDS):
            entries = batch.entries[start : start + _CALL_RECORDS]
            rows = [row_of(entry, self._portal_url, whole=batch.late) for entry in entries]
            try:
                answered = self._carry(rows, urgent=urgent)
            except (TransientError, SuspendedError):
                if outcomes:
                    break  # what the calls before brought there counts; the rest is still owed
                raise
            outcomes += answered
            if len(answered) < len(rows):
                break
        return outcomes

    def find(self, organization: str, lane: str, first: int, last: int) -> Iterable[Held]:
        """Read back a lane between two positions, 2,000 records an API call where the range is long."""
        return read_lane_back(self._client, organization, lane, first, last)

    def check(self) -> Sequence[Finding]:
        """Compare what the org shows the integration user with what the mapping needs."""
        return examine(self._client)

    def close(self, statement: Statement) -> None:
        """Upsert one sync-run record a lane: how far the ledger is, and how far this org."""
        records = [orjson.dumps(record) for record in run_records(statement)]
        if not records:
            return
        try:
            answers = self._client.upsert(RUN_OBJECT, RUN_KEY, records)
        except RejectedError as error:
            answers = [error.fault]
        except SuspendedError as error:
            if error.code not in _OF_AN_OBJECT:
                raise
            answers = [Fault(Ending.SUSPENDED, error.code, error.advice)]
        fault = next((answer for answer in answers if isinstance(answer, Fault)), None)
        if fault is None:
            return
        if fault.ending in _MOMENTARY:
            raise TransientError(fault.code, fault.advice)
        # What is wrong with this object, or with our rights to it, says nothing of the entries'.
        raise StatementRefusedError(fault.code, fault.advice.replace("Assent Entry", "Assent Sync Run"))

    def shut(self) -> None:
        """Let go of connections."""
        self._shut.set()
        self._client.shut()

    def budget(self) -> Budget | None:
        """Today's use of the API, as the newest answer said; None before the first."""
        return self._client.budget

    def ask_budget(self) -> Budget | None:
        """Ask for today's use of the API, by one call; None where the org doesn't tell."""
        with suppress(RejectedError):  # limits may not be ours to see, but the answer carries the use of the API
            self._client.limits()
        return self._client.budget

    def _carry(self, rows: Sequence[Row], *, urgent: bool) -> list[Outcome]:
        """Send one call's rows; a shorter answer leaves the rest owed."""
        # Salesforce turns both down where one key stands twice in a call.
        by_key = {row.key: row for row in rows}
        answers = self._upsert(list(by_key.values()), urgent=urgent)
        if len(answers) == len(rows) and set(map(type, answers.values())) == {str}:  # as nearly every call ends
            return list(map(_receipt, zip(answers.values(), [row.digest for row in rows], strict=True)))
        for seconds in _ROUNDS:
            again = [key for key, answer in answers.items() if _is_momentary(answer)]
            if not again:
                break
            if any(_ending(answers[key]) is not Ending.AGAIN for key in again):
                self._shut.wait(random.uniform(seconds / 2, seconds))  # noqa: S311 (jitter)
            try:
                answers |= self._upsert([by_key[key] for key in again], urgent=urgent)
            except (TransientError, SuspendedError):
                break  # what the others were told counts; these are delayed
        self._compare_refused(answers, by_key)
        _raise_suspension(list(answers.values()))
        answered = takewhile(lambda row: row.key in answers, rows)
        return [_outcome(answers[row.key], row) for row in answered]

    def _compare_refused(self, answers: dict[str, str | Fault], by_key: Mapping[str, Row]) -> None:
        """Look whether records that some rule won't have changed differ from ours, and tell those as tampered with.

        Our own rules are known by their message; in an org that translates it, or has rules of the same kind, by this.
        """
        refused = [key for key, answer in answers.items() if isinstance(answer, Fault) and answer.code == _BY_A_RULE]
        if not refused:
            return
        with suppress(RejectedError, SuspendedError, TransientError):  # then they are told as refused by another's rule
            held = read_digests(self._client, refused)
            changed = [key for key in refused if key in held and held[key] != by_key[key].digest]
            answers |= dict.fromkeys(changed, TAMPERED)

    def _upsert(self, rows: list[Row], *, urgent: bool) -> dict[str, str | Fault]:
        """Upsert rows, halving what is turned down as a whole, and return the answers by entry id, in their order.

        Later rows may be missing where the calls for one push ran out.
        """
        answers: dict[str, str | Fault] = {}
        waiting = [rows]
        calls = 0
        while waiting and calls < _SPLIT_CALLS:
            part = waiting.pop()
            calls += 1
            try:
                results = self._client.upsert(ENTRY_OBJECT, ENTRY_KEY, [row.json for row in part], urgent=urgent)
            except RejectedError as error:
                if len(part) == 1:
                    answers[part[0].key] = error.fault
                    continue
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]  # the first half next: answers stay in order
                log.warning("salesforce.batch_split", code=error.fault.code, first=part[0].key, count=len(part))
            except (TransientError, SuspendedError):
                if not answers:
                    raise
                break
            else:
                answers.update(zip([row.key for row in part], results, strict=True))
        return answers


def _raise_suspension(answers: Sequence[str | Fault]) -> None:
    """Raise SuspendedError where every record of several met what only a person can mend."""
    # A single record may be alone with its trouble (another owner, say): it is delayed, and holds up nobody.
    if len(answers) > 1 and all(_ending(answer) in _SUSPENDING for answer in answers):
        fault = answers[0]
        assert isinstance(fault, Fault)
        raise suspension(fault)


def _ending(answer: str | Fault) -> Ending | None:
    return answer.ending if isinstance(answer, Fault) else None


def _is_momentary(answer: str | Fault) -> bool:
    return isinstance(answer, Fault) and answer.ending in _MOMENTARY


def _outcome(answer: str | Fault, row: Row) -> Outcome:
    if isinstance(answer, str):
        return Receipt(answer, row.digest)
    match answer.ending:
        case Ending.TAMPER:
            log.error("salesforce.tamper_suspected", entry=row.key)
            return Refusal(answer.code, answer.advice)
        case Ending.REFUSED | Ending.SPLIT:
            return Refusal(answer.code, answer.advice)
        case _:
            return Delay(answer.code, answer.advice)
