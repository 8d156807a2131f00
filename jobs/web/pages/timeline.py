"""A contact's timeline: one conversation a page at a time, each entry with where it is, and what holds now."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from consent.conversations import Standing
from consent.entry import Entry
from consent.history import Question, gate
from consent.kinds import Kind
from consent.ledger import page_conversation, read_conversation
from consent.organizations import organization, read_policies
from consent.searching import by_id, met, of_contact
from consent.values import Mode
from jobs.access import Role, Viewer
from jobs.web.pages.desk import Desk, missing, readable, sees_standing
from jobs.web.presenting import Fates, fates_of, position, row
from jobs.web.problems import ProblemError
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import Form, form, viewer
from jobs.web.words import REASON_WORDS

#: Entries on one page.
PAGE = 60

_PLACE = re.compile(r"([0-9]{1,9})\.([0-9]{1,15})")
_FATEFUL = (Kind.DECISION, Kind.SETTING, Kind.REASSIGNMENT, Kind.DELIVERY)

Reports = Annotated[Viewer, Depends(viewer(Role.REPORTS))]


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=PageRoute, prefix="/reports/conversations/{ledger}/{conversation}")

    @router.get("")
    def show(request: Request, who: Reports, ledger: str, conversation: str) -> Response:
        return _show(desk, request, who, ledger, conversation)

    @router.post("/reveal")
    def reveal(
        request: Request, who: Reports, ledger: str, conversation: str, told: Annotated[Form, Depends(form)]
    ) -> Response:  # fmt: skip
        with desk.database.read() as tx:
            standing = _standing(tx, who, ledger, conversation)
        reason = " ".join(told.get("reason", "").split())[:1_000]
        if len(reason) < 3:
            error = "Say why: it stands in the records beside your name."
            return _show(desk, request, who, ledger, conversation, error=error)
        desk.access.reveal(who, ledger, standing.conversation.id, reason, conversation=standing.conversation.id)
        return RedirectResponse(f"{request.state.base}/reports/conversations/{ledger}/{conversation}", 303)

    return router


def _standing(tx: Connection, who: Viewer, ledger: str, conversation: str) -> Standing:
    found = by_id(tx, ledger, conversation)
    if found is None or not sees_standing(who, found):
        raise missing()
    return found


def _show(
    desk: Desk, request: Request, who: Viewer, ledger: str, conversation: str, *, error: str | None = None
) -> Response:  # fmt: skip
    before, after = _place(request, "before"), _place(request, "from")
    with desk.database.read() as tx:
        standing = _standing(tx, who, ledger, conversation)
        entries, earlier, later = _page(tx, ledger, conversation, before, after)
        others = [one for one in of_contact(tx, ledger, standing.contact_tag) if sees_standing(who, one)]
        told = {one.standing.conversation.id: one for one in met(tx, ledger, others)}
        state = _state(desk, tx, standing)
        fates = _fates(tx, ledger, conversation, entries)
        name = organization(tx, ledger).name
    clear = conversation in desk.access.revealed(who, ledger, [conversation])
    places = desk.where([position(one) for one in entries])
    rows = [row(one, places.get(position(one), ()), fates) for one in entries]
    mine = told[conversation]
    return page(
        request, "timeline.html", 200 if error is None else 422, error=error, ledger=ledger, conversation=conversation,
        organization=name, clear=clear, rows=rows, days=_days(request, rows), earlier=earlier, later=later, state=state,
        name=mine.contact_name or "Contact", contact=readable(standing.conversation.contact, clear=clear),
        employee=mine.employee_name, line=readable(standing.conversation.line, clear=clear),
        others=[_tab(one, told) for one in others], group=standing.conversation.group.value,
        sub_organization=standing.conversation.sub_organization,
        minutes=round(desk.access.limits.reveal_minutes),
    )  # fmt: skip


def _place(request: Request, name: str) -> tuple[int, int] | None:
    """Read where a page begins or ends: a version of the conversation and a number in the ledger."""
    told = request.query_params.get(name)
    if not told:
        return None
    match = _PLACE.fullmatch(told)
    if match is None:
        raise ProblemError(400, "bad_filter", "This link is damaged: find the conversation again.")
    return int(match[1]), int(match[2])


def _page(
    tx: Connection, ledger: str, conversation: str, before: tuple[int, int] | None, after: tuple[int, int] | None
) -> tuple[list[Entry], str | None, str | None]:
    """Return a page of entries in order, and the places that the pages beside it go on from."""
    if after is not None:
        start = (after[0], after[1] - 1)
        entries = page_conversation(tx, ledger, conversation, after=start, limit=PAGE + 1)
        more, entries = len(entries) > PAGE, entries[:PAGE]
        first = entries[0] if entries else None
        is_earlier = first is not None and bool(
            page_conversation(tx, ledger, conversation, before=(first.version or 0, first.seq), limit=1)
        )
        return entries, _at(first) if is_earlier else None, _at(entries[-1], 1) if more else None
    entries = page_conversation(tx, ledger, conversation, before=before, limit=PAGE + 1)
    is_earlier, entries = len(entries) > PAGE, entries[-PAGE:]
    later = _at(entries[-1], 1) if before is not None and entries else None
    return entries, _at(entries[0]) if is_earlier else None, later


def _at(entry: Entry | None, more: int = 0) -> str:
    return "" if entry is None else f"{entry.version or 0}.{entry.seq + more}"


def _fates(tx: Connection, ledger: str, conversation: str, entries: list[Entry]) -> Fates:
    """Return what became of held texts on this page; read only where there are any."""
    held = any(
        one.kind == Kind.MESSAGE and one.facts().get("verdict") in ("held", "blocked") for one in entries
    )  # fmt: skip
    if not held:
        return Fates({}, {})
    return fates_of(one for one in read_conversation(tx, ledger, conversation) if one.kind in _FATEFUL)


def _state(desk: Desk, tx: Connection, standing: Standing) -> dict[str, Any]:
    """Return what holds now, and the entry that says so."""
    told = standing.conversation
    policy = read_policies(tx, told.organization)[told.sub_organization or told.organization]
    state: dict[str, Any] = {
        "consent": told.consent.value,
        "mode": policy.mode.value,
        "allowed": None,
        "reason": "",
        "entry": None,
    }
    if told.contact and told.line:
        question = Question(told.organization, told.contact, told.sub_organization, told.line, told.group)
        said = gate(tx, desk.tags(tx), question, policy)
        state |= {
            "allowed": said.allowed,
            "entry": said.entry,
            "reason": REASON_WORDS.get(said.reason or "", said.reason),
        }
    if policy.mode is Mode.OFF and state["allowed"]:
        state["reason"] = "SMS Opt-in is off for this organization"
    return state


def _days(request: Request, rows: list[Any]) -> dict[str, str]:
    """Return the day's name for each entry that is the first one of its day."""
    days, last = {}, ""
    for one in rows:
        day = request.state.times.day(one.at)
        if day != last:
            days[one.id] = last = day
    return days


def _tab(one: Standing, told: dict[str, Any]) -> dict[str, Any]:
    known = told[one.conversation.id]
    return {
        "id": one.conversation.id,
        "employee": known.employee_name or readable(one.conversation.line, clear=False),
        "group": one.conversation.group.value,
        "consent": one.conversation.consent.value,
    }
