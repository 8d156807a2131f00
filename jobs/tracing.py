"""Where entries are: for the portal's pages, read from receipts and from what is set aside.

A receipt says what a destination promised. Of the portal that we host ourselves we can say what it holds.
"""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection

from consent.database import Database, among, run
from jobs.web.whereabouts import Position, State, Where, Whereabouts
from sync import receipts
from sync.destinations import Destination

_STATES = {"waiting": State.SET_ASIDE, "refused": State.REFUSED, "discarded": State.DISCARDED}

#: For a ledger, a lane and positions of it: when each of those that are held arrived.
Holds = Callable[[str, str, Sequence[int]], Mapping[int, int]]


def whereabouts_of(
    database: Database, destinations: Sequence[Destination], hosted: Mapping[str, Holds] | None = None
) -> Where:
    """Return the function that says, for each position, how far it is at each destination that takes its lane.

    `hosted` says of destinations by their names what they hold; what it doesn't name is known by its receipts.
    """

    def where(asked: Sequence[Position]) -> Mapping[Position, Sequence[Whereabouts]]:
        told: dict[Position, list[Whereabouts]] = {position: [] for position in asked}
        lanes: dict[tuple[str, str], list[Position]] = {}
        for position in asked:
            lanes.setdefault((position.organization, position.lane), []).append(position)
        with database.read() as tx:
            for destination in destinations:
                for (organization, lane), positions in lanes.items():
                    if lane in destination.lanes and destination.takes(organization):
                        found = _of_lane(tx, destination.name, organization, lane, positions)
                        for position, one in found.items():
                            told[position].append(one)
        for name, holds in (hosted or {}).items():
            for (organization, lane), positions in lanes.items():
                arrived = holds(organization, lane, [position.pos for position in positions])
                for position in positions:
                    told[position] = [_as_held(one, name, arrived.get(position.pos)) for one in told[position]]
        return told

    return where


def _as_held(told: Whereabouts, name: str, arrived_at: int | None) -> Whereabouts:
    """Return what is told of one destination as it is there, whatever the receipt says."""
    if told.destination != name or (arrived_at is None and told.state is not State.DELIVERED):
        return told
    if arrived_at is None:
        return Whereabouts(name, State.MISSING)
    return Whereabouts(name, State.DELIVERED, arrived_at)


def _of_lane(
    tx: Connection, name: str, organization: str, lane: str, positions: Sequence[Position]
) -> dict[Position, Whereabouts]:
    wanted = sorted({position.pos for position in positions})
    key = [organization, name, lane]
    cursor = receipts.cursor(tx, organization, name, lane)
    condition, marks = among(tx, "pos", wanted)
    late = {
        row.pos: row.settled_at
        for row in run(
            tx,
            "SELECT pos, settled_at FROM late_receipt WHERE organization = ? AND destination = ? AND lane = ?"
            f" AND {condition}",
            [*key, *marks],
        )
    }
    asides = {
        row.pos: row
        for row in run(
            tx,
            "SELECT pos, state, advice FROM set_aside WHERE organization = ? AND destination = ? AND lane = ?"
            f" AND {condition}",
            [*key, *marks],
        )
    }
    batches = _batches(tx, key, wanted[0], wanted[-1])
    told = {}
    for position in positions:
        pos = position.pos
        if pos in late:
            told[position] = Whereabouts(name, State.DELIVERED, late[pos])
        elif pos in asides:
            told[position] = Whereabouts(name, _STATES[asides[pos].state], reason=asides[pos].advice)
        elif pos < cursor:
            first, settled_at, held = next(
                (first, at, held) for first, last, at, held in batches if first <= pos <= last
            )
            skipped = first == 0 and held == receipts.SKIPPED
            told[position] = Whereabouts(name, State.SKIPPED if skipped else State.DELIVERED, settled_at)
        else:
            told[position] = Whereabouts(name, State.OWED)
    return told


def _batches(tx: Connection, key: Sequence[str], first: int, last: int) -> list[tuple[int, int, int, bytes]]:
    """Return (first, last, settled_at, first byte held) of the receipts that a range of positions touches."""
    where = "organization = ? AND destination = ? AND lane = ?"
    rows = run(
        tx,
        f"""SELECT first, last, settled_at, substr(held, 1, 1) AS held FROM receipt
        WHERE {where} AND first <= ? AND first >= coalesce(
            (SELECT max(first) FROM receipt WHERE {where} AND first <= ?), 0)
        ORDER BY first""",
        [*key, last, *key, first],
    )
    return [(row.first, row.last, row.settled_at, bytes(row.held)) for row in rows]
