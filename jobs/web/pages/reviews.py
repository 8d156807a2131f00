"""Reports: texts that may have been revocations, due first at the top, closed by a person who says why."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from consent.canonical import parse_entry_id, parse_timestamp
from consent.reviews import NoReviewError, Outcome, ReviewClosedError, State, find_listed
from jobs.access import Role, Viewer
from jobs.reviewing import close, told_review, told_reviews
from jobs.web.pages.desk import Desk, missing, readable, seen_ledgers, sentence
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import Form, form, viewer

PAGE = 50

_STATES = {"open": "Open", "overdue": "Overdue", "all": "All"}

Reports = Annotated[Viewer, Depends(viewer(Role.REPORTS))]


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=PageRoute, prefix="/reports/reviews")

    @router.get("")
    def reviews(request: Request, who: Reports, state: str = "open", org: str = "", after: str = "") -> Response:
        return _list(desk, request, who, state if state in _STATES else "open", org, after)

    @router.get("/{review}")
    def show(request: Request, who: Reports, review: str) -> Response:
        return _show(desk, request, who, review)

    @router.post("/{review}")
    def judge(request: Request, who: Reports, review: str, told: Annotated[Form, Depends(form)]) -> Response:
        found = _found(desk, who, review)
        outcome, reason = told.get("outcome", ""), told.get("reason", "").strip()[:10_000]
        errors = {}
        if outcome not in set(Outcome):
            errors["outcome"] = "Say what the text was."
        if not reason:
            errors["reason"] = "Say why: it stands in the records."
        if errors:
            return _show(desk, request, who, review, errors=errors, told=told)
        try:
            close(desk.closes, found["id"], Outcome(outcome), reason, who.id)
        except ReviewClosedError as error:
            return _show(desk, request, who, review, errors={"outcome": sentence(error)}, told=told)
        return RedirectResponse(f"{request.state.base}/reports/reviews/{review}?closed=1", 303)

    return router


def _list(desk: Desk, request: Request, who: Viewer, state: str, org: str, after: str) -> Response:
    with desk.database.read() as tx:
        ledgers = seen_ledgers(tx, who)
        org = org if org in ledgers else (ledgers[0] if len(ledgers) == 1 else "")
        try:
            told = told_reviews(tx, org=org or None, state=State(state), after=after or None, limit=PAGE)
        except NoReviewError:
            raise missing() from None
    return page(
        request, "reviews.html", state=state, states=_STATES, org=org, ledgers=ledgers, next=told.next,
        is_first=not after, reviews=[_told(desk, who, one) for one in told.reviews
                                     if who.sees(one["organization"], one["sub_organization"])],
    )  # fmt: skip


def _found(desk: Desk, who: Viewer, review: str) -> dict[str, Any]:
    try:
        ledger, seq = parse_entry_id(review)
    except ValueError:
        raise missing() from None
    with desk.database.read() as tx:
        try:
            found = told_review(find_listed(tx, ledger, seq))
        except NoReviewError:
            raise missing() from None
    if not who.sees(found["organization"], found["sub_organization"]):
        raise missing()
    return found


def _show(
    desk: Desk, request: Request, who: Viewer, review: str, *, errors: dict[str, str] | None = None,
    told: Form | None = None,
) -> Response:  # fmt: skip
    found = _told(desk, who, _found(desk, who, review))
    return page(
        request, "review.html", 422 if errors else 200, review=found, errors=errors or {}, told=told or {},
        closed="closed" in request.query_params,
    )  # fmt: skip


def _told(desk: Desk, who: Viewer, one: dict[str, Any]) -> dict[str, Any]:
    clear = one["conversation"] in desk.access.revealed(who, one["organization"], [one["conversation"]])
    return one | {
        "contact": readable(one["contact"], clear=clear),
        "line": readable(one["line"], clear=clear),
        "sent": parse_timestamp(one["sent_at"]),
        "due": parse_timestamp(one["due_at"]),
        "closed": parse_timestamp(one["closed_at"]) if one["closed_at"] else None,
    }
