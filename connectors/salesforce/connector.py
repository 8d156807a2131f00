"""The connector: entries in, records of an org out."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import structlog

from connectors.salesforce.check import examine
from connectors.salesforce.client import RejectedError, SalesforceClient, suspension
from connectors.salesforce.errors import Ending, Fault
from connectors.salesforce.mapping import (
    ENTRY_FIELDS,
    ENTRY_KEY,
    ENTRY_OBJECT,
    RUN_KEY,
    RUN_OBJECT,
    digest_of,
    record_of,
    run_records,
)
from connectors.salesforce.settings import SalesforceSettings
from consent.canonical import parse_entry_id
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
    SuspendedError,
    TransientError,
)

log = structlog.get_logger()

_CALL_RECORDS = 200  # Salesforce's limit for a collection
_PAGE_POSITIONS = 2000  # and for a page of a query
# Calls that one push may spend on finding poison: 5 rows among 200, each behind 8 halvings.
_SPLIT_CALLS = 48
_SUSPENDING = frozenset({Ending.SUSPENDED, Ending.QUOTA, Ending.EXPIRED})
_SELECT = "SELECT Id, " + ", ".join(field.name for field in ENTRY_FIELDS if field.compared) + f" FROM {ENTRY_OBJECT}"
_SELECT_POSITION = f"SELECT Pos__c FROM {ENTRY_OBJECT}"


class SalesforceConnector:
    """One Salesforce org as a destination."""

    def __init__(self, settings: SalesforceSettings) -> None:
        self._client = SalesforceClient(settings)
        self._portal_url = settings.portal_url.rstrip("/") if settings.portal_url else None

    @property
    def capacity(self) -> Capacity:
        """200 records a call, 8 calls at a time: more in flight gains nothing at 150 ms, and orgs allow 25."""
        return Capacity(batch=_CALL_RECORDS, in_flight=8)

    def push(self, batch: Batch) -> Sequence[Outcome]:
        """Upsert entries by their ids, 200 a call, and answer for each."""
        outcomes: list[Outcome] = []
        for start in range(0, len(batch.entries), _CALL_RECORDS):
            rows = [record_of(entry, self._portal_url) for entry in batch.entries[start : start + _CALL_RECORDS]]
            try:
                answered = self._carry(rows)
            except (TransientError, SuspendedError):
                if outcomes:
                    break  # what the calls before brought there counts; the rest is still owed
                raise
            outcomes += answered
            if len(answered) < len(rows):
                break
        return outcomes

    def find(self, organization: str, lane: str, first: int, last: int) -> Iterable[Held]:
        """Read back a lane between two positions, 2,000 records an API call."""
        start = first
        while start <= last:
            stop = min(start + _PAGE_POSITIONS - 1, last)
            empty = True
            for row in self._read(_range(organization, lane, start, stop)):
                empty = False
                held = _held(row, organization, lane)
                if held is not None:
                    yield held
            start = self._next_held(organization, lane, stop + 1, last) if empty else stop + 1

    def check(self) -> Sequence[Finding]:
        """Compare what the org shows the integration user with what the mapping needs."""
        return examine(self._client)

    def close(self, statement: Statement) -> None:
        """Upsert one sync-run record a lane: how far the ledger is, and how far this org."""
        records = run_records(statement)
        if not records:
            return
        trouble: Exception | None = None
        try:
            answers = self._client.upsert(RUN_OBJECT, RUN_KEY, records)
        except RejectedError as error:
            trouble = suspension(error.fault)
        else:
            fault = next((answer for answer in answers if isinstance(answer, Fault)), None)
            if fault is not None and fault.ending in (Ending.TRANSIENT, Ending.LOCKED, Ending.AGAIN):
                trouble = TransientError(fault.code, fault.advice)
            elif fault is not None:
                trouble = suspension(fault)
        if trouble is not None:
            raise trouble

    def shut(self) -> None:
        """Let go of connections."""
        self._client.shut()

    def budget(self) -> Budget | None:
        """Today's use of the API, as the newest answer said; None before the first."""
        return self._client.budget

    def _carry(self, rows: Sequence[tuple[dict[str, Any], bytes]]) -> list[Outcome]:
        """Send one call's rows; a shorter answer leaves the rest owed."""
        # Salesforce turns both down where one key stands twice in a call.
        records = {record[ENTRY_KEY]: record for record, _ in rows}
        answers = self._upsert(list(records.values()))
        again = [key for key, answer in answers.items() if isinstance(answer, Fault) and answer.ending is Ending.AGAIN]
        if again:  # there by now: a lost answer, or another writer's; the same upsert finds it
            answers |= self._upsert([records[key] for key in again])
        _raise_suspension(list(answers.values()))
        outcomes: list[Outcome] = []
        for record, digest in rows:
            answer = answers.get(record[ENTRY_KEY])
            if answer is None:
                break
            outcomes.append(_outcome(answer, digest, record[ENTRY_KEY]))
        return outcomes

    def _upsert(self, records: list[dict[str, Any]]) -> dict[str, str | Fault]:
        """Upsert records, halving what is turned down as a whole, and return the answers by entry id.

        Later records may be missing where the calls for one push ran out.
        """
        answers: dict[str, str | Fault] = {}
        waiting = [records]
        calls = 0
        while waiting and calls < _SPLIT_CALLS:
            part = waiting.pop()
            calls += 1
            try:
                results = self._client.upsert(ENTRY_OBJECT, ENTRY_KEY, part)
            except RejectedError as error:
                if len(part) == 1:
                    answers[part[0][ENTRY_KEY]] = error.fault
                    continue
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]  # the first half next: answers stay in order
                log.warning("salesforce.batch_split", code=error.fault.code, first=part[0][ENTRY_KEY], count=len(part))
            except (TransientError, SuspendedError):
                if not answers:
                    raise
                break
            else:
                answers.update(zip((record[ENTRY_KEY] for record in part), results, strict=True))
        return answers

    def _read(self, soql: str) -> Iterator[dict[str, Any]]:
        fault: Fault
        try:
            yield from self._client.query(soql)
        except RejectedError as error:
            fault = error.fault
        else:
            return
        raise suspension(fault)

    def _next_held(self, organization: str, lane: str, first: int, last: int) -> int:
        """Return the next position that the org holds, or one past `last`: a long gap costs one call."""
        if first > last:
            return first
        rows = list(self._read(_range(organization, lane, first, last, select=_SELECT_POSITION, limit=1)))
        return int(rows[0]["Pos__c"]) if rows else last + 1


