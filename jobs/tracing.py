"""Where entries are: for the portal's pages, read from receipts and from what is set aside."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from consent.database import Database, among, run
from jobs.web.whereabouts import Position, State, Where, Whereabouts
from sync import receipts
from sync.destinations import Destination

_STATES = {"waiting": State.SET_ASIDE, "refused": State.REFUSED, "discarded": State.REFUSED}


def whereabouts_of(database: Database, destinations: Sequence[Destination]) -> Where:
    """Return the function that says, for each position, how far it is at each destination that takes its lane."""

    def where(asked: Sequence[Position]) -> Mapping[Position, Sequence[Whereabouts]]:
        told: dict[Position, list[Whereabouts]] = {position: [] for position in asked}
        lanes: dict[tuple[str, str], list[Position]] = {}
        for position in asked:
            lanes.setdefault((position.organization, position.lane), []).append(position)
        with database.read() as tx:
            for destination in destinations:
                for (organization, lane), positions in lanes.items():
                    if lane in destination.lanes and destination.takes(organization):
                        for position, found in _of_lane(tx, destination.name, organization, lane, positions).items():
                            told[position].append(found)
        return told

    return where


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
            settled_at = next((at for first, last, at in batches if first <= pos <= last), None)
            told[position] = Whereabouts(name, State.DELIVERED, settled_at)
        else:
            told[position] = Whereabouts(name, State.OWED)
    return told


def _batches(tx: Connection, key: Sequence[str], first: int, last: int) -> list[tuple[int, int, int]]:
    """Return (first, last, settled_at) of the receipts that a range of positions touches."""
    where = "organization = ? AND destination = ? AND lane = ?"
    rows = run(
        tx,
        f"""SELECT first, last, settled_at FROM receipt WHERE {where} AND first <= ? AND first >= coalesce(
        (SELECT max(first) FROM receipt WHERE {where} AND first <= ?), 0) ORDER BY first""",
        [*key, last, *key, first],
    )
    return [(row.first, row.last, row.settled_at) for row in rows]
