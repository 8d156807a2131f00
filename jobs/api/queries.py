"""`GET /v1/entries`, `/v1/entries/{id}` and `/v1/entries/{id}/proof`: the ledger, a page at a time."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from consent.canonical import parse_entry_id, parse_timestamp, timestamp
from consent.database import Database
from consent.entry import Entry, entry_json
from consent.kinds import Kind, Lane
from consent.ledger import newest_head, read_entry
from consent.proofs import inclusion_path
from consent.tags import Tags
from jobs.access import Grant, Scope, ledger_of
from jobs.api.keys import needs, require_sight
from jobs.asking import QuestionError, main_organizations
from jobs.exporting.selection import Filters, select
from jobs.web.problems import ProblemError
from sync.migrate import tag_key

#: Entries looked at for one page at most, so that a rare filter can't make a request long; `next` goes on from there.
_SCAN = 20_000
_READ = 1_000

EntryId = Annotated[str, Path(description="As in acme-000000000005.")]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": {"application/problem+json": {"schema": {"type": "object"}}}}
    for status, words in {
        401: "No token", 403: "The token lacks a scope", 404: "Not found", 422: "Not understood", 503: "Database away",
    }.items()
}  # fmt: skip

_TIME = "recorded at or after this time, RFC 3339"


class Proof(BaseModel):
    """That an entry stands in a ledger of this size and root: hashed up the path, its leaf gives the root."""

    entry: dict[str, Any]
    size: int
    root: str = Field(description="64 hex digits")
    path: list[str] = Field(description="64 hex digits each, lowest first")
    recorded_at: str


def query_router(database: Database) -> APIRouter:
    """Return the routes that read ledgers."""
    router = APIRouter(prefix="/v1", tags=["ledger"], responses=PROBLEMS)

    @router.get("/entries", summary="Entries of one ledger in order, a page at a time.")
    def list_entries(
        grant: Annotated[Grant, Depends(needs(Scope.ENTRIES_READ))],
        org: Annotated[str | None, Query(description="An organization, or `system` [the only main one].")] = None,
        after: Annotated[str | None, Query(description="An entry's id: begin behind it.")] = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        lane: Lane | None = None,
        kind: Kind | None = None,
        conversation: str | None = None,
        contact: Annotated[str | None, Query(description="A number: only with this contact, on every line.")] = None,
        line: Annotated[str | None, Query(description="A number: only on this line.")] = None,
        employee: Annotated[str | None, Query(description="An employee's id.")] = None,
        since: Annotated[str | None, Query(description=f"Only {_TIME}.")] = None,
        until: Annotated[str | None, Query(description="Only recorded before this time, RFC 3339.")] = None,
    ) -> Response:
        organization, behind = _start(database, grant, org, after)
        filters = Filters(
            organization, lane, kind, _instant(since, "since"), _instant(until, "until"), plus(contact), plus(line),
            employee, conversation, after=behind,
        )  # fmt: skip
        found, following = _page(database, filters, limit)
        more = b'"%b"' % following.encode() if following else b"null"
        body = b'{"entries":[%b],"next":%b}' % (b",".join(map(entry_json, found)), more)
        return Response(body, media_type="application/json")

    @router.get("/entries/{entry_id}", summary="One entry, whole.")
    def get_entry(grant: Annotated[Grant, Depends(needs(Scope.ENTRIES_READ))], entry_id: EntryId) -> Response:
        return Response(entry_json(seen_entry(database, grant, entry_id)), media_type="application/json")

    @router.get(
        "/entries/{entry_id}/proof",
        summary="An entry with its inclusion proof in its ledger's tree (RFC 9162).",
        response_model=Proof,
    )
    def get_proof(grant: Annotated[Grant, Depends(needs(Scope.ENTRIES_READ))], entry_id: EntryId) -> Response:
        found = seen_entry(database, grant, entry_id)
        with database.read() as tx:
            head = newest_head(tx, found.organization)
            path = inclusion_path(tx, head.organization, found.seq, head.size)
        told = {
            "size": head.size, "root": head.root.hex(), "path": [one.hex() for one in path],
            "recorded_at": timestamp(head.recorded_at),
        }  # fmt: skip
        body = b'{"entry":%b,%b' % (entry_json(found), orjson.dumps(told)[1:])
        return Response(body, media_type="application/json")

    return router


def seen_entry(database: Database, grant: Grant, entry_id: str) -> Entry:
    """Return an entry that a token may see; ProblemError where there is none."""
    organization, seq = _parsed(entry_id)
    with database.read() as tx:
        found = read_entry(tx, organization, seq)
    if found is None or not grant.sees_entry(found):
        raise ProblemError(404, "not_found", "There is no entry of this id.")
    return found


def plus(number: str | None) -> str | None:
    """Give a number its `+` back: a query in which that isn't written %2B holds a blank."""
    return f"+{number[1:]}" if number is not None and number.startswith(" ") else number


def _instant(at: str | None, name: str) -> int | None:
    return None if at is None else instant(at, name)


def instant(at: str, name: str) -> int:
    """Return a time of a query in microseconds since 1970."""
    try:
        # The time's own `+` became a blank, where whoever asked forgot to write %2B.
        return parse_timestamp(at[:11] + at[11:].replace(" ", "+"))
    except (ValueError, OverflowError):
        detail = f"`{name}` is a time with its offset, as 2026-11-23T10:00:00Z."
        raise ProblemError(422, "invalid_request", detail) from None


def _start(database: Database, grant: Grant, org: str | None, after: str | None) -> tuple[str, int | None]:
    """Return whose entries are asked for, and the seq to begin behind."""
    ledger, seq = (None, None) if after is None else _parsed(after)
    organization = org or grant.organization or ledger
    with database.read() as tx:
        if organization is None:
            mains = main_organizations(tx)
            if len(mains) != 1:
                detail = "Name the organization with `org`, or an entry with `after`."
                raise ProblemError(422, "invalid_request", detail)
            [organization] = mains
        require_sight(grant, organization)
        if ledger is not None and ledger_of(tx, organization) != ledger:
            raise ProblemError(422, "invalid_request", "`after` is an entry of another organization than `org`.")
    return organization, seq


def _parsed(entry_id: str) -> tuple[str, int]:
    try:
        return parse_entry_id(entry_id)
    except ValueError as error:
        raise ProblemError(422, "invalid_request", f"{error}.") from error


def _page(database: Database, filters: Filters, limit: int) -> tuple[list[Entry], str | None]:
    """Return up to `limit` matching entries, and the id to go on behind, None at the ledger's end."""
    with database.read() as tx:
        try:
            chosen = select(tx, Tags(tag_key(tx)), filters)[0]
        except QuestionError as error:
            status = 404 if error.code == "unknown_organization" else 422
            raise ProblemError(status, error.code, f"{error.detail[0].upper()}{error.detail[1:]}.") from None
    found: list[Entry] = []
    looked_at = 0
    # One that must be looked for among others is read many at a time.
    for page in chosen.pages(database, limit if filters.kind is None else _READ):
        for entry in page:
            looked_at += 1
            if chosen.match(entry):
                found.append(entry)
            if len(found) == limit or looked_at == _SCAN:
                return found, entry.id if looked_at < chosen.most else None
    return found, None
