"""Up to 200 records in one call, which counts once.

REST API Developer Guide, "sObject Collections" (Create), "Upsert Records Using sObject Collections", "Delete Records
Using sObject Collections": results in the order of the request; 400 for all where the request is not well formed,
otherwise 200, even if every row fails.
"""

from collections.abc import Sequence

from connectors.salesforce.standin.answers import Answer, RequestError, RowError, bad_request
from connectors.salesforce.standin.one_row import OneRow, read_object
from connectors.salesforce.standin.rows import Rows
from connectors.salesforce.standin.saving import Draft, Saving
from connectors.salesforce.standin.schema import Field, ObjectType, Schema

MOST_ROWS = 200
_MOST_CHUNKS = 10
_ROLLED_BACK = RowError(
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "Record rolled back because not all records were valid and the request was using AllOrNone header",
)


class ManyRows:
    """The resources under `/composite/sobjects`."""

    def __init__(self, schema: Schema, rows: Rows, saving: Saving, one_row: OneRow) -> None:
        self._schema = schema
        self._rows = rows
        self._saving = saving
        self._one_row = one_row

    def upsert(self, kind: ObjectType, key: Field, body: bytes) -> Answer:
        """PATCH: create or update by external id."""
        records, all_or_none = _read(body)
        for each in records:
            if _type_of(each).lower() != kind.name.lower():
                raise bad_request("INVALID_TYPE", f"All records must be of type {kind.name}, as in the request's URI")
        drafts = [self._saving.draft(kind, each, key) for each in records]
        with self._rows.transaction():
            self._saving.match(kind, key, drafts)
            self._saving.save(kind, drafts, all_or_none=all_or_none)
        rolled_back = all_or_none and any(each.errors for each in drafts)
        results = [self._result(kind, each, rolled_back=rolled_back) for each in drafts]
        return Answer(200, results, rows=len(records))

    def create(self, body: bytes) -> Answer:
        """POST: new records of one object or several, at most ten runs of the same one."""
        records, all_or_none = _read(body)
        chunks: list[tuple[ObjectType, list[Draft]]] = []
        for each in records:
            kind = self._schema.object(_type_of(each))
            if kind is None:
                raise bad_request("INVALID_TYPE", f"sObject type '{_type_of(each)}' is not supported.")
            if not chunks or chunks[-1][0] is not kind:
                chunks.append((kind, []))
            chunks[-1][1].append(self._saving.draft(kind, each))
        if len(chunks) > _MOST_CHUNKS:
            raise bad_request("INVALID_OPERATION", "Cannot have more than 10 chunks in a single operation.")
        with self._rows.transaction() as transaction:
            for kind, drafts in chunks:
                self._saving.save(kind, drafts, all_or_none=all_or_none)
            rolled_back = all_or_none and any(each.errors for _, drafts in chunks for each in drafts)
            if rolled_back:
                transaction.undo()
        results = [self._result(kind, each, rolled_back=rolled_back) for kind, drafts in chunks for each in drafts]
        for each in results:
            del each["created"]
        return Answer(200, results, rows=len(records))

    def delete(self, ids: str, *, all_or_none: bool) -> Answer:
        """DELETE: records by Id, of any object."""
        wanted = [each for each in ids.split(",") if each]
        _check_count(wanted)
        results: list[dict[str, object]] = []
        with self._rows.transaction() as transaction:
            for each in wanted:
                error = self._delete(each)
                errors = [error.as_row()] if error else []
                results.append({"id": each, "success": not errors, "errors": errors})
            if all_or_none and not all(each["success"] for each in results):
                transaction.undo()
                rolled_back = [_ROLLED_BACK.as_row()]
                results = [{**each, "success": False, "errors": each["errors"] or rolled_back} for each in results]
        return Answer(200, results, rows=len(wanted))

    def _delete(self, record_id: str) -> RowError | None:
        for kind in self._schema:
            if self._rows.number_of(kind, record_id) is not None:
                try:
                    self._one_row.delete(kind, self._one_row.by_id(kind, record_id))
                except RequestError as error:
                    return RowError(error.code, error.message)
                return None
        return RowError("MALFORMED_ID", f"malformed id {record_id}")

    def _result(self, kind: ObjectType, draft: Draft, *, rolled_back: bool) -> dict[str, object]:
        created = draft.before is None
        if draft.errors:
            return {"success": False, "errors": [each.as_row() for each in draft.errors], "created": False}
        if rolled_back:
            # `created` is true here although nothing was: seen on live orgs, and a trap for clients.
            return {"success": False, "errors": [_ROLLED_BACK.as_row()], "created": created}
        assert draft.number is not None
        return {"id": self._rows.id_of(kind, draft.number), "success": True, "errors": [], "created": created}


def _read(body: bytes) -> tuple[list[dict[str, object]], bool]:
    """The records of a request, and whether all must be saved or none."""
    request = read_object(body)
    unknown = set(request) - {"allOrNone", "records"}
    records = request.get("records")
    if unknown or not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise bad_request("JSON_PARSER_ERROR", "The request takes allOrNone and a list of records")
    all_or_none = request.get("allOrNone", False)
    if not isinstance(all_or_none, bool):
        raise bad_request("JSON_PARSER_ERROR", "Cannot deserialize instance of boolean from allOrNone")
    _check_count(records)
    return records, all_or_none


def _check_count(given: Sequence[object]) -> None:
    if not given:
        raise bad_request("MISSING_ARGUMENT", "The request carries no records")
    if len(given) > MOST_ROWS:
        raise bad_request(
            "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {MOST_ROWS} records in this call"
        )


def _type_of(record: dict[str, object]) -> str:
    attributes = record.get("attributes")
    kind = attributes.get("type") if isinstance(attributes, dict) else None
    if not isinstance(kind, str):
        raise bad_request("INVALID_TYPE", "Each record needs an attributes map with a value for type")
    return kind
