"""Operations: is anything not there that should be, and of each destination its state, what it is owed, its pace."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from consent.kinds import SYSTEM
from jobs.access import Role, Viewer
from jobs.web.charts import Bar, bars, line
from jobs.web.pages.desk import Desk, missing, seen_ledgers
from jobs.web.problems import ProblemError
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import Form, form, viewer
from jobs.web.times import Times, lasting
from jobs.web.words import plural, words
from sync import destinations as places
from sync import findings
from sync.alarms import open_alarms
from sync.budgets import budget_of
from sync.clock import database_now
from sync.destinations import Destination
from sync.findings import Found
from sync.owed import aside_counts
from sync.pace import Behind, Tick, behind, pace
from sync.runs import Run, list_runs
from sync.status import status

_HOUR = 3_600_000_000
_TICKS = 48
_SPANS = {
    "hour": ("the last hour", _HOUR),
    "day": ("the last 24 hours", 24 * _HOUR),
    "week": ("the last 7 days", 168 * _HOUR),
}

#: What each state means, and its color.
STATES = {
    "ok": ("Up to date", "good", "It holds everything that was recorded."),
    "catching_up": ("Catching up", "wait", "Entries are on their way; nothing needs to be done."),
    "retrying": ("Doesn’t answer, tried again", "wait", "It is tried again by itself, at most every 15 minutes."),
    "suspended": ("Stopped: it refuses us", "bad", "Put right what it says, then resume."),
    "paused": ("Paused by a person", "wait", "Nothing is delivered until it is resumed; what it is owed stays owed."),
    "removed": ("No longer in the settings", "plain", "Its receipts are kept."),
}

Operations = Annotated[Viewer, Depends(viewer(Role.OPERATIONS))]


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=PageRoute, prefix="/operations")

    @router.get("")
    def overview(request: Request, who: Operations) -> Response:
        return page(request, "operations.html", **_overview(desk, request, who))

    @router.get("/now")
    def now(request: Request, who: Operations) -> Response:
        return page(request, "operations_now.html", **_overview(desk, request, who))

    @router.get("/destinations/{name}")
    def destination(request: Request, who: Operations, name: str, span: str = "day") -> Response:
        return _destination(desk, request, who, name, span if span in _SPANS else "day")

    @router.post("/destinations/{name}/pause")
    def pause(request: Request, who: Operations, name: str, told: Annotated[Form, Depends(form)]) -> Response:
        reason = told.get("reason", "").strip()[:1_000]
        if not reason:
            return _destination(desk, request, who, name, "day", error="Say why: it stands in the records.")
        return _steer(desk, request, who, name, places.pause, reason)

    @router.post("/destinations/{name}/resume")
    def resume(request: Request, who: Operations, name: str, told: Annotated[Form, Depends(form)]) -> Response:
        return _steer(desk, request, who, name, places.resume, told.get("reason", "").strip()[:1_000])

    return router


def seen_destinations(desk: Desk, who: Viewer) -> list[Destination]:
    """Return the destinations that take something of a viewer's ledgers."""
    with desk.database.read() as tx:
        ledgers = operated_ledgers(tx, who)
    return [one for one in desk.destinations if ledgers is None or any(one.takes(name) for name in ledgers)]


def found_destination(desk: Desk, who: Viewer, name: str) -> Destination:
    """Return one of those destinations; any other is answered as if it weren't there."""
    found = next((one for one in seen_destinations(desk, who) if one.name == name), None)
    if found is None:
        raise missing()
    return found


def operated_ledgers(tx: Connection, who: Viewer) -> list[str] | None:
    """Return the ledgers whose deliveries a viewer looks after; None is all of them, and `system`.

    Deliveries are of whole ledgers: who sees a sub-organization only looks after none.
    """
    if who.organizations is None:
        return None
    return [name for name in seen_ledgers(tx, who) if who.sees(name)]


def may_steer(who: Viewer, one: Destination) -> bool:
    """Say whether pausing a destination touches nobody but a viewer's own organizations."""
    return who.organizations is None or (
        one.organizations is not None and all(who.sees(name) for name in one.organizations)
    )  # fmt: skip


def require_steering(who: Viewer, one: Destination) -> None:
    """Refuse to pause or resume what other organizations' entries go to as well."""
    if not may_steer(who, one):
        detail = "Other organizations’ entries go there too: ask whoever runs Assent."
        raise ProblemError(403, "shared_destination", detail)


