"""Reports: the box that finds everything, what it found, the entries of a day, and one entry whole."""

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from consent.canonical import parse_entry_id
from consent.entry import Entry
from consent.kinds import Lane
from consent.ledger import newest_head, read_entry, read_lane, read_range, seq_at
from consent.reviews import State as ReviewState
from consent.searching import Met, by_id
from jobs import asking
from jobs.access import Role, Viewer
from jobs.reviewing import told_reviews
from jobs.web.asked import Question
from jobs.web.pages.desk import (
    Desk,
    missing,
    readable,
    seen_ledgers,
    seen_organizations,
    sees_standing,
    sentence,
)
from jobs.web.pages.search import DaysAsked, EntryAsked, NameAsked, NumberAsked, find, met, read, today
from jobs.web.presenting import Row, person, position, row
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import Form, form, viewer

#: Entries on one page of a day.
PAGE = 60
#: Entries that are looked through for the decisions of the first page.
_RECENT, _SHOWN = 300, 8

Reports = Annotated[Viewer, Depends(viewer(Role.REPORTS))]


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=PageRoute)

    @router.get("/reports")
    def home(request: Request, who: Reports) -> Response:
        return _home(desk, request, who)

    @router.post("/reports/search")
    def search(request: Request, who: Reports, told: Annotated[Form, Depends(form)]) -> Response:
        text, org = told.get("q", "").strip()[:200], told.get("org", "")
        base = request.state.base
        if not text:
            return _home(desk, request, who, error="Type a number, a name, an entry’s id or a date.")
        asked = read(text, today(request.state.times))
        match asked:
            case EntryAsked(entry=entry):
                with desk.database.read() as tx:
                    known = _entry(tx, who, entry) is not None
                if known:
                    return RedirectResponse(f"{base}/entries/{entry}", 303)
                return _home(desk, request, who, error="No entry has this id.", text=text, org=org)
            case DaysAsked(first=first, last=last):
                return RedirectResponse(f"{base}/reports/days?first={first}&last={last}", 303)
            case NumberAsked() | NameAsked():
                with desk.database.read() as tx:
                    sealed = desk.asked(tx).seal({"q": text, "org": org})
                return RedirectResponse(f"{base}/reports/search?asked={sealed}", 303)

    @router.get("/reports/search")
    def results(request: Request, who: Reports, asked: str = "") -> Response:
        with desk.database.read() as tx:
            question = desk.asked(tx).open(asked)
        if question is None:
            return RedirectResponse(f"{request.state.base}/reports", 303)
        return _results(desk, request, who, question)

    @router.get("/reports/days")
    def days(request: Request, who: Reports) -> Response:
        return _days(desk, request, who)

    @router.get("/entries/{entry_id}")
    def show_entry(request: Request, who: Reports, entry_id: str) -> Response:
        return _show_entry(desk, request, who, entry_id)

    return router


def _home(
    desk: Desk, request: Request, who: Viewer, *, error: str | None = None, text: str = "", org: str = ""
) -> Response:  # fmt: skip
    with desk.database.read() as tx:
        seen = seen_organizations(tx, who)
        ledgers = seen_ledgers(tx, who)
        reviews = [
            one for name in ledgers
            for one in told_reviews(tx, org=name, state=ReviewState.OPEN, after=None, limit=20).reviews
            if who.sees(one["organization"], one["sub_organization"])
        ]  # fmt: skip
        decisions = [one for name in ledgers for one in _recent_decisions(tx, who, name)]
    decisions.sort(key=lambda one: -one.recorded_at)
    shown = decisions[:_SHOWN]
    return page(
        request, "reports.html", 200 if error is None else 422, error=error, text=text, org=org,
        organizations=[one for one in seen if one.parent is None], reviews=sorted(reviews, key=_due)[:5],
        more_reviews=len(reviews) > 5, decisions=_rows(desk, shown),
    )  # fmt: skip


def _due(review: dict[str, Any]) -> str:
    return str(review["due_at"])


def _recent_decisions(tx: Connection, who: Viewer, ledger: str) -> list[Entry]:
    size = newest_head(tx, ledger).lanes[Lane.CONSENT]
    first = max(0, size - _RECENT)
    return [
        one for one in read_lane(tx, ledger, Lane.CONSENT, first, size - first)
        if one.kind == "decision" and who.sees_entry(one)
    ][-_SHOWN:]  # fmt: skip


def _results(desk: Desk, request: Request, who: Viewer, question: Question) -> Response:
    text, org = question.get("q", ""), question.get("org") or None
    asked = read(text, today(request.state.times))
    if not isinstance(asked, NumberAsked | NameAsked):
        return RedirectResponse(f"{request.state.base}/reports", 303)
    with desk.database.read() as tx:
        try:
            found = find(tx, desk.tags(tx), who, asked, org)
        except asking.QuestionError:
            error = "This can’t be read as a number. Give it as +1 404 555 0123, or look for a name."
            return _home(desk, request, who, error=error, text=text, org=org or "")
        told = met(tx, found)
        seen = seen_organizations(tx, who)
    contacts = {one.standing.contact_tag for one in told}
    if isinstance(asked, NumberAsked) and len(contacts) == 1:
        newest = told[0].standing.conversation
        at = f"{request.state.base}/reports/conversations/{newest.organization}/{newest.id}"
        return RedirectResponse(at, 303)
    clear = _cleared(desk, who, told)
    return page(
        request, "results.html", text=text, org=org or "", found=[_found(one, clear) for one in told],
        more=len(found) > len(told), organizations=[one for one in seen if one.parent is None],
        names={one.id: one.name for one in seen},
    )  # fmt: skip


