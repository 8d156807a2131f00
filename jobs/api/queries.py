"""`GET /v1/entries` and `/v1/entries/{id}`: the ledger, a page at a time."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from consent.canonical import parse_entry_id
from consent.database import Database
from consent.entry import Entry, entry_json
from consent.kinds import Kind, Lane
from consent.ledger import ledgers, newest_head, read_entry, read_range
from jobs.web.problems import ProblemError

#: Entries looked at for one page at most, so that a rare filter can't make a request long; `next` goes on from there.
_SCAN = 20_000
_READ = 1_000

EntryId = Annotated[str, Path(description="As in acme-000000000005.")]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": {"application/problem+json": {"schema": {"type": "object"}}}}
    for status, words in {401: "No token", 404: "Not found", 422: "Not understood", 503: "Database away"}.items()
}


def query_router(database: Database) -> APIRouter:
    """Return the routes that read ledgers."""
    router = APIRouter(prefix="/v1", tags=["ledger"], responses=PROBLEMS)

    @router.get("/entries", summary="Entries of one ledger in order, a page at a time.")
    def list_entries(
        org: Annotated[str | None, Query(description="The ledger: a main organization, or `system`.")] = None,
        after: Annotated[str | None, Query(description="An entry's id: begin behind it.")] = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        lane: Lane | None = None,
        kind: Kind | None = None,
        conversation: str | None = None,
    ) -> Response:
        organization, first = _start(org, after)
        found, following = _page(database, organization, first, limit, (lane, kind, conversation))
        more = b'"%b"' % following.encode() if following else b"null"
        body = b'{"entries":[%b],"next":%b}' % (b",".join(map(entry_json, found)), more)
        return Response(body, media_type="application/json")

    @router.get("/entries/{entry_id}", summary="One entry, whole.")
    def get_entry(entry_id: EntryId) -> Response:
        organization, seq = _parsed(entry_id)
        with database.read() as tx:
            found = read_entry(tx, organization, seq)
        if found is None:
            raise ProblemError(404, "not_found", "There is no entry of this id.")
        return Response(entry_json(found), media_type="application/json")

    return router


def _start(org: str | None, after: str | None) -> tuple[str, int]:
    if after is None:
        if org is None:
            raise ProblemError(422, "invalid_request", "Name the ledger with `org`, or an entry's id with `after`.")
        return org, 0
    organization, seq = _parsed(after)
    if org not in (None, organization):
        raise ProblemError(422, "invalid_request", "`after` is an entry of another organization than `org`.")
    return organization, seq + 1


def _parsed(entry_id: str) -> tuple[str, int]:
    try:
        return parse_entry_id(entry_id)
    except ValueError as error:
        raise ProblemError(422, "invalid_request", f"{error}.") from error


def _page(
    database: Database, organization: str, first: int, limit: int, wanted: tuple[str | None, str | None, str | None]
) -> tuple[list[Entry], str | None]:
    """Return up to `limit` matching entries, and the id to go on behind, None at the ledger's end."""
    found: list[Entry] = []
    with database.read() as tx:
        if organization not in ledgers(tx):
            raise ProblemError(404, "unknown_organization", "There is no ledger of this name.")
        size = newest_head(tx, organization).size
        at, end, last = first, min(size, first + _SCAN), None
        filtered = any(wanted)
        while at < end and len(found) < limit:
            count = min(_READ if filtered else limit, end - at)
            for entry in read_range(tx, organization, at, count):
                last, at = entry, entry.seq + 1
                if all(
                    want in (None, have)
                    for want, have in zip(wanted, (entry.lane, entry.kind, entry.conversation), strict=True)
                ):
                    found.append(entry)
                    if len(found) == limit:
                        break
    return found, last.id if last is not None and at < size else None