def _steer(
    desk: Desk, request: Request, who: Viewer, name: str, act: Callable[..., None], reason: str
) -> Response:  # fmt: skip
    one = found_destination(desk, who, name)
    require_steering(who, one)
    places.register(desk.database, [one], complete=False)
    act(desk.database, name, reason, who.id, desk.access.clock())
    return RedirectResponse(f"{request.state.base}/operations/destinations/{name}", 303)


def _overview(desk: Desk, request: Request, who: Viewer) -> dict[str, Any]:
    times: Times = request.state.times
    told = {row["name"]: row for row in status(desk.database, desk.destinations)["destinations"]}
    seen = seen_destinations(desk, who)
    with desk.database.read() as tx:
        ledgers = operated_ledgers(tx, who)
        now = database_now(tx)
        rows = [_row(tx, one, told[one.name], ledgers, now) for one in seen]
        rows += [_gone(row) for name, row in told.items()
                 if who.organizations is None and name not in {one.name for one in desk.destinations}]  # fmt: skip
        runs = _visible(list_runs(tx, limit=60), who, {one.name for one in seen})
        looks = {one.subject: one for one in findings.findings(tx) if one.look == findings.RECONCILE}
        # What people have to be told is told of the whole system.
        alarms = open_alarms(tx) if who.organizations is None else []
    looks = {one.name: looks[one.name] for one in seen if one.name in looks}
    return {
        "rows": rows,
        "headline": _headline(rows, looks, times),
        "runs": runs[:5],
        "states": STATES,
        "alarms": alarms,
    }


def _row(
    tx: Connection, one: Destination, told: dict[str, Any], ledgers: Sequence[str] | None, now: int
) -> dict[str, Any]:  # fmt: skip
    lanes = behind(tx, one, ledgers)
    asides = _asides(tx, one.name, ledgers)
    owed = sum(lane.owed for lane in lanes)
    ticks = pace(tx, one, now - _HOUR, now, 12, ledgers)
    # Its state is the destination's, but who sees one ledger is told of that one's backlog only.
    state = told["state"] if told["state"] not in ("ok", "catching_up") else ("catching_up" if owed else "ok")
    oldest = [lane.oldest for lane in lanes if lane.oldest is not None]
    return {
        "name": one.name, "state": state, "reason": told["reason"], "owed": owed,
        "waits": lasting((now - min(oldest)) / 1_000_000) if oldest else None,
        "holds": sum(lane.cursor for lane in lanes) - sum(asides.values()), "set_aside": asides.get("waiting", 0),
        "refused": asides.get("refused", 0), "rate": _rate(ticks), "budget": told["budget"], "gone": False,
    }  # fmt: skip


def _gone(told: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": told["name"], "state": told["state"], "reason": told["reason"], "owed": 0, "waits": None, "holds": None,
        "set_aside": 0, "refused": 0, "rate": "", "budget": None, "gone": True,
    }  # fmt: skip


def _asides(tx: Connection, name: str, ledgers: Sequence[str] | None) -> dict[str, int]:
    if ledgers is None:
        return aside_counts(tx, name)
    counts: dict[str, int] = {}
    for ledger in ledgers:
        for state, count in aside_counts(tx, name, ledger).items():
            counts[state] = counts.get(state, 0) + count
    return counts


def _rate(ticks: Sequence[Tick]) -> str:
    entries = sum(one.entries for one in ticks)
    return "none in the last hour" if not entries else f"{entries:,} in the last hour"


def _visible(runs: Sequence[Run], who: Viewer, names: set[str]) -> list[Run]:
    return [
        one for one in runs
        if who.organizations is None or (one.destination in names and one.organization and who.sees(one.organization))
    ]  # fmt: skip


def _headline(rows: Sequence[dict[str, Any]], looks: Mapping[str, Found], times: Times) -> dict[str, str]:
    """Answer in one line whether anything isn't there that should be."""
    live = [row for row in rows if not row["gone"]]
    if not live:
        more = "Name one in settings.toml, as [destinations.NAME]."
        return {"tone": "wait", "said": "No destination is set up.", "more": more}
    troubles = [one for one in (_refused(live), _stuck(live), _differing(looks)) if one]
    more = _last_look(looks, times)
    if troubles:
        return {"tone": "bad", "said": f"Yes: {'; '.join(troubles)}.", "more": more}
    on_the_way = sum(row["owed"] + row["set_aside"] for row in live)
    if on_the_way:
        said = f"Not all yet: {plural(on_the_way, 'entry', 'entries')} on the way. Nothing needs to be done."
        return {"tone": "wait", "said": said, "more": more}
    count = "the destination holds" if len(live) == 1 else f"all {len(live)} destinations hold"
    return {"tone": "good", "said": f"No: {count} everything that was recorded.", "more": more}


