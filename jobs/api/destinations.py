"""`/v1/destinations`: how far each is, pause and resume, resync and reconcile as runs that go on by themselves."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from consent.canonical import parse_entry_id, timestamp
from consent.database import Database
from consent.ledger import ledgers, read_entry
from jobs.access import Grant, Scope
from jobs.api.keys import needs, require_sight
from jobs.api.queries import PROBLEMS, instant
from jobs.asking import QuestionError, conversations_of
from jobs.running import Runs
from jobs.web.problems import ProblemError
from sync import destinations as operating
from sync.choosing import Filters, Only
from sync.destinations import Destination
from sync.port import SuspendedError, TransientError
from sync.resync import AlreadyRunningError
from sync.runs import Run, RunState, find_run, list_runs, stop_run
from sync.status import status

Name = Annotated[str, Path(description="As in the settings: [destinations.NAME].")]
RunId = Annotated[str, Path(description="As it was answered when the run began.")]
Reads = Annotated[Grant, Depends(needs(Scope.DESTINATIONS_READ))]
Operates = Annotated[Grant, Depends(needs(Scope.DESTINATIONS_OPERATE))]

_RUNNING: dict[int | str, dict[str, Any]] = {409: PROBLEMS[404] | {"description": "One is at work already"}}
_AWAY: dict[int | str, dict[str, Any]] = {502: PROBLEMS[404] | {"description": "The destination can't be asked"}}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Why(_Body):
    """Why; it stands in the records."""

    reason: str = Field(default="", max_length=10_000)


class Resync(_Body):
    """What to bring again; what isn't named takes all."""

    only: Only = Only.ALL
    org: str | None = None
    contact: str | None = Field(default=None, description="a number: only this contact's conversations")
    entry: str | None = Field(default=None, description="one entry's id")
    since: str | None = Field(default=None, description="recorded at or after, RFC 3339")
    until: str | None = Field(default=None, description="recorded before, RFC 3339")
    dry_run: StrictBool = Field(default=False, description="count, and change nothing")
    resume: str | None = Field(default=None, description="go on with an earlier resync, by its `run`")


class Reconcile(_Body):
    """What to read back and compare."""

    org: str | None = None
    repair: StrictBool = False


def destination_router(database: Database, destinations: Sequence[Destination], runs: Runs) -> APIRouter:
    """Return the routes; a token of one organization sees the destinations that serve nobody else."""
    router = APIRouter(prefix="/v1", tags=["destinations"], responses=PROBLEMS)
    configured = {destination.name: destination for destination in destinations}
    _add_states(router, database, configured)
    _add_work(router, database, configured, runs)
    _add_runs(router, database, configured)
    return router


def _add_states(router: APIRouter, database: Database, configured: Mapping[str, Destination]) -> None:
    @router.get("/destinations", summary="Each destination: its state, and what it is owed.")
    def list_destinations(grant: Reads) -> Response:
        seen = [destination for destination in configured.values() if _sees(grant, destination)]
        told = status(database, seen)["destinations"]
        shown = {destination.name for destination in seen}
        rows = [row for row in told if row["name"] in shown or grant.organizations is None]
        return _json({"destinations": rows})

    @router.post("/destinations/{name}/pause", summary="Deliver nothing there until it is resumed.")
    def pause(grant: Operates, name: Name, asked: Why | None = None) -> Response:
        return operate(grant, name, asked, operating.pause, "paused")

    @router.post("/destinations/{name}/resume", summary="Let deliveries to a paused or suspended destination go on.")
    def resume(grant: Operates, name: Name, asked: Why | None = None) -> Response:
        return operate(grant, name, asked, operating.resume, "ok")

    def operate(grant: Grant, name: str, asked: Why | None, act: Any, state: str) -> Response:
        _found(grant, configured, name)
        operating.register(database, [configured[name]], complete=False)
        act(database, name, asked.reason.strip() if asked else "", grant.id, _now())
        return _json({"name": name, "state": state})


def _add_work(router: APIRouter, database: Database, configured: Mapping[str, Destination], runs: Runs) -> None:
    @router.post(
        "/destinations/{name}/resync", summary="Bring entries again; safe to run twice.", status_code=202,
        responses=_RUNNING | _AWAY | {200: {"description": "A dry run: what would be brought"}},
    )  # fmt: skip
    def resync(grant: Operates, name: Name, asked: Resync | None = None) -> Response:
        _found(grant, configured, name)
        asked = asked or Resync()
        filters = _filters(database, grant, asked)
        if asked.dry_run:
            return _json(_foreseen(runs, name, filters, grant))
        require_idle(name)
        try:
            operating.require_not_paused(database, name)
        except SuspendedError as error:
            raise ProblemError(409, "paused", f"{error.advice[0].upper()}{error.advice[1:]}.") from None
        return _begun(runs.resync(name, filters, actor=grant.id, resume=asked.resume))

    @router.post(
        "/destinations/{name}/reconcile", summary="Read back what it holds and compare.", status_code=202,
        responses=_RUNNING,
    )  # fmt: skip
    def reconcile(grant: Operates, name: Name, asked: Reconcile | None = None) -> Response:
        _found(grant, configured, name)
        asked = asked or Reconcile()
        organization = _ledger(database, grant, asked.org)
        require_idle(name)
        return _begun(runs.reconcile(name, organization=organization, repair=asked.repair, actor=grant.id))

    def require_idle(name: str) -> None:
        with database.read() as tx:
            at_work = [run for run in list_runs(tx, destination=name, limit=5) if run.state is RunState.RUNNING]
        if at_work:
            detail = f"The run {at_work[0].id} of this destination is at work: wait for it, or stop it."
            raise ProblemError(409, "already_running", detail)


