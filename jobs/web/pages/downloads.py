"""Reports: entries as a file. What was taken, by whom, stands in the ledger before the file goes out."""

import shutil
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse
from sqlalchemy import Connection
from starlette.background import BackgroundTask

from consent.kinds import Kind
from consent.searching import by_id
from jobs import asking
from jobs.access import Role, Viewer
from jobs.exits import Problem
from jobs.exporting.run import Exported, export
from jobs.exporting.selection import Filters
from jobs.web.pages.desk import Desk, given, seen_organizations, sees_standing
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import Form, form, viewer
from jobs.web.words import KIND_WORDS

_FORMS = {
    "csv": "CSV — for any spreadsheet",
    "xlsx": "XLSX — for Excel, one sheet",
    "pdf": "PDF — for reading and printing",
    "jsonl": "JSON lines — exact, can be checked against the ledger",
}
_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
    "jsonl": "application/x-ndjson",
    "zip": "application/zip",
}
_FIELDS = ("org", "form", "since", "until", "kind", "contact", "line", "employee", "conversation", "manifest")

Reports = Annotated[Viewer, Depends(viewer(Role.REPORTS))]


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=PageRoute, prefix="/reports/downloads")

    @router.get("")
    def ask(request: Request, who: Reports) -> Response:
        query = request.query_params
        return _page(desk, request, who, {name: query.get(name, "") for name in ("org", "conversation")}, {})

    @router.post("")
    def download(request: Request, who: Reports, told: Annotated[Form, Depends(form)]) -> Response:
        asked = given(told, _FIELDS)
        errors, filters = _read(desk, request, who, asked)
        if errors:
            return _page(desk, request, who, asked, errors)
        return _download(desk, request, who, asked, filters)

    return router


def _read(desk: Desk, request: Request, who: Viewer, asked: Form) -> tuple[dict[str, str], Filters]:
    """Return what is wrong by field, and the filters."""
    errors = dict[str, str]()
    with desk.database.read() as tx:
        seen = {one.id: one for one in seen_organizations(tx, who)}
        if asked["form"] not in _FORMS:
            errors["form"] = "Choose what to write."
        # Who sees all may take all; anybody else names one of theirs.
        if asked["org"] not in seen and (asked["org"] or who.organizations is not None):
            errors["org"] = "Choose an organization."
        if asked["kind"] and asked["kind"] not in set(Kind):
            errors["kind"] = "Choose a kind."
        bounds = {}
        for name in ("since", "until"):
            bounds[name] = _bound(request, asked[name], is_end=name == "until")
            if asked[name] and bounds[name] is None:
                errors[name] = "Give a date, as 2026-11-23."
        if not errors and (asked["contact"] or asked["line"]):
            errors |= _numbers(tx, asked)
        if asked["conversation"] and not errors:
            main = seen[asked["org"]].main if asked["org"] else ""
            standing = by_id(tx, main, asked["conversation"])
            if standing is None or not sees_standing(who, standing):
                errors["conversation"] = "There is no such conversation."
    if bounds.get("since") and bounds.get("until") and bounds["since"] >= bounds["until"]:  # type: ignore[operator]
        errors["until"] = "It ends before it begins."
    return errors, Filters(
        asked["org"] or None, None, asked["kind"] or None, bounds.get("since"), bounds.get("until"),
        asked["contact"] or None, asked["line"] or None, asked["employee"] or None, asked["conversation"] or None,
    )  # fmt: skip


def _bound(request: Request, told: str, *, is_end: bool) -> int | None:
    """Return when a day begins or ends in the viewer's zone, or an instant where one was given."""
    times = request.state.times
    at: int | None = times.read(told) if told else None
    if at is not None and is_end and len(told) == 10:
        day = datetime.fromisoformat(told).date()
        return int(times.days(day, day)[1])
    return at


def _numbers(tx: Connection, asked: Form) -> dict[str, str]:
    errors = {}
    for name in ("contact", "line"):
        if not asked[name]:
            continue
        if not asked["org"]:
            errors["org"] = "Choose an organization: a number is read as its country writes it."
            continue
        try:
            _, policy = asking.found_organization(tx, asked["org"])
            asking.number(asked[name], name, policy)
        except asking.QuestionError:
            errors[name] = "This can’t be read as a number: give it as +1 404 555 0123."
    return errors


def _download(desk: Desk, request: Request, who: Viewer, asked: Form, filters: Filters) -> Response:
    form, now = asked["form"], desk.access.clock()
    folder = Path(tempfile.mkdtemp(prefix="assent-download-"))
    stamp = datetime.fromtimestamp(now / 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"assent-{asked['org'] or 'all'}-{stamp}"
    try:
        done = export(desk.database, filters, form, folder / f"{name}.{form}", actor=who.id, now=now)
        path = _packed(folder, name, done) if asked["manifest"] or len(done.files) > 1 else folder / done.files[0].name
    except (asking.QuestionError, Problem) as error:
        shutil.rmtree(folder, ignore_errors=True)
        return _page(desk, request, who, asked, {"form": str(error)})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(
        path, media_type=_TYPES[path.suffix[1:]], filename=path.name,
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )  # fmt: skip


def _packed(folder: Path, name: str, done: Exported) -> Path:
    """Return a ZIP of all files and the manifest that says how to check them."""
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for one in done.files:
            packed.write(folder / one.name, one.name)
        if done.manifest is not None:
            packed.write(done.manifest, done.manifest.name)
    return path


def _page(desk: Desk, request: Request, who: Viewer, asked: Form, errors: dict[str, str]) -> Response:
    with desk.database.read() as tx:
        organizations = seen_organizations(tx, who)
    return page(
        request, "downloads.html", 422 if errors else 200, asked={name: asked.get(name, "") for name in _FIELDS},
        errors=errors, forms=_FORMS, kinds=KIND_WORDS, organizations=organizations,
        may_all=who.organizations is None,
    )  # fmt: skip
