"""Reports: may this line text this contact, now or at any instant, with the entry that proves it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from consent.canonical import parse_entry_id
from consent.conversations import find_standings
from consent.history import Moment, Said, consent_at
from consent.ledger import read_entry
from consent.organizations import Organization
from consent.policy import Policy
from consent.values import Group
from jobs import asking
from jobs.access import Role, Viewer
from jobs.web.asked import Question
from jobs.web.pages.desk import Desk, given, readable, seen_organization, seen_organizations, sentence
from jobs.web.presenting import position, row
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import Form, form, viewer
from jobs.web.words import REASON_WORDS

_FIELDS = ("org", "line", "contact", "channel", "at")

Reports = Annotated[Viewer, Depends(viewer(Role.REPORTS))]


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=PageRoute, prefix="/reports/consent")

    @router.get("")
    def ask(request: Request, who: Reports, asked: str = "") -> Response:
        question: Question | None = None
        if asked:
            with desk.database.read() as tx:
                question = desk.asked(tx).open(asked)
        return _answer(desk, request, who, question)

    @router.post("")
    def put(request: Request, who: Reports, told: Annotated[Form, Depends(form)]) -> Response:
        question = given(told, _FIELDS)
        errors = _errors(desk, request, who, question)
        if errors:
            return _page(desk, request, who, question, errors=errors)
        with desk.database.read() as tx:
            sealed = desk.asked(tx).seal(question)
        return RedirectResponse(f"{request.state.base}/reports/consent?asked={sealed}", 303)

    return router


def _errors(desk: Desk, request: Request, who: Viewer, question: Question) -> dict[str, str]:
    """Return what is wrong, by field."""
    errors = {}
    with desk.database.read() as tx:
        one, policy = _organization(tx, who, question)
        if one is None or policy is None:
            return {"org": "Choose an organization."}
        for name in ("contact", "line"):
            if name == "line" and not question["line"]:
                continue
            try:
                asking.number(question[name], name, policy)
            except asking.QuestionError:
                errors[name] = "This can’t be read as a number: give it as +1 404 555 0123."
    if question["channel"] not in ("", *asking.CHANNELS):
        errors["channel"] = "Choose a channel."
    if question["at"] and request.state.times.read(question["at"]) is None:
        errors["at"] = "Give a date and time, as 2026-11-23 10:02."
    return errors


def _organization(tx: Connection, who: Viewer, question: Question) -> tuple[Organization | None, Policy | None]:
    seen = [one.id for one in seen_organizations(tx, who)]
    if question.get("org") not in seen:
        return None, None
    return asking.found_organization(tx, question["org"])


def _answer(desk: Desk, request: Request, who: Viewer, question: Question | None) -> Response:
    if question is None or _errors(desk, request, who, question):
        query = request.query_params
        begun = {name: query.get(name, "") if name == "org" else "" for name in _FIELDS}
        return _page(desk, request, who, begun)
    times = request.state.times
    at = times.read(question["at"]) if question["at"] else times.now
    with desk.database.read() as tx:
        one = seen_organization(tx, who, question["org"])
        _, policy = asking.found_organization(tx, one.id)
        contact = asking.number(question["contact"], "contact", policy)
        line = asking.number(question["line"], "line", policy) if question["line"] else None
        group = asking.CHANNELS[question["channel"]] if question["channel"] else None
        if line is not None and group is None:
            group = Group.TEXT
        from consent.history import Question as Asked

        asked = Asked(one.main, contact, policy.sub_organization, line, group)
        tags = desk.tags(tx)
        standings = find_standings(tx, tags, one.main, contact)
        ids = {(found.conversation.line, found.conversation.group): found.conversation.id for found in standings}
        moments = [_told(desk, tx, who, moment, ids) for moment in consent_at(tx, tags, asked, at)]
    return _page(desk, request, who, question, moments=moments, at=at)


def _told(desk: Desk, tx: Connection, who: Viewer, one: Moment, ids: dict[Any, str]) -> dict[str, Any]:
    conversation = ids.get((one.line, one.group))
    clear = bool(conversation) and conversation in desk.access.revealed(who, one.organization, [conversation or ""])
    return {
        "line": readable(one.line, clear=clear),
        "group": one.group.value,
        "organization": one.organization,
        "conversation": conversation,
        "said": _said(one.said),
        "known": _said(one.known),
        "differs": (one.said.allowed, one.said.entry) != (one.known.allowed, one.known.entry),
        "proof": _proof(desk, tx, who, one.said.entry),
    }


def _said(said: Said) -> dict[str, Any]:
    return {
        "allowed": said.allowed,
        "state": said.state.value,
        "reason": REASON_WORDS.get(said.reason or "", said.reason or ""),
        "entry": said.entry,
    }


def _proof(desk: Desk, tx: Connection, who: Viewer, entry_id: str | None) -> dict[str, Any] | None:
    if entry_id is None:
        return None
    entry = read_entry(tx, *parse_entry_id(entry_id))
    if entry is None or not who.sees_entry(entry):
        return None
    return {"row": row(entry, desk.where([position(entry)]).get(position(entry), ())), "entry": entry}


def _page(
    desk: Desk, request: Request, who: Viewer, question: Question, *, errors: dict[str, str] | None = None,
    moments: list[dict[str, Any]] | None = None, at: int | None = None,
) -> Response:  # fmt: skip
    with desk.database.read() as tx:
        organizations = seen_organizations(tx, who)
    return page(
        request, "consent.html", 422 if errors else 200, question=question, errors=errors or {}, moments=moments, at=at,
        organizations=organizations, asked_at=bool(question.get("at")),
    )  # fmt: skip


__all__ = ["router", "sentence"]
