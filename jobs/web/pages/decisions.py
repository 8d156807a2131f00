"""Reports: opt-ins and opt-outs over time."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request, Response

from consent.database import Database, fetch
from consent.kinds import Kind, Lane
from consent.ledger import newest_head
from consent.values import Consent
from jobs.access import Role, Viewer
from jobs.web.charts import Bar, bars
from jobs.web.pages.desk import Desk, seen_ledgers, seen_organizations
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import viewer
from jobs.web.words import SOURCE_WORDS

_DAY = 86_400_000_000
_SPANS = {"30": "30 days", "90": "90 days", "365": "12 months"}
_PAGE = 50_000

Reports = Annotated[Viewer, Depends(viewer(Role.REPORTS))]

#: By (sub-organization, day since 1970, decision, source): how many.
Counts = Counter[tuple[str | None, int, str, str]]


@dataclass(slots=True)
class _Known:
    """What was counted of one ledger, up to a position of its consent lane."""

    upto: int = 0
    counts: Counts = field(default_factory=Counter)


class Tally:
    """Counts decisions by the day they occurred on. It reads each entry once and remembers: entries never change."""

    def __init__(self, database: Database) -> None:
        self._database, self._known, self._lock = database, dict[str, _Known](), threading.Lock()

    def counts(self, ledger: str) -> Counts:
        """Return the counts of a ledger as it is now."""
        with self._lock, self._database.read() as tx:
            known = self._known.setdefault(ledger, _Known())
            size = newest_head(tx, ledger).lanes[Lane.CONSENT]
            while known.upto < size:
                end = min(known.upto + _PAGE, size)
                rows = fetch(
                    tx,
                    """SELECT occurred_at, body FROM entry WHERE organization = ? AND lane = ? AND pos >= ? AND pos < ?
                    AND kind = ?""",
                    [ledger, Lane.CONSENT.value, known.upto, end, Kind.DECISION.value],
                )
                for occurred_at, body in rows:
                    facts = orjson.loads(body) if body else {}
                    key = (facts.get("sub_organization"), occurred_at // _DAY, facts.get("decision", ""),
                           facts.get("source", ""))  # fmt: skip
                    known.counts[key] += 1
                known.upto = end
            return known.counts


def router(desk: Desk) -> APIRouter:
    """Return the route."""
    router = APIRouter(route_class=PageRoute)
    tally = Tally(desk.database)

    @router.get("/reports/decisions")
    def decisions(request: Request, who: Reports, days: str = "30", org: str = "") -> Response:
        return _decisions(desk, tally, request, who, days if days in _SPANS else "30", org)

    return router


def _decisions(desk: Desk, tally: Tally, request: Request, who: Viewer, span: str, org: str) -> Response:
    with desk.database.read() as tx:
        seen = seen_organizations(tx, who)
        ledgers = seen_ledgers(tx, who)
    chosen = org if org in {one.id for one in seen} else ""
    mains = {one.id: one.main for one in seen}
    total: Counts = Counter()
    for ledger in ledgers if not chosen else [mains[chosen]]:
        for key, count in tally.counts(ledger).items():
            if who.sees(ledger, key[0]) and (chosen in ("", ledger) or key[0] == chosen):
                total[key] += count
    today = request.state.times.now // _DAY
    by_week = span == "365"
    width = 7 if by_week else 1
    first = today - int(span) + 1
    rows = [
        (
            start,
            *(
                _sum(total, start, min(start + width, today + 1), decision)
                for decision in (Consent.OPTED_IN, Consent.OPTED_OUT)
            ),
        )
        for start in range(first, today + 1, width)
    ]
    more = " and 6 days" if by_week else ""
    told = [
        Bar(_day(at), ins, outs, f"{_day(at)}{more}: {ins:,} opted in, {outs:,} opted out") for at, ins, outs in rows
    ]
    within = {key: count for key, count in total.items() if key[1] >= first}
    sources = Counter[tuple[str, str]]()
    for (_, _, decision, source), count in within.items():
        sources[decision, source] += count
    ins, outs = (
        sum(count for (decision, _), count in sources.items() if decision == one) for one in ("opted_in", "opted_out")
    )
    return page(
        request, "decisions.html", span=span, spans=_SPANS, org=chosen, organizations=seen, ins=ins, outs=outs,
        chart=bars(told, f"Opt-ins upwards and opt-outs downwards over {_SPANS[span]}"),
        rows=[(_date(at), ins_, outs_) for at, ins_, outs_ in reversed(rows) if ins_ or outs_], by_week=by_week,
        sources=[(one, SOURCE_WORDS.get(source, source), count) for (one, source), count in sources.most_common()],
    )  # fmt: skip


def _sum(total: Counts, first: int, end: int, decision: Consent) -> int:
    return sum(count for (_, day, said, _), count in total.items() if first <= day < end and said == decision.value)


def _day(days: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)
    return (
        f"{at.day} {('Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec')[at.month - 1]}"
    )


def _date(days: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)
    return f"{_day(days)} {at.year}"
