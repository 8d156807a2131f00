"""What every connector promises, as tests to inherit: one class of fixtures and one line each for your own.

    class TestPortalKeepsTheContract(ConnectorContract):
        @pytest.fixture
        def connector(self, portal): ...
        @pytest.fixture
        def outage(self, portal): ...

Ships with the package, so that a connector written elsewhere can be held to it too; it needs pytest,
which nothing else here does.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from secrets import token_hex
from typing import Any

import pytest

from consent.entry import Entry, seal
from consent.kinds import LANE_OF, Kind, Lane
from consent.values import Record
from sync.port import Batch, Connector, Held, Outcome, Receipt, Statement, TransientError

Outage = Callable[[], AbstractContextManager[object]]

_HARD_TEXTS = (
    "STOP",
    "Grüße 👋🏽 — “ok”…",
    "שלום, STOP بدون",
    "line one\nline two\r\nline three\ttab",
    "nul \x00 and bell \x07",
    '<script>alert("x")</script> =HYPERLINK("http://x") \\ \' "',
    "  leading and trailing  ",
    "\u2028 separators \u2029 and a byte order mark \ufeff",
)


class ConnectorContract:
    """Inherit, and give the fixtures `connector` and `outage`. Every test uses an organization of its own."""

    #: A lane that the destination takes.
    lane: str = Lane.CONSENT.value

    @pytest.fixture
    def connector(self) -> Connector:
        """Give a connector to a healthy destination."""
        raise NotImplementedError("give a connector to a healthy destination")

    @pytest.fixture
    def outage(self) -> Outage:
        """Give a function whose context takes the destination away, for real, and brings it back at the end."""
        raise NotImplementedError("give a context that takes the destination away and brings it back")

    @pytest.fixture
    def organization(self) -> str:
        """An organization that nobody used before, so that a shared destination serves many tests."""
        return f"acme-{token_hex(6)}"

    def test_what_was_pushed_is_held_as_the_receipts_say(self, connector: Connector, organization: str) -> None:
        entries = make_entries(organization, self.lane, 7)

        receipts = push_all(connector, entries)

        assert find(connector, entries) == [held(entry, receipts[entry.id]) for entry in entries]

    def test_answers_stand_in_the_order_of_the_entries_and_are_never_more(
        self, connector: Connector, organization: str
    ) -> None:
        entries = make_entries(organization, self.lane, 5)

        outcomes = connector.push(Batch(organization, self.lane, entries))

        assert 1 <= len(outcomes) <= len(entries)
        assert find(connector, entries)[: len(outcomes)] == [
            held(entry, outcome) for entry, outcome in zip(entries, outcomes, strict=False)
        ]

    def test_a_repeated_push_leaves_one_copy_and_gives_the_same_receipts(
        self, connector: Connector, organization: str
    ) -> None:
        entries = make_entries(organization, self.lane, 6)

        first = push_all(connector, entries)
        second = push_all(connector, entries)

        assert second == first
        assert len(find(connector, entries)) == len(entries)

    @pytest.mark.parametrize(("before", "after"), [((0, 4), (0, 9)), ((0, 9), (0, 4)), ((0, 6), (3, 9))])
    def test_a_retry_with_other_bounds_leaves_one_copy_of_each(
        self, connector: Connector, organization: str, before: tuple[int, int], after: tuple[int, int]
    ) -> None:
        entries = make_entries(organization, self.lane, 9)
        push_all(connector, entries[slice(*before)])

        push_all(connector, entries[slice(*after)])

        assert [one.seq for one in find(connector, entries)] == [entry.seq for entry in entries]

    def test_entries_set_aside_come_late_and_are_held_in_their_place(
        self, connector: Connector, organization: str
    ) -> None:
        entries = make_entries(organization, self.lane, 8)
        late = [entries[2], entries[5]]
        for run in (entries[:2], entries[3:5], entries[6:]):
            push_all(connector, run)

        first = push_all(connector, late, late=True)
        second = push_all(connector, late, late=True)

        assert first == second
        assert sorted(one.pos for one in find(connector, entries)) == [entry.pos for entry in entries]

    def test_a_resync_of_what_is_already_held_changes_nothing(self, connector: Connector, organization: str) -> None:
        entries = make_entries(organization, self.lane, 5)
        receipts = push_all(connector, entries)

        again = push_all(connector, entries[1:4], late=True)

        assert again == {entry.id: receipts[entry.id] for entry in entries[1:4]}
        assert len(find(connector, entries)) == len(entries)

    def test_two_workers_pushing_the_same_batch_leave_one_copy(self, connector: Connector, organization: str) -> None:
        entries = make_entries(organization, self.lane, 20)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                push_all(connector, entries)
            except BaseException as error:
                failures.append(error)

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

        assert not failures
        assert [one.pos for one in find(connector, entries)] == [entry.pos for entry in entries]

    def test_reading_back_keeps_to_the_bounds_and_to_the_ledger(self, connector: Connector, organization: str) -> None:
        entries = make_entries(organization, self.lane, 9)
        stranger = f"{organization}-x"
        push_all(connector, entries)
        push_all(connector, make_entries(stranger, self.lane, 2))

        middle = sorted(one.pos for one in connector.find(organization, self.lane, 3, 6))

        assert middle == [3, 4, 5, 6]
        assert [one.organization for one in connector.find(stranger, self.lane, 0, 99)] == [stranger, stranger]
        assert list(connector.find(f"{organization}-y", self.lane, 0, 99)) == []

    def test_any_text_comes_back_with_the_digest_it_was_pushed_with(
        self, connector: Connector, organization: str
    ) -> None:
        entries = make_entries(organization, self.lane, len(_HARD_TEXTS), texts=_HARD_TEXTS)

        receipts = push_all(connector, entries)

        assert [one.digest for one in find(connector, entries)] == [receipts[entry.id].digest for entry in entries]

    def test_an_outage_is_nobodys_fault_and_loses_nothing(
        self, connector: Connector, outage: Outage, organization: str
    ) -> None:
        entries = make_entries(organization, self.lane, 4)
        before = push_all(connector, entries[:2])

        with outage(), pytest.raises(TransientError) as seen:
            connector.push(Batch(organization, self.lane, entries[2:]))
        after = push_all(connector, entries[2:])

        assert seen.value.advice
        assert find(connector, entries) == [held(entry, (before | after)[entry.id]) for entry in entries]

    def test_an_outage_is_said_when_reading_back_and_never_taken_for_emptiness(
        self, connector: Connector, outage: Outage, organization: str
    ) -> None:
        entries = make_entries(organization, self.lane, 2)
        push_all(connector, entries)

        with outage(), pytest.raises(TransientError):
            find(connector, entries)

        assert len(find(connector, entries)) == len(entries)

    def test_a_preflight_finds_a_healthy_destination_well(self, connector: Connector) -> None:
        findings = connector.check()

        assert findings
        assert [finding for finding in findings if not finding.ok] == []

    def test_a_preflight_of_an_absent_destination_says_what_to_do(self, connector: Connector, outage: Outage) -> None:
        with outage():
            findings = connector.check()

        assert [finding.advice for finding in findings if not finding.ok]
        assert all(finding.advice for finding in findings if not finding.ok)

    def test_leaving_word_twice_is_the_same_as_once(self, connector: Connector, organization: str) -> None:
        entries = make_entries(organization, self.lane, 3)
        push_all(connector, entries)
        statement = make_statement(entries)

        connector.close(statement)
        connector.close(statement)

        assert len(find(connector, entries)) == len(entries)

    def test_letting_go_twice_does_no_harm(self, connector: Connector) -> None:
        connector.shut()
        connector.shut()


def push_all(connector: Connector, entries: Sequence[Entry], *, late: bool = False) -> dict[str, Receipt]:
    """Push until all are settled, as sync would, and return the receipts by entry id."""
    receipts: dict[str, Receipt] = {}
    owed = list(entries)
    while owed:
        batch = Batch(owed[0].organization, owed[0].lane, owed[: connector.capacity.batch], late)
        outcomes: Sequence[Outcome] = connector.push(batch)
        assert outcomes, "a push that answers for nothing would be repeated for ever"
        for entry, outcome in zip(owed, outcomes, strict=False):
            assert isinstance(outcome, Receipt), outcome
            assert len(outcome.digest) == 16
            receipts[entry.id] = outcome
        owed = owed[len(outcomes) :]
    return receipts


def find(connector: Connector, entries: Sequence[Entry]) -> list[Held]:
    """Read back the range of these entries, in order of position."""
    first, last = entries[0], entries[-1]
    found = connector.find(first.organization, first.lane, first.pos, last.pos)
    return sorted(found, key=lambda one: one.pos)


def held(entry: Entry, outcome: Outcome) -> Held:
    """Say how an entry should be read back, after this receipt."""
    assert isinstance(outcome, Receipt)
    return Held(entry.organization, entry.seq, entry.lane, entry.pos, outcome.remote_id, outcome.digest)


def make_statement(entries: Sequence[Entry], *, recorded_at: int | None = None) -> Statement:
    """Say that the ledger is exactly these entries of one lane, all of them settled."""
    last = entries[-1]
    return Statement(
        organization=last.organization,
        size=last.seq + 1,
        # Not the tree's root, which a single lane with gaps in its numbers doesn't have.
        root=hashlib.sha256(b"".join(entry.leaf for entry in entries)).digest(),
        lanes={last.lane: (last.pos + 1, last.pos + 1)},
        recorded_at=recorded_at or last.recorded_at,
    )


def make_entries(
    organization: str, lane: str, count: int, *, first: int = 0, step: int = 2, texts: Sequence[str] = _HARD_TEXTS[:3]
) -> list[Entry]:
    """Seal `count` real entries of one lane from position `first`; `seq` advances by `step`, as beside other lanes."""
    kinds = [kind for kind in Kind if LANE_OF[kind] == lane][:2]
    started_at = 1_795_000_000_000_000
    entries = []
    for pos in range(first, first + count):
        kind = kinds[pos % len(kinds)]
        values: dict[str, Any] = {
            "contact": "+14045550123",
            "employee_id": "e1",
            "employee_name": "Ann Lee",
            "line": "+14155550100",
            "text": texts[pos % len(texts)],
        }
        record = Record(
            kind=kind, occurred_at=started_at + pos * 1_000_000, body=_BODIES.get(kind, {"source": "host"}),
            values=values, conversation="c-4f1f6f2a", version=pos + 1,
        )  # fmt: skip
        salts = hashlib.shake_128(f"{organization}{lane}{pos}".encode()).digest(16 * len(values))
        recorded_at = started_at + pos * 1_000_000 + 123_456
        entries.append(seal(record, organization, pos * step, pos, recorded_at, salts))
    return entries


_BODIES: Mapping[Kind, Mapping[str, Any]] = {
    Kind.AUTO_MESSAGE: {
        "channel": "sms",
        "language": "en",
        "template": "mo.request.contact",
        "template_sha256": hashlib.sha256(b"mo.request.contact").hexdigest(),
        "template_version": 1,
        "to": "contact",
    },
    Kind.DECISION: {
        "after": "opted_out",
        "before": "opted_in",
        "channel": "sms",
        "decision": "opted_out",
        "origin": "mo",
        "source": "contact",
        "tier": 1,
        "word": "STOP",
    },
    Kind.MESSAGE: {"channel": "sms", "sender": "contact", "verdict": "delivered"},
}
