"""Ledgers to deliver to an archive in the tests, and how."""

from collections.abc import Sequence

from connectors.archive.connector import ArchiveConnector
from consent.entry import Entry, seal
from consent.kinds import LANE_OF, Kind, Lane
from consent.merkle import root_of
from consent.values import Record
from sync.port import Batch, Receipt, Statement, TransientError

STARTED_AT = 1_795_000_000_000_000
DAY = 86_400_000_000

_KINDS = (Kind.MESSAGE, Kind.AUTO_MESSAGE, Kind.DECISION, Kind.MESSAGE, Kind.SETTING)


def make_ledger(organization: str, count: int, *, text: str = "STOP, שלום \n 👋") -> list[Entry]:
    """Seal the first entries of a ledger, over all lanes."""
    entries: list[Entry] = []
    sizes = dict.fromkeys(Lane, 0)
    for seq in range(count):
        kind = _KINDS[seq % len(_KINDS)]
        values = {"contact": "+14045550123", "line": "+14155550100", "text": text}
        record = Record(
            kind, STARTED_AT + seq, {"channel": "sms", "number": seq}, values, conversation="c-1", version=seq + 1
        )
        pos = sizes[LANE_OF[kind]]
        sizes[LANE_OF[kind]] += 1
        entries.append(seal(record, organization, seq, pos, STARTED_AT + seq + 7, bytes(range(16)) * 3))
    return entries


def lane_of(entries: Sequence[Entry], lane: str) -> list[Entry]:
    return [entry for entry in entries if entry.lane == lane]


def state(entries: Sequence[Entry], *, lanes: Sequence[str] = tuple(Lane), days: int = 0) -> Statement:
    """Say that the ledger is these entries, all of them settled."""
    sizes = {str(lane): len(lane_of(entries, lane)) for lane in lanes}
    return Statement(
        organization=entries[0].organization,
        size=len(entries),
        root=root_of(entry.leaf for entry in entries),
        lanes={lane: (size, size) for lane, size in sizes.items()},
        recorded_at=entries[-1].recorded_at + days * DAY,
        checkpoint="a checkpoint\n",
    )


def push(connector: ArchiveConnector, entries: Sequence[Entry], *, late: bool = False) -> list[Receipt]:
    """Push entries of one lane as one batch, which must be taken whole."""
    outcomes = connector.push(Batch(entries[0].organization, entries[0].lane, entries, late))
    assert len(outcomes) == len(entries)
    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert len(receipts) == len(entries)
    return receipts


def until_taken(connector: ArchiveConnector, entries: Sequence[Entry], times: int = 5) -> list[Receipt]:
    """Push as sync does when the archive is away for a moment: the same again."""
    for _ in range(times):
        try:
            return push(connector, entries)
        except TransientError:
            continue
    raise AssertionError("the archive stays away")


def fill(connector: ArchiveConnector, organization: str = "acme", count: int = 40) -> list[Entry]:
    """Deliver a ledger in three runs, one entry of each lane late, and return it."""
    ledger = make_ledger(organization, count)
    for run, size in enumerate((count // 3, 2 * count // 3, count)):
        for lane in Lane:
            before = lane_of(ledger[: (0, count // 3, 2 * count // 3)[run]], lane)
            owed = lane_of(ledger[:size], lane)[len(before) :]
            if run == 1 and len(owed) > 3:
                push(connector, owed[:1])
                push(connector, owed[2:])
                push(connector, owed[1:2], late=True)
            elif owed:
                push(connector, owed)
        connector.close(state(ledger[:size], days=run))
    return ledger
