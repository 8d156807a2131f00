"""One record at a time.

REST API Developer Guide, "sObject Rows", "sObject Rows by External ID" (Upsert: 201 when created, 200 when updated,
since version 46.0 with a body either way; 300 with the matching URLs where the external id is not unique).
"""

import json
from collections.abc import Mapping
from contextlib import suppress

from connectors.salesforce.standin.answers import Answer, RequestError, bad_request, not_found
from connectors.salesforce.standin.queries import Queries
from connectors.salesforce.standin.rows import Row, Rows
from connectors.salesforce.standin.saving import Draft, Saving
from connectors.salesforce.standin.schema import Field, ObjectType


class OneRow:
    """The resources under `/sobjects/<object>/`."""

    def __init__(self, rows: Rows, saving: Saving, queries: Queries) -> None:
        self._rows = rows
        self._saving = saving
        self._queries = queries

    def create(self, kind: ObjectType, body: bytes) -> Answer:
        """POST: a new record."""
        draft = self._saving.draft(kind, read_object(body))
        with self._rows.transaction():
            self._saving.save(kind, [draft], all_or_none=False)
        if draft.errors:
            return _refused(draft)
        return Answer(201, {"id": self._id(kind, draft), "success": True, "errors": []}, rows=1)

    def read(self, kind: ObjectType, number: int, names: str, version: str) -> Answer:
        """GET: the record's fields, all of them unless `fields=` names some."""
        chosen = [kind.field(each) for each in names.split(",")] if names else list(kind.fields.values())
        missing = [name for name, one in zip(names.split(","), chosen, strict=False) if one is None]
        if missing:
            raise bad_request("INVALID_FIELD", f"No such column '{missing[0]}' on sobject of type {kind.name}")
        fields = tuple(each for each in chosen if each is not None)
        (record,) = self._queries.records(kind, fields, [number], version)
        return Answer(200, record, rows=1)

    def update(self, kind: ObjectType, number: int, body: bytes) -> Answer:
        """PATCH by Id: 204."""
        draft = self._saving.draft(kind, read_object(body))
        with self._rows.transaction():
            draft.before, draft.number = self._row(kind, number), number
            self._saving.save(kind, [draft], all_or_none=False)
        return _refused(draft) if draft.errors else Answer(204, rows=1)

    def upsert(
        self, kind: ObjectType, key: Field, value: str, body: bytes, version: str, *, update_only: bool
    ) -> Answer:
        """PATCH by external id: 201 or 200, 300 where several match."""
        given = read_object(body)
        for name in given:
            if name.lower() in {key.name.lower(), "id"}:
                message = f"The {name} field should not be specified in the sobject data."
                raise bad_request("INVALID_FIELD", message)
        draft = self._saving.draft(kind, {**given, key.name: value}, key)
        with self._rows.transaction():
            self._saving.match(kind, key, [draft])
            if draft.errors and draft.errors[-1].code == "DUPLICATE_EXTERNAL_ID":
                raise self._several(kind, self._rows.find(kind, key, [draft.key]), version)
            if update_only and draft.before is None and not draft.errors:
                raise not_found()
            self._saving.save(kind, [draft], all_or_none=False)
        if draft.errors:
            return _refused(draft)
        created = draft.before is None
        content = {"id": self._id(kind, draft), "success": True, "errors": [], "created": created}
        return Answer(201 if created else 200, content, rows=1)

    def delete(self, kind: ObjectType, number: int) -> Answer:
        """DELETE: into the recycle bin, where `queryAll` still sees it."""
        with self._rows.transaction():
            self._row(kind, number)
            self._rows.update(kind, [(number, {"IsDeleted": 1})])
        return Answer(204, rows=1)

    def by_id(self, kind: ObjectType, record_id: str, *, to_read: bool = False) -> int:
        """The number of the record with this Id.

        Raises: RequestError where there is none: NOT_FOUND, or what orgs say of a deleted one, and of an unknown
        one to whoever wants to write.
        """
        number = self._rows.number_of(kind, record_id)
        if number is None:
            raise not_found("Provided external ID field does not exist or is not accessible: " + record_id)
        if to_read and not self._rows.get(kind, [number]):
            raise not_found()
        return self._row(kind, number).number

    def by_external_id(self, kind: ObjectType, key: Field, value: str, version: str) -> int:
        """The number of the one record with this external id.

        Raises: RequestError where there is none, and 300 with their URLs where there are several.
        """
        found = self._rows.find(kind, key, [self._saving.read_value(kind, key, value)])
        if not found:
            raise not_found()
        if len(found) > 1:
            raise self._several(kind, found, version)
        return found[0].number

    def _row(self, kind: ObjectType, number: int) -> Row:
        found = self._rows.get(kind, [number])
        if not found:
            raise RequestError(404, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if found[0].values["IsDeleted"]:
            raise RequestError(404, "ENTITY_IS_DELETED", "entity is deleted")
        return found[0]

    def _several(self, kind: ObjectType, found: list[Row], version: str) -> RequestError:
        base = f"/services/data/{version}/sobjects/{kind.name}/"
        urls = [base + self._rows.id_of(kind, each.number) for each in found]
        return RequestError(300, "DUPLICATE_EXTERNAL_ID", "several records match", urls)

    def _id(self, kind: ObjectType, draft: Draft) -> str:
        assert draft.number is not None
        return self._rows.id_of(kind, draft.number)


def read_object(body: bytes) -> Mapping[str, object]:
    """The JSON object in a request's body."""
    parsed = read_json(body)
    if not isinstance(parsed, dict):
        raise bad_request("JSON_PARSER_ERROR", "The HTTP entity body is required, but this request has no entity body.")
    return parsed


def read_json(body: bytes) -> object:
    with suppress(ValueError):
        return json.loads(body)
    raise bad_request("JSON_PARSER_ERROR", "Unexpected character or end of input in the request's JSON")


def _refused(draft: Draft) -> Answer:
    return Answer(400, [each.as_request() for each in draft.errors], rows=1)