def _add_runs(router: APIRouter, database: Database, configured: Mapping[str, Destination]) -> None:
    @router.get("/destinations/{name}/runs", summary="Its resyncs and reconciles, the newest first.")
    def list_of(
        grant: Reads, name: Name, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> Response:  # fmt: skip
        _found(grant, configured, name)
        with database.read() as tx:
            return _json({"runs": [_told(run) for run in list_runs(tx, destination=name, limit=limit)]})

    @router.get("/runs/{run_id}", summary="How far a run is, or what it came to.")
    def get_run(grant: Reads, run_id: RunId) -> Response:
        return _json(_told(seen(grant, run_id)))

    @router.post("/runs/{run_id}/stop", summary="End a run after what it has at hand; a resync can be resumed.")
    def stop(grant: Operates, run_id: RunId) -> Response:
        seen(grant, run_id)
        with database.write() as tx:
            stop_run(tx, run_id)
        return _json(_told(seen(grant, run_id)))

    def seen(grant: Grant, run_id: str) -> Run:
        found = None
        with suppress(LookupError), database.read() as tx:
            found = find_run(tx, run_id)
        destination = configured.get(found.destination) if found else None
        if found is None or not (grant.organizations is None or (destination and _sees(grant, destination))):
            raise ProblemError(404, "not_found", "There is no run of this id.")
        return found


def _found(grant: Grant, configured: Mapping[str, Destination], name: str) -> Destination:
    found = configured.get(name)
    if found is None or not _sees(grant, found):
        raise ProblemError(404, "not_found", "There is no destination of this name: see GET /v1/destinations.")
    return found


def _sees(grant: Grant, destination: Destination) -> bool:
    if grant.organizations is None:
        return True
    return destination.organizations is not None and destination.organizations <= grant.organizations


def _ledger(database: Database, grant: Grant, org: str | None) -> str | None:
    """Return the ledger that is meant, None for all; an answer of 404 where there is none of that name."""
    if org is None:
        return None
    require_sight(grant, org)
    with database.read() as tx:
        if org not in ledgers(tx):
            told = "There is no ledger of this name: name a main organization."
            raise ProblemError(404, "unknown_organization", told)
    return org


def _filters(database: Database, grant: Grant, asked: Resync) -> Filters:
    conversations, entry = None, None
    organization = _ledger(database, grant, asked.org)
    if asked.contact is not None:
        with database.read() as tx:
            try:
                conversations = conversations_of(tx, organization, asked.contact)
            except QuestionError as error:
                detail = f"{error.detail[0].upper()}{error.detail[1:]}."
                raise ProblemError(404 if "organization" in error.code else 422, error.code, detail) from None
        if not conversations:
            raise ProblemError(404, "not_found", "There is no conversation with this contact.")
    if asked.entry is not None:
        try:
            entry = parse_entry_id(asked.entry)
        except ValueError as error:
            raise ProblemError(422, "invalid_request", f"{error}.") from None
        with database.read() as tx:
            if read_entry(tx, *entry) is None:
                raise ProblemError(404, "not_found", "There is no entry of this id.")
    since, until = (
        None if at is None else instant(at, name) for name, at in (("since", asked.since), ("until", asked.until))
    )
    return Filters(asked.only, organization, since, until, conversations, entry)


def _foreseen(runs: Runs, name: str, filters: Filters, grant: Grant) -> dict[str, Any]:
    try:
        return asdict(runs.foresee(name, filters, actor=grant.id))
    except AlreadyRunningError:
        raise ProblemError(409, "already_running", "A resync or repair of this destination is at work.") from None
    except (SuspendedError, TransientError) as error:
        detail = f"{error.advice[0].upper()}{error.advice[1:]}."
        raise ProblemError(502, "destination_away", detail) from None


def _begun(run_id: str) -> Response:
    told = orjson.dumps({"run": run_id, "state": RunState.RUNNING.value})
    return Response(told, 202, {"location": f"/v1/runs/{run_id}"}, media_type="application/json")


def _told(run: Run) -> dict[str, Any]:
    return {
        "run": run.id, "work": run.work.value, "destination": run.destination, "organization": run.organization,
        "state": run.state.value, "stopping": run.stopping, "advice": run.advice, "asked": dict(run.asked),
        "told": dict(run.told), "actor": run.actor, "begun_at": timestamp(run.begun_at),
        "told_at": timestamp(run.told_at),
    }  # fmt: skip


def _json(told: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(told), media_type="application/json")


def _now() -> int:
    return time.time_ns() // 1_000
