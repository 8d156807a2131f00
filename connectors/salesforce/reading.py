"""Reading back: what an org holds of a lane, in as few calls as Salesforce's pages allow.

A query gives 2,000 records a page, and 200 where it selects two or more Long Text Areas (SOQL and SOSL Reference,
"Change the Batch Size in Queries"). So a short range is read with all its fields, and of a long one the text alone of
the Long Text Areas, which gives the first half of each digest. Records that somebody else changed last are then read
once more, whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import structlog

from connectors.salesforce.client import RejectedError, SalesforceClient, suspension
from connectors.salesforce.errors import Fault
from connectors.salesforce.fields import ENTRY_KEY, ENTRY_OBJECT, SLOW_FIELDS, SWIFT_FIELDS
from connectors.salesforce.mapping import digest_of
from consent.canonical import parse_entry_id
from sync.port import Held, SuspendedError, TransientError

log = structlog.get_logger()

_Named = TypeVar("_Named", int, str)

_PAGE = 2000
_WHOLE_PAGE = 100  # positions, or entries, that a condition names: an address may have 16,384 characters
_SWIFT = ", ".join(field.name for field in SWIFT_FIELDS)
_WHOLE = f"Id, {_SWIFT}, " + ", ".join(field.name for field in SLOW_FIELDS)
# On every object (Object Reference, "System Fields").
_WHO = "CreatedById, LastModifiedById"


def read_lane_back(
    client: SalesforceClient, organization: str, lane: str, first: int, last: int, whole: int = _PAGE
) -> Iterator[Held]:
    """Yield what the org holds of a lane between two positions; ranges longer than `whole` by half digests."""
    # Organization ids and lanes are of [a-z0-9-]: nothing to escape, and nothing else comes this far.
    of_lane = f"Organization__c = '{organization}' AND Lane__c = '{lane}'"
    if last - first < whole:
        for row in _select(client, _WHOLE, f"{of_lane} AND {_between(first, last)}"):
            yield _held(row, organization, lane, digest_of(row))
        return
    start = first
    while start <= last:
        stop = min(start + _PAGE - 1, last)
        rows = _swiftly(client, f"{of_lane} AND {_between(start, stop)}")
        changed = {_pos(row) for row in rows if _changed_by_others(row, client.user_id)}
        for row in rows:
            if _pos(row) not in changed:
                yield _held(row, organization, lane, digest_of(row, slow=False))
        for positions in _parts(sorted(changed)):
            named = ", ".join(map(str, positions))
            for row in _select(client, _WHOLE, f"{of_lane} AND Pos__c IN ({named})"):
                yield _held(row, organization, lane, digest_of(row))
        start = stop + 1 if rows else _next_held(client, of_lane, stop + 1, last)


def read_digests(client: SalesforceClient, keys: Sequence[str]) -> dict[str, bytes]:
    """Return the digests of the records that the org holds of these entry ids."""
    digests = {}
    for part in _parts(keys):
        named = ", ".join(f"'{key}'" for key in part)
        for row in _select(client, _WHOLE, f"{ENTRY_KEY} IN ({named})"):
            digests[str(row.get(ENTRY_KEY))] = digest_of(row)
    return digests


def _swiftly(client: SalesforceClient, condition: str) -> list[dict[str, Any]]:
    try:
        return list(_select(client, f"Id, {_SWIFT}, {_WHO}", condition))
    except SuspendedError as error:
        if error.code != "INVALID_FIELD":
            raise
    # Who changed a record last may be hidden from the integration user; what it says is compared all the same.
    return list(_select(client, f"Id, {_SWIFT}", condition))


def _changed_by_others(row: dict[str, Any], user_id: str) -> bool:
    changed_by = row.get("LastModifiedById")
    ours = (row.get("CreatedById"), user_id)
    return isinstance(changed_by, str) and changed_by[:15] not in {one[:15] for one in ours if one}


def _next_held(client: SalesforceClient, of_lane: str, first: int, last: int) -> int:
    """Return the next position that the org holds, or one past `last`: a long gap costs one call."""
    if first > last:
        return first
    rows = list(_select(client, "Pos__c", f"{of_lane} AND {_between(first, last)}", limit=1))
    return _pos(rows[0]) if rows else last + 1


def _between(first: int, last: int) -> str:
    return f"Pos__c >= {first} AND Pos__c <= {last}"


def _select(
    client: SalesforceClient, fields: str, condition: str, limit: int | None = None
) -> Iterable[dict[str, Any]]:
    fault: Fault
    soql = f"SELECT {fields} FROM {ENTRY_OBJECT} WHERE {condition} ORDER BY Pos__c"
    try:
        yield from client.query(soql + (f" LIMIT {limit}" if limit else ""))
    except RejectedError as error:
        fault = error.fault
    else:
        return
    raise suspension(fault)


def _held(row: dict[str, Any], organization: str, lane: str, digest: bytes) -> Held:
    remote_id = str(row.get("Id"))
    try:
        owner, seq = parse_entry_id(row[ENTRY_KEY])
    except (KeyError, TypeError, ValueError):
        owner, seq = "", -1
    if owner != organization:
        # Somebody wrote a record of their own into our object: it names no entry, and stands for none.
        log.warning("salesforce.foreign_record_found", organization=organization, remote_id=remote_id)
        seq = -1
    return Held(organization, seq, lane, _pos(row), remote_id, digest)


def _pos(row: dict[str, Any]) -> int:
    """Return a record's position, which the query asked for."""
    pos = row.get("Pos__c")
    if not isinstance(pos, int | float):
        raise TransientError("unreadable_answer", "Salesforce's answer named records without their positions")
    return int(pos)


def _parts(named: Sequence[_Named]) -> Iterator[Sequence[_Named]]:
    for at in range(0, len(named), _WHOLE_PAGE):
        yield named[at : at + _WHOLE_PAGE]
