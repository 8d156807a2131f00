"""The connector in memory: it keeps the contract, and fails exactly as told."""

import threading

import pytest

from connectors.contract import ConnectorContract, Outage, find, make_entries, push_all
from connectors.memory import MemoryConnector
from sync.port import Batch, Capacity, Delay, Receipt, Refusal, SuspendedError, TransientError


class TestMemoryKeepsTheContract(ConnectorContract):
    @pytest.fixture
    def connector(self) -> MemoryConnector:
        return MemoryConnector(Capacity(batch=5))

    @pytest.fixture
    def outage(self, connector: MemoryConnector) -> Outage:
        return connector.away


@pytest.fixture
def memory() -> MemoryConnector:
    return MemoryConnector()


def test_it_fails_as_often_as_told_and_keeps_nothing_meanwhile(memory):
    batch = Batch("acme", "consent", make_entries("acme", "consent", 2))
    memory.fail_with(TransientError("busy", "Wait."), times=2)
    memory.fail_with(SuspendedError("key", "Rotate the key."))

    for error in (TransientError, TransientError, SuspendedError):
        with pytest.raises(error):
            memory.push(batch)
    assert memory.ids() == []

    memory.push(batch)
    assert memory.ids() == ["acme-000000000000", "acme-000000000002"]


def test_a_lost_answer_leaves_the_entries_there(memory):
    entries = make_entries("acme", "consent", 2)
    memory.lose_answers()

    with pytest.raises(TransientError):
        memory.push(Batch("acme", "consent", entries))

    assert len(find(memory, entries)) == 2


def test_it_refuses_and_puts_off_the_entries_it_was_told(memory):
    entries = make_entries("acme", "consent", 3)
    memory.refuse(entries[0].id, code="STRING_TOO_LONG")
    memory.delay(entries[1].id, retry_after=2.0)

    outcomes = memory.push(Batch("acme", "consent", entries))
    memory.accept(entries[0].id)
    again = memory.push(Batch("acme", "consent", entries[:2], late=True))

    assert [type(outcome) for outcome in outcomes] == [Refusal, Delay, Receipt]
    assert [type(outcome) for outcome in again] == [Receipt, Receipt]


def test_it_answers_fewer_when_told_and_leaves_the_rest_owed(memory):
    entries = make_entries("acme", "consent", 5)
    memory.answer_at_most(2, 1)

    push_all(memory, entries)

    assert [positions for _, _, positions, _ in memory.pushes] == [(0, 1, 2, 3, 4), (2, 3, 4), (3, 4)]


def test_a_push_hangs_until_its_event(memory):
    event = threading.Event()
    memory.hang_on(event)
    pushing = threading.Thread(target=memory.push, args=(Batch("acme", "consent", make_entries("acme", "consent", 1)),))

    pushing.start()
    while not memory.pushes:
        pushing.join(0.001)
    before = memory.ids()
    event.set()
    pushing.join()

    assert (before, memory.ids()) == ([], ["acme-000000000000"])


def test_a_changed_and_a_lost_copy_are_seen_on_reading_back(memory):
    entries = make_entries("acme", "consent", 3)
    receipts = push_all(memory, entries)

    memory.spoil(entries[0].id)
    memory.forget(entries[1].id)

    found = find(memory, entries)
    assert [one.pos for one in found] == [0, 2]
    assert found[0].digest != receipts[entries[0].id].digest
    assert memory.holds("decision", "opted_out") is False


def test_it_forgets_what_it_was_told_to_fail_at_when_it_recovers(memory):
    entries = make_entries("acme", "consent", 2)
    memory.fail_with(TransientError("busy", "Wait."))
    memory.refuse(entries[0].id)
    memory.answer_at_most(1)

    memory.recover()

    assert len(memory.push(Batch("acme", "consent", entries))) == 2
    assert len(find(memory, entries)) == 2
