"""Running queries, a page at a time.

REST API Developer Guide, "Query": `{"totalSize", "done", "nextRecordsUrl"?, "records"}`, 2,000 records a page unless
`Sforce-Query-Options: batchSize=200…2000` says less; "Query More Results" for the pages after the first. SOQL and SOSL
Reference, "Change the Batch Size in Queries": 200 at most where two or more custom fields of type long text are named.
A query's membership is fixed when it is made, but for what is deleted since. A locator lives in memory, and the
oldest of more than ten is forgotten (SOAP API Developer Guide, "QueryLocator"), as all are when the process ends.
"""

import re
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from connectors.salesforce.standin.answers import Answer, bad_request
from connectors.salesforce.standin.rows import Rows
from connectors.salesforce.standin.schema import Field, ObjectType, Schema
from connectors.salesforce.standin.soql import Query, parse_soql
from connectors.salesforce.standin.values import Stored, make_id, show

_FEWEST, _MOST = 200, 2000
_LOCATORS = 10
_MANY_LONG_TEXTS = 2
_BATCH_SIZE = re.compile(r"batchSize\s*=\s*(\d+)")


@dataclass(frozen=True, slots=True)
class _Cursor:
    """What is left to page through."""

    query: Query
    numbers: "array[int]"
    page: int


class Queries:
    """Answers queries over the org's rows; `most_rows()` is the page size that an org under load allows itself."""

    def __init__(self, schema: Schema, rows: Rows, most_rows: Callable[[], int]) -> None:
        self._schema = schema
        self._rows = rows
        self._most_rows = most_rows
        self._lock = threading.Lock()
        self._cursors: OrderedDict[str, _Cursor] = OrderedDict()
        self._made = 0

    def run(self, text: str, version: str, options: str, *, deleted_too: bool) -> Answer:
        query = parse_soql(text, self._schema, self._rows.number_of, deleted_too=deleted_too)
        if query.count_only:
            ((count,),) = self._rows.aggregate(
                query.kind,
                f'count(*) FROM (SELECT 1 FROM "{{table}}" WHERE {query.condition}{query.rest})',
                query.values,
            )
            return Answer(200, {"totalSize": int(count or 0), "done": True, "records": []})
        if query.columns:
            return self._aggregate(query)
        numbers = self._rows.numbers(query.kind, query.condition, query.values, query.rest)
        given = _BATCH_SIZE.search(options)
        page = min(max(int(given[1]), _FEWEST), _MOST) if given else _MOST
        if sum(each.type == "LongTextArea" for each in query.fields) >= _MANY_LONG_TEXTS:
            page = _FEWEST
        cursor = _Cursor(query, numbers, min(page, self._most_rows()))
        if len(numbers) <= cursor.page:
            return self._page(cursor, "", 0, version)
        with self._lock:
            self._made += 1
            name = make_id("01g", self._made)
            self._cursors[name] = cursor
            while len(self._cursors) > _LOCATORS:
                self._cursors.popitem(last=False)
        return self._page(cursor, name, 0, version)

    def more(self, locator: str, version: str) -> Answer:
        """The page that a `nextRecordsUrl` names: `<locator>-<records before it>`."""
        name, _, start = locator.partition("-")
        with self._lock:
            cursor = self._cursors.get(name)
        if cursor is None or not start.isdigit():
            raise bad_request("INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(cursor, name, int(start), version)

    def _page(self, cursor: _Cursor, name: str, start: int, version: str) -> Answer:
        kind, end = cursor.query.kind, start + cursor.page
        total = len(cursor.numbers)
        records = self.records(
            kind, cursor.query.fields, cursor.numbers[start:end], version, deleted_too=cursor.query.deleted_too
        )
        content: dict[str, object] = {"totalSize": total, "done": end >= total}
        if end < total:
            content["nextRecordsUrl"] = f"/services/data/{version}/query/{name}-{end}"
        content["records"] = records
        return Answer(200, content, rows=len(records))

    def records(
        self,
        kind: ObjectType,
        fields: tuple[Field, ...],
        numbers: "array[int] | list[int]",
        version: str,
        *,
        deleted_too: bool = False,
    ) -> list[dict[str, object]]:
        """These fields of these records as the API shows them."""
        stored = [each for each in fields if each.type != "Id"]
        plain = [each.type not in {"DateTime", "Checkbox"} for each in stored]
        records = []
        for number, *values in self._rows.select(
            kind, [each.name for each in stored], numbers, deleted_too=deleted_too
        ):
            record_id = self._rows.id_of(kind, int(number or 0))
            url = f"/services/data/{version}/sobjects/{kind.name}/{record_id}"
            shown: dict[str, object] = {
                one.name: value if as_is else show(one, value)
                for one, as_is, value in zip(stored, plain, values, strict=True)
            }
            record: dict[str, object] = {"attributes": {"type": kind.name, "url": url}}
            for each in fields:
                record[each.name] = record_id if each.type == "Id" else shown[each.name]
            records.append(record)
        return records

    def _aggregate(self, query: Query) -> Answer:
        """SOQL and SOSL Reference, "Aggregate Functions": rows of type AggregateResult."""
        columns = ", ".join(each[1] for each in query.columns)
        statement = f'{columns} FROM "{{table}}" WHERE {query.condition}{query.groups}{query.rest}'
        found = self._rows.aggregate(query.kind, statement, [*query.values, *query.group_values])
        records = [
            {"attributes": {"type": "AggregateResult"}}
            | {
                name: self._shown(query.kind, one, value)
                for (name, _, one), value in zip(query.columns, each, strict=True)
            }
            for each in found
        ]
        return Answer(200, {"totalSize": len(records), "done": True, "records": records}, rows=len(records))

    def _shown(self, kind: ObjectType, one: Field | None, value: Stored) -> object:
        if one is None or value is None:
            return value
        if one.type == "Id":
            return self._rows.id_of(kind, int(value))
        return show(one, value)