def _cleared(desk: Desk, who: Viewer, told: Sequence[Met]) -> frozenset[str]:
    by_ledger: dict[str, list[str]] = {}
    for one in told:
        by_ledger.setdefault(one.standing.conversation.organization, []).append(one.standing.conversation.id)
    return frozenset(one for name, ids in by_ledger.items() for one in desk.access.revealed(who, name, ids))


def _found(one: Met, clear: frozenset[str]) -> dict[str, Any]:
    conversation = one.standing.conversation
    is_clear = conversation.id in clear
    return {
        "id": conversation.id,
        "organization": conversation.organization,
        "sub_organization": conversation.sub_organization,
        "name": one.contact_name or "Contact",
        "contact": readable(conversation.contact, clear=is_clear),
        "employee": one.employee_name or "",
        "line": readable(conversation.line, clear=is_clear),
        "group": conversation.group.value,
        "consent": conversation.consent.value,
        "at": one.at,
        "entry": one.last.id if one.last is not None else "",
    }


def _days(desk: Desk, request: Request, who: Viewer) -> Response:
    """List what was recorded on some days, the newest first, a page at a time by the ledger's own numbers."""
    times, query = request.state.times, request.query_params
    asked = read(f"{query.get('first', '')} to {query.get('last', '')}", today(times))
    if not isinstance(asked, DaysAsked):
        return RedirectResponse(f"{request.state.base}/reports", 303)
    begin, end = times.days(asked.first, asked.last)
    with desk.database.read() as tx:
        ledgers = seen_ledgers(tx, who)
        org = query.get("org") if query.get("org") in ledgers else next(iter(ledgers), None)
        if org is None:
            raise missing()
        first, until = seq_at(tx, org, begin), seq_at(tx, org, end)
        before = query.get("before", "")
        top = min(until, int(before)) if before.isdecimal() and len(before) < 16 else until
        found, at = list[Entry](), top
        # Who sees a sub-organization only reads on for what is theirs, a bounded way.
        while at > first and len(found) <= PAGE and top - at < 20 * PAGE:
            start = max(first, at - PAGE - 1)
            found += [one for one in reversed(read_range(tx, org, start, at - start)) if who.sees_entry(one)]
            at = start
    shown = found[:PAGE]
    older = shown[-1].seq if len(found) > PAGE else at if at > first else None
    return page(
        request, "days.html", rows=_rows(desk, shown), asked=asked, org=org, ledgers=ledgers, older=older,
        is_first=top == until, count=until - first,
    )  # fmt: skip


def _rows(desk: Desk, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    places = desk.where([position(one) for one in entries])
    return [
        {"row": row(one, places.get(position(one), ())), "entry": one, "people": _people(one)} for one in entries
    ]  # fmt: skip


def _people(entry: Entry) -> str:
    values = entry.revealed()
    contact = person(values.get("contact_name"), values.get("contact"))
    employee = person(values.get("employee_name"), values.get("line"))
    return " · ".join(part for part in (contact, employee) if part)


def _entry(tx: Connection, who: Viewer, entry_id: str) -> Entry | None:
    try:
        ledger, seq = parse_entry_id(entry_id)
    except ValueError:
        return None
    found = read_entry(tx, ledger, seq)
    return found if found is not None and who.sees_entry(found) else None


def _show_entry(desk: Desk, request: Request, who: Viewer, entry_id: str) -> Response:
    with desk.database.read() as tx:
        entry = _entry(tx, who, entry_id)
        if entry is None:
            raise missing()
        standing = by_id(tx, entry.organization, entry.conversation) if entry.conversation else None
    places = desk.where([position(entry)]).get(position(entry), ())
    told: Row = row(entry, places)
    clear = bool(entry.conversation) and bool(desk.access.revealed(who, entry.organization, [entry.conversation or ""]))
    values = {name: _value(name, value, clear) for name, value in entry.revealed().items()}
    facts = {name: value for name, value in entry.facts().items() if not _is_commitment(value)}
    erased = sorted(name for name, value in entry.facts().items() if _is_commitment(value) and name not in values)
    plain = {name: _fact(request, name, value) for name, value in facts.items()}
    return page(
        request, "entry.html", entry=entry, row=told, values=values, facts=plain,
        erased=erased, standing=standing if standing and sees_standing(who, standing) else None, clear=clear,
    )  # fmt: skip


#: Personal values that are numbers, or hold some.
_NUMBERS = frozenset({"contact", "line", "group", "raw", "provider", "message_id"})


def _value(name: str, value: Any, clear: bool) -> str:
    if name in ("contact", "line"):
        return readable(str(value), clear=clear)
    if name in _NUMBERS and not clear:
        return "hidden: it may hold a number"
    return _plain(value)


def _fact(request: Request, name: str, value: Any) -> Any:
    """Return a fact of the body for reading; an instant in both zones."""
    if isinstance(value, int) and name.endswith(("_at", "_until")):
        return request.state.times.full(value)
    return _plain(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _is_commitment(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"commit"}


__all__ = ["router", "sentence"]
