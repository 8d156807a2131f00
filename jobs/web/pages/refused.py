"""Operations: refused entries by cause, with what to do, and tried again: one, a cause, or all."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from consent.canonical import entry_id, parse_entry_id
from consent.database import among, run
from jobs.access import Role, Viewer
from jobs.web.pages.desk import Desk, missing
from jobs.web.pages.operations import found_destination, operated_ledgers, seen_destinations
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import Form, form, viewer
from sync import receipts
from sync.choosing import Filters, Only
from sync.receipts import SetAside

PAGE = 50

Operations = Annotated[Viewer, Depends(viewer(Role.OPERATIONS))]


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=PageRoute, prefix="/operations/refused")

    @router.get("")
    def causes(request: Request, who: Operations) -> Response:
        names = [one.name for one in seen_destinations(desk, who)]
        with desk.database.read() as tx:
            found = _causes(tx, names, operated_ledgers(tx, who), "refused")
            waiting = _causes(tx, names, operated_ledgers(tx, who), "waiting")
        return page(request, "refused.html", causes=found, waiting=waiting)

    @router.get("/{name}")
    def letters(request: Request, who: Operations, name: str, code: str = "", after: str = "") -> Response:
        found_destination(desk, who, name)
        with desk.database.read() as tx:
            found = _letters(tx, name, code, operated_ledgers(tx, who), after)
        shown = found[:PAGE]
        rows = [{"entry": entry_id(one.organization, one.seq), "aside": one} for one in shown]
        return page(
            request, "refused_entries.html", name=name, code=code, rows=rows, is_first=not after,
            next=entry_id(shown[-1].organization, shown[-1].pos) + f".{shown[-1].lane}" if len(found) > PAGE else None,
        )  # fmt: skip

    @router.post("/{name}/retry")
    def retry(request: Request, who: Operations, name: str, told: Annotated[Form, Depends(form)]) -> Response:
        found_destination(desk, who, name)
        with desk.database.read() as tx:
            ledgers = operated_ledgers(tx, who)
        entry = told.get("entry") or None
        key = None
        if entry is not None:
            try:
                key = parse_entry_id(entry)
            except ValueError:
                raise missing() from None
            if ledgers is not None and key[0] not in ledgers:
                raise missing()
        ledger = key[0] if key else (ledgers[0] if ledgers else None)
        if ledgers is not None and ledger is None:
            raise missing()
        filters = Filters(only=Only.REFUSED, organization=ledger, entry=key, code=told.get("code") or None)
        run_id = desk.runs.resync(name, filters, actor=who.id)
        return RedirectResponse(f"{request.state.base}/operations/runs/{run_id}", 303)

    return router


def _causes(tx: Connection, names: Sequence[str], ledgers: Sequence[str] | None, state: str) -> list[dict[str, Any]]:
    """Return how many entries each destination refuses for each cause, the largest first."""
    if not names or ledgers == []:
        return []
    where, parameters = among(tx, "destination", list(names))
    if ledgers is not None:
        more, wanted = among(tx, "organization", list(ledgers))
        where, parameters = f"{where} AND {more}", [*parameters, *wanted]
    rows = run(
        tx,
        f"""SELECT destination, code, min(advice) AS advice, count(*) AS entries, min(since) AS since,
        min(due_at) AS due_at FROM set_aside WHERE state = ? AND {where}
        GROUP BY destination, code ORDER BY entries DESC, destination, code LIMIT 200""",
        [state, *parameters],
    )
    return [dict(row._mapping) for row in rows]


def _letters(
    tx: Connection, name: str, code: str, ledgers: Sequence[str] | None, after: str
) -> list[SetAside]:  # fmt: skip
    where, parameters = "destination = ? AND state = 'refused'", list[Any]([name])
    if code:
        where += " AND code = ?"
        parameters.append(code)
    if ledgers is not None:
        more, wanted = among(tx, "organization", list(ledgers))
        where, parameters = f"{where} AND {more}", [*parameters, *wanted]
    place, _, lane = after.partition(".")
    if lane:
        try:
            organization, pos = parse_entry_id(place)
        except ValueError:
            raise missing() from None
        where += " AND (organization, lane, pos) > (?, ?, ?)"
        parameters += [organization, lane, pos]
    columns = ", ".join(SetAside._fields)
    rows = run(
        tx, f"SELECT {columns} FROM set_aside WHERE {where} ORDER BY organization, lane, pos LIMIT ?",
        [*parameters, PAGE + 1],
    )  # fmt: skip
    return [receipts.SetAside._make(row) for row in rows.fetchall()]