def _refused(rows: Sequence[dict[str, Any]]) -> str:
    count = sum(row["refused"] for row in rows)
    waits = "waits" if count == 1 else "wait"
    return f"{plural(count, 'refused entry', 'refused entries')} {waits} for a person" if count else ""


def _stuck(rows: Sequence[dict[str, Any]]) -> str:
    stuck = [row for row in rows if row["owed"] and row["state"] in ("suspended", "paused", "retrying")]
    count, names = sum(row["owed"] for row in stuck), " and ".join(words(row["name"]) for row in stuck)
    return f"{plural(count, 'entry', 'entries')} not at {names}" if stuck else ""


def _differing(looks: Mapping[str, Found]) -> str:
    return "; ".join(
        f"{plural(one.differing, 'entry', 'entries')} differed at {words(name)} when it was read back"
        for name, one in looks.items() if one.differing
    )  # fmt: skip


def _last_look(looks: Mapping[str, Found], times: Times) -> str:
    if not looks:
        return "Nothing was read back yet: a reconcile compares what each destination holds with the ledger."
    oldest = min(one.found_at for one in looks.values())
    return f"Read back and compared {lasting(max(0, times.now - oldest) / 1_000_000)} ago."


def _destination(
    desk: Desk, request: Request, who: Viewer, name: str, span: str, *, error: str | None = None
) -> Response:  # fmt: skip
    one = found_destination(desk, who, name)
    told = next(row for row in status(desk.database, [one])["destinations"] if row["name"] == name)
    within, length = _SPANS[span]
    with desk.database.read() as tx:
        ledgers = operated_ledgers(tx, who)
        now = database_now(tx)
        row = _row(tx, one, told, ledgers, now)
        lanes = behind(tx, one, ledgers)
        ticks = pace(tx, one, now - length, now, _TICKS, ledgers)
        runs = _visible(list_runs(tx, destination=name, limit=20), who, {name})
    times: Times = request.state.times
    budget = budget_of(one)
    return page(
        request, "destination.html", 422 if error else 200, row=row, states=STATES, lanes=_lanes(lanes, now),
        span=span, spans=_SPANS, words=within, now=now, error=error, may_steer=may_steer(who, one), runs=runs[:10],
        organizations=[lane for lane in dict.fromkeys(each.organization for each in lanes) if lane != SYSTEM],
        sees_all=who.organizations is None, budget=budget, rate=_rate_chart(ticks, times, span, within),
        lag=_lag_chart(ticks, times, span, within),
        settled=sum(tick.entries for tick in ticks), worst=max((tick.lag or 0 for tick in ticks), default=0),
        lasting=lasting,
    )  # fmt: skip


def _lanes(lanes: Sequence[Behind], now: int) -> list[dict[str, Any]]:
    """Return what is owed by lane, over all ledgers, the oldest first told."""
    told = []
    for lane in ("consent", "messages", "audit"):
        mine = [one for one in lanes if one.lane == lane]
        if mine:
            oldest = [one.oldest for one in mine if one.oldest is not None]
            told.append({
                "lane": lane, "holds": sum(one.cursor for one in mine), "owed": sum(one.owed for one in mine),
                "oldest": min(oldest) if oldest else None,
                "waits": lasting((now - min(oldest)) / 1_000_000) if oldest else "",
            })  # fmt: skip
    return told


def _at(times: Times, micros: int, span: str) -> str:
    told = times.field(micros)
    return told[11:16] if span != "week" else f"{int(told[8:10])}.{int(told[5:7])}. {told[11:16]}"


def _rate_chart(ticks: Sequence[Tick], times: Times, span: str, within: str) -> Any:
    told = [
        Bar(_at(times, one.at, span), one.entries, 0, f"{_at(times, one.at, span)}: {one.entries:,} entries")
        for one in ticks
    ]
    return bars(told, f"Entries settled over {within}", height=150)


def _lag_chart(ticks: Sequence[Tick], times: Times, span: str, within: str) -> Any:
    told = [(_at(times, one.at, span), one.lag) for one in ticks]
    return line(told, f"How long the oldest entry of each delivery had waited, over {within}", lasting)