def _range(organization: str, lane: str, first: int, last: int, select: str = _SELECT, limit: int | None = None) -> str:
    # Organization ids and lanes are of [a-z0-9-]: nothing to escape, and nothing else comes this far.
    where = f"Organization__c = '{organization}' AND Lane__c = '{lane}' AND Pos__c >= {first} AND Pos__c <= {last}"
    return f"{select} WHERE {where} ORDER BY Pos__c" + (f" LIMIT {limit}" if limit else "")


def _held(row: dict[str, Any], organization: str, lane: str) -> Held | None:
    try:
        owner, seq = parse_entry_id(row[ENTRY_KEY])
        pos, remote_id = int(row["Pos__c"]), str(row["Id"])
    except (KeyError, TypeError, ValueError):
        owner = ""
    if owner != organization:
        # Somebody wrote a record of their own into our object; it is no entry, so it can't be named as one.
        log.warning("salesforce.foreign_record_found", organization=organization, remote_id=row.get("Id"))
        return None
    return Held(organization, seq, lane, pos, remote_id, digest_of(row))


def _raise_suspension(answers: Sequence[str | Fault]) -> None:
    """Raise SuspendedError where every record of several met what only a person can mend."""
    # A single record may be alone with its trouble (another owner, say): it is delayed, and holds up nobody.
    if len(answers) > 1 and all(isinstance(answer, Fault) and answer.ending in _SUSPENDING for answer in answers):
        fault = answers[0]
        assert isinstance(fault, Fault)
        raise suspension(fault)


def _outcome(answer: str | Fault, digest: bytes, entry_id: str) -> Outcome:
    if isinstance(answer, str):
        return Receipt(answer, digest)
    match answer.ending:
        case Ending.TAMPER:
            log.error("salesforce.tamper_suspected", entry=entry_id)
            return Refusal(answer.code, answer.advice)
        case Ending.REFUSED | Ending.SPLIT:
            return Refusal(answer.code, answer.advice)
        case _:
            return Delay(answer.code, answer.advice)
