"""Operations: reconcile and resync, a dry run first, live while they are at work, ended by a word, and kept."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from consent.canonical import parse_entry_id
from jobs.access import Role, Viewer
from jobs.access.users import names_of
from jobs.web.pages.desk import Desk, given, missing
from jobs.web.pages.operations import found_destination, operated_ledgers, seen_destinations
from jobs.web.problems import ProblemError
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import Form, form, viewer
from jobs.web.times import lasting
from sync.choosing import Filters, Only
from sync.port import SuspendedError, TransientError
from sync.runs import Run, RunState, Work, find_run, list_runs, stop_run

PAGE = 50

_FIELDS = ("org", "only", "since", "until", "entry")
_ONLY = {
    "all": "Everything",
    "missing": "What is missing there",
    "drifted": "What differs there",
    "refused": "What was refused",
}

Operations = Annotated[Viewer, Depends(viewer(Role.OPERATIONS))]


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=PageRoute, prefix="/operations")

    @router.get("/runs")
    def runs(request: Request, who: Operations, before: str = "") -> Response:
        return _list(desk, request, who, before)

    @router.get("/runs/{run}")
    def show(request: Request, who: Operations, run: str) -> Response:
        return page(request, "run.html", **_told(desk, who, run))

    @router.get("/runs/{run}/now")
    def now(request: Request, who: Operations, run: str) -> Response:
        return page(request, "run_now.html", **_told(desk, who, run))

    @router.post("/runs/{run}/stop")
    def stop(request: Request, who: Operations, run: str) -> Response:
        _told(desk, who, run)
        with desk.database.write() as tx:
            stop_run(tx, run)
        return RedirectResponse(f"{request.state.base}/operations/runs/{run}", 303)

    @router.post("/runs/{run}/resume")
    def resume(request: Request, who: Operations, run: str) -> Response:
        told: Run = _told(desk, who, run)["run"]
        found_destination(desk, who, told.destination)
        earlier = told.told.get("run") or told.asked.get("resume")
        if told.work is not Work.RESYNC or not earlier or told.state in (RunState.RUNNING, RunState.DONE):
            raise ProblemError(409, "not_resumable", "Only a resync that was stopped in the middle can go on.")
        filters = Filters(organization=told.organization)
        return _begun(request, desk.runs.resync(told.destination, filters, actor=who.id, resume=str(earlier)))

    @router.post("/destinations/{name}/reconcile")
    def reconcile(request: Request, who: Operations, name: str, told: Annotated[Form, Depends(form)]) -> Response:
        found_destination(desk, who, name)
        ledger = _ledger(desk, who, told.get("org", ""))
        repair = told.get("repair") == "yes"
        return _begun(request, desk.runs.reconcile(name, organization=ledger, repair=repair, actor=who.id))

    @router.get("/destinations/{name}/resync")
    def ask(request: Request, who: Operations, name: str) -> Response:
        return _ask(desk, request, who, name, {}, {})

    @router.post("/destinations/{name}/resync")
    def resync(request: Request, who: Operations, name: str, told: Annotated[Form, Depends(form)]) -> Response:
        return _resync(desk, request, who, name, told)

    return router


def _begun(request: Request, run: str) -> Response:
    return RedirectResponse(f"{request.state.base}/operations/runs/{run}", 303)


def _ledger(desk: Desk, who: Viewer, asked: str) -> str | None:
    """Return the ledger that is meant: one of the viewer's, or all where they see all."""
    with desk.database.read() as tx:
        ledgers = operated_ledgers(tx, who)
    if ledgers is None:
        return asked or None
    chosen = asked or next(iter(ledgers), "")
    if chosen not in ledgers:
        raise missing()
    return chosen


def _list(desk: Desk, request: Request, who: Viewer, before: str) -> Response:
    at, _, run_id = before.partition(".")
    place = (int(at), run_id) if at.isdecimal() and len(at) < 18 and run_id else None
    names = {one.name for one in seen_destinations(desk, who)}
    with desk.database.read() as tx:
        found = list_runs(tx, before=place, limit=PAGE + 1)
        shown = [one for one in found[:PAGE] if _sees(who, one, names)]
        actors = names_of(tx, {one.actor for one in shown})
    last = found[PAGE - 1] if len(found) > PAGE else None
    return page(
        request, "runs.html", runs=shown, actors=actors, is_first=place is None, said=said,
        older=f"{last.begun_at}.{last.id}" if last else None,
    )  # fmt: skip


