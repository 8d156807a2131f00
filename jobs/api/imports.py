"""`POST /v1/consents/import`: consents with their evidence, as `assent import` takes them from a file."""

import time
from contextlib import closing
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from consent.database import Database
from jobs import wire
from jobs.access import Grant, Scope
from jobs.api.keys import needs, require_sight
from jobs.api.queries import PROBLEMS
from jobs.asking import QuestionError
from jobs.exits import Problem
from jobs.importing.bringing import CHUNK, Repeats, take_rows
from jobs.importing.columns import CONSENTS, told_columns
from jobs.importing.consents import RowError, reader_of
from jobs.importing.files import Row, json_cells
from jobs.importing.moments import Moments, zone_of
from jobs.web.problems import ProblemError
from sync.imports import Preview

_JSON = "application/json"
_TEXT = {"type": "string"}
_ROW = {
    "type": "object",
    "required": ["contact", "consent", "at", "evidence"],
    "properties": {
        "contact": _TEXT,
        "line": {**_TEXT, "description": "an opt-in names it; an opt-out without one holds for every line"},
        "org": _TEXT,
        "channel": {"enum": ["sms", "mms", "rcs", "whatsapp"]},
        "consent": {**_TEXT, "description": "opted_in or opted_out, or another word for them"},
        "at": {**_TEXT, "description": "RFC 3339; a later date wins, whatever comes first"},
        "evidence": {**_TEXT, "description": "what it rests on: a form, a document's id, a text"},
        "reference": _TEXT,
        "employee_id": _TEXT,
        "employee_name": _TEXT,
        "note": _TEXT,
    },
}
_ROWS = {"type": "array", "maxItems": CHUNK, "items": _ROW}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {_JSON: {"schema": _ROWS}, "application/x-ndjson": {"schema": {"type": "string"}}},
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "One answer a row, in order", "content": {_JSON: {"schema": {
        "type": "array",
        "items": {"type": "object", "properties": {
            "row": {"type": "integer", "description": "from 1"},
            "outcome": {"enum": ["opted_in", "opted_out", "unchanged", "superseded", "already_imported", "skipped"]},
            "changed": {"type": "array", "items": {"type": "object"}},
            "released": {"type": "array", "items": _TEXT},
            "entries": {"type": "array", "items": _TEXT},
            "error": {"type": "object", "properties": {"code": _TEXT, "detail": _TEXT}},
        }},
    }}}},
    **{status: {"description": words, "content": {"application/problem+json": {"schema": {"type": "object"}}}}
       for status, words in ((400, "No JSON"), (413, "Too large"))},
}  # fmt: skip


def import_router(database: Database, intake: wire.Takes) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/v1", tags=["consent"], responses=PROBLEMS | _ANSWERS)

    @router.post(
        "/consents/import", summary=f"Import up to {CHUNK:,} consents with their evidence.", openapi_extra=_BODY
    )
    async def import_consents(
        request: Request,
        grant: Annotated[Grant, Depends(needs(Scope.CONSENT_IMPORT))],
        org: Annotated[str | None, Query(description="The organization of rows that name none.")] = None,
        timezone: Annotated[str | None, Query(description="The zone of dates without one.")] = None,
        dry_run: Annotated[bool, Query(description="Say what would become of each, and change nothing.")] = False,
    ) -> Response:
        rows = _rows(await request.body())
        answers = await run_in_threadpool(_taken, database, intake, grant, rows, org, timezone, dry_run)
        return Response(wire.write_json(answers), media_type=_JSON)

    return router


def _rows(body: bytes) -> list[Row]:
    """Read a JSON array, or JSON lines."""
    try:
        lines = [line for line in body.splitlines() if line.strip()]
        array = body.lstrip().startswith(b"[")
        # One line too many tells enough; the rest isn't read.
        given = wire.read_json(body) if array else [wire.read_json(line) for line in lines[: CHUNK + 1]]
    except ValueError as error:
        raise ProblemError(400, "invalid_json", "The body is a JSON array or JSON lines, in UTF-8.") from error
    if len(given) > CHUNK:
        raise ProblemError(422, "too_many", f"An import holds at most {CHUNK:,} rows; send the rest in another.")
    told = [json_cells(one) for one in given]
    return [
        Row(number, cells or {}, None if cells is not None else "a row is one JSON object")
        for number, cells in enumerate(told, 1)
    ]


def _taken(
    database: Database, intake: wire.Takes, grant: Grant, rows: list[Row], org: str | None, timezone: str | None,
    dry_run: bool,
) -> list[dict[str, Any]]:  # fmt: skip
    if org is not None:
        require_sight(grant, org)
    now = time.time_ns() // 1000
    try:
        columns = told_columns(list(dict.fromkeys(name for row in rows for name in row.cells)), CONSENTS, {})
        reader = reader_of(database, grant.id, now, org=org, moments=Moments(zone_of(timezone)), constants={})
    except Problem as error:
        raise ProblemError(422, "invalid_request", f"{error}.") from error
    except QuestionError as error:
        raise ProblemError(404, error.code, f"{error.detail}.") from error
    # Rows of other organizations than the token's are told as those of none.
    reader = replace(reader, policies={one: policy for one, policy in reader.policies.items() if grant.sees(one)})
    takes = Preview(database) if dry_run else intake
    with closing(Repeats()) as repeats:
        answers = take_rows(rows, columns, reader, takes, repeats)
    return [{"row": row.number, **_told(answer)} for row, answer in zip(rows, answers, strict=True)]


def _told(answer: dict[str, Any] | RowError | None) -> dict[str, Any]:
    if isinstance(answer, RowError):
        return {"error": {"code": answer.code, "detail": answer.detail}}
    return {"outcome": "skipped"} if answer is None else answer