def _sees(who: Viewer, one: Run, names: set[str]) -> bool:
    if who.organizations is None:
        return True
    return one.destination in names and one.organization is not None and who.sees(one.organization)


def _told(desk: Desk, who: Viewer, run_id: str) -> dict[str, Any]:
    names = {one.name for one in seen_destinations(desk, who)}
    with desk.database.read() as tx:
        try:
            found = find_run(tx, run_id)
        except LookupError:
            raise missing() from None
        if not _sees(who, found, names):
            raise missing()
        actor = names_of(tx, {found.actor}).get(found.actor, found.actor)
    seen, total = int(found.told.get("seen", 0)), int(found.told.get("total", 0))
    took = max(1, found.told_at - found.begun_at) / 1_000_000
    left = (total - seen) * took / seen if seen and total > seen else None
    return {
        "run": found, "actor": actor, "seen": seen, "total": total, "said": said(found), "took": lasting(took),
        "left": lasting(left) if left is not None else None, "only": _ONLY,
        "is_live": found.state is RunState.RUNNING,
        "may_resume": found.work is Work.RESYNC and found.state in (RunState.STOPPED, RunState.FAILED, RunState.LOST)
        and bool(found.told.get("run") or found.asked.get("resume")),
    }  # fmt: skip


def said(one: Run) -> tuple[str, str]:
    """Return how a run stands in words, and the color of it."""
    told = one.told
    match one.state:
        case RunState.RUNNING:
            return ("Stopping…", "wait") if one.stopping else ("At work", "wait")
        case RunState.STOPPED:
            return "Stopped", "plain"
        case RunState.FAILED:
            return "Failed", "bad"
        case RunState.LOST:
            return "Ended without a word", "bad"
    if one.work is Work.RECONCILE:
        count = int(told.get("differences", 0))
        return (f"{count:,} differ", "bad") if count else ("No difference", "good")
    left = int(told.get("refused", 0)) + int(told.get("set_aside", 0))
    return (f"{left:,} not taken", "bad") if left else ("Done", "good")


def _ask(
    desk: Desk, request: Request, who: Viewer, name: str, told: dict[str, Any], errors: dict[str, str],
    foreseen: Any = None,
) -> Response:  # fmt: skip
    found_destination(desk, who, name)
    with desk.database.read() as tx:
        ledgers = operated_ledgers(tx, who)
        from consent.ledger import ledgers as all_ledgers

        choices = all_ledgers(tx) if ledgers is None else ledgers
    asked = {field: told.get(field, "") for field in _FIELDS}
    return page(
        request, "resync.html", 422 if errors else 200, name=name, asked=asked, errors=errors, foreseen=foreseen,
        ledgers=choices, sees_all=ledgers is None, only=_ONLY, lasting=lasting,
    )  # fmt: skip


def _resync(desk: Desk, request: Request, who: Viewer, name: str, told: Form) -> Response:
    """Say what a resync would do, and do it once that was read."""
    found_destination(desk, who, name)
    asked, errors, times = given(told, _FIELDS), dict[str, str](), request.state.times
    bounds = {}
    for field in ("since", "until"):
        bounds[field] = times.read(asked[field]) if asked[field] else None
        if asked[field] and bounds[field] is None:
            errors[field] = "Give a date and time, as 2026-11-23 10:00."
    entry = None
    if asked["entry"]:
        try:
            entry = parse_entry_id(asked["entry"])
        except ValueError:
            errors["entry"] = "An entry’s id looks like acme-000000048211."
    if asked["only"] not in _ONLY:
        errors["only"] = "Choose which entries."
    ledger = _ledger(desk, who, entry[0] if entry else asked["org"])
    if errors:
        return _ask(desk, request, who, name, asked, errors)
    filters = Filters(Only(asked["only"]), ledger, bounds["since"], bounds["until"], None, entry)
    if told.get("confirmed") == "yes":
        return _begun(request, desk.runs.resync(name, filters, actor=who.id))
    try:
        foreseen = desk.runs.foresee(name, filters, actor=who.id)
    except (SuspendedError, TransientError) as error:
        return _ask(desk, request, who, name, asked, {"only": f"It can’t be asked now. {error.code}: {error.advice}."})
    return _ask(desk, request, who, name, asked, {}, foreseen)
