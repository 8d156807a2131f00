"""The gate: how many calls are under way, the consent lane's place, and the reserve of the org's other users."""

import threading
import time

import pytest

from connectors.salesforce.gate import CALLS, Gate, at_the_wall, pace, read_budget
from consent.database import open_database
from sync.migrate import upgrade
from sync.port import Batch, Budget, Receipt, SuspendedError
from tests.salesforce.salesforce_world import destination, fill, synced

HOUR = 3600.0
OBJECT = "Assent_Entry__c"


class Clock:
    def __init__(self, now=1_795_428_000.0):
        self.now = now

    def __call__(self):
        return self.now


def called(gate, answer="", *, urgent=False):
    """Make one call, whose answer says how the allowance is."""
    with gate.call(urgent=urgent):
        if answer:
            gate.hear(answer)


# What an answer says


@pytest.mark.parametrize(
    ("header", "used", "limit", "details"),
    [
        ("api-usage=10018/100000", 10018, 100000, {}),
        ("api-usage=10018/100000; api-bursts=1/750", 10018, 100000, {"bursts_used": 1, "bursts_limit": 750}),
        ("api-bursts=1/750; api-usage=10018/100000", 10018, 100000, {"bursts_used": 1, "bursts_limit": 750}),
        (
            "api-usage=25/5000; per-app-api-usage=17/250(appName=sample-connected-app)",
            25, 5000, {"app_used": 17, "app_limit": 250},
        ),
    ],
)  # fmt: skip
def test_each_documented_form_of_the_header_is_read(header, used, limit, details):
    assert read_budget(header) == Budget(used, limit, details)


@pytest.mark.parametrize("header", ["", "api-bursts=1/750", "api-usage=lots/100", "per-app-api-usage=17/250"])
def test_a_header_that_says_nothing_of_the_allowance_changes_nothing(header):
    gate = Gate(0.05)
    gate.hear("api-usage=1/100")

    gate.hear(header)

    assert (gate.budget.used, gate.budget.limit) == (1, 100)


# The reserve


def test_a_quota_at_95_percent_is_waited_out_with_the_reserve_untouched():
    clock = Clock()
    gate = Gate(0.05, clock)
    called(gate, "api-usage=9499/10000")

    called(gate, "api-usage=9500/10000")  # the last one that isn't of the reserve
    with pytest.raises(SuspendedError) as caught:
        called(gate)

    assert caught.value.code == "api_reserve"
    assert caught.value.until == (clock.now // HOUR + 1) * HOUR * 1_000_000
    assert gate.budget.limit - gate.budget.used == gate.budget.details["reserve"] == 500


def test_after_the_quotas_hour_one_call_asks_and_the_others_follow_its_answer():
    clock = Clock()
    gate = Gate(0.05, clock)
    called(gate, "api-usage=9500/10000")
    clock.now += HOUR

    called(gate, "api-usage=2000/10000")
    for _ in range(100):
        called(gate)

    assert gate.budget.used == 2000


def test_calls_grow_rarer_before_the_wall_and_never_far_from_it():
    budget = Budget(94_000, 100_000)

    far, near, nearest = (pace(budget, left, 0.05, now=0.0) for left in (5_001, 5_000, 1))

    assert far == 0.0
    assert 0.0 < near < nearest <= 2.0


def test_calls_near_the_wall_wait_for_their_turn():
    gate = Gate(0.5)
    called(gate, "api-usage=0/10000")
    called(gate)
    gate.hear("api-usage=2600/10000")  # 2,400 are left before the reserve of 5,000 begins
    slow = pace(Budget(2_600, 10_000), 2_400, 0.5, time.time())

    started = time.monotonic()
    for _ in range(3):
        called(gate)

    assert slow > 0
    assert time.monotonic() - started >= min(slow, 2.0)  # two gaps between three calls; one hour may end meanwhile


def test_calls_under_way_count_before_their_answers_do():
    gate = Gate(0.05)
    called(gate, "api-usage=9498/10000")
    inside, leave = threading.Semaphore(0), threading.Event()
    refused = []

    def work():
        try:
            with gate.call():
                inside.release()
                leave.wait(10)
                gate.hear("api-usage=9500/10000")
        except SuspendedError:
            refused.append(True)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=10)
    assert inside.acquire(timeout=10)
    assert not inside.acquire(timeout=0.2)  # two calls are left, and both are under way
    leave.set()
    for thread in threads:
        thread.join(10)

    assert len(refused) == 3


def test_the_first_call_goes_alone_and_tells_how_the_allowance_is():
    gate = Gate(0.05)
    under_way, most = [], []

    def work():
        with gate.call():
            under_way.append(1)
            most.append(len(under_way))
            time.sleep(0.02)
            under_way.pop()
            gate.hear("api-usage=9996/10000")

    def tried():
        try:
            work()
        except SuspendedError:
            return

    threads = [threading.Thread(target=tried) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1]  # a reserve that was already touched is touched by one question, and by no more


def test_at_the_wall_says_when_it_goes_on():
    error = at_the_wall(1_795_428_000.0)

    assert error.until == 1_795_431_600 * 1_000_000
    assert "by itself" in error.advice


# Places


def test_eight_calls_are_under_way_at_most_and_a_stop_never_waits_for_them():
    gate = Gate(0.05)
    called(gate, "api-usage=1/100000")
    lock, inside, leave = threading.Lock(), [], threading.Event()

    def work(urgent):
        with gate.call(urgent=urgent):
            with lock:
                inside.append(urgent)
            leave.wait(10)

    texts = [threading.Thread(target=work, args=(False,)) for _ in range(CALLS + 4)]
    for thread in texts:
        thread.start()
    until(lambda: len(inside) == CALLS)
    stop = threading.Thread(target=work, args=(True,))
    stop.start()
    until(lambda: True in inside)
    time.sleep(0.05)
    most = list(inside)
    leave.set()
    for thread in (*texts, stop):
        thread.join(10)

    assert most == [False] * CALLS + [True]
    assert len(inside) == CALLS + 5


def test_a_stop_that_waits_goes_before_every_text_that_waited_longer():
    gate = Gate(0.05)
    called(gate, "api-usage=1/100000")
    order, leave = [], threading.Event()

    def work(name, urgent):
        with gate.call(urgent=urgent):
            order.append(name)
            leave.wait(10)
            time.sleep(0.02)

    def start(name, *, urgent=False):
        thread = threading.Thread(target=work, args=(name, urgent))
        thread.start()
        return thread

    threads = [start("text") for _ in range(CALLS)]
    until(lambda: len(order) == CALLS)
    threads.append(start("first stop", urgent=True))
    until(lambda: len(order) == CALLS + 1)
    threads += [start("late text") for _ in range(3)]
    time.sleep(0.05)
    threads.append(start("second stop", urgent=True))
    time.sleep(0.05)
    leave.set()
    for thread in threads:
        thread.join(10)

    assert order[CALLS:].index("second stop") == 1


def until(true):
    limit = time.monotonic() + 10
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.005)


# With an org


def test_an_org_at_95_percent_is_left_alone_until_its_hour_and_then_gets_the_rest(org, connect, tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/ledger.db")
    upgrade(database)
    fill(database, ["text"] * 1000)
    org.settings(quota_limit=1000, quota_used=947)

    waits = synced(database, destination(connect()))
    used, held = org.settings()["quota_used"], org.counts()[OBJECT]
    org.settings(quota_used=100)  # the hour has come
    done = synced(database, destination(connect()))
    database.dispose()

    assert waits.code == "api_reserve"
    assert (used, held) == (950, 600)
    assert done.owed == 0
    assert org.counts()[OBJECT] == 1000


def test_a_stop_reaches_the_org_while_eight_calls_of_texts_are_under_way(org, salesforce, make_entries):
    entries = make_entries(["text"] * 40)
    salesforce.push(Batch("acme", "messages", entries[:1]))
    mute = org.arm(route="collections", latency_seconds=1.5, times=8)
    texts = [
        threading.Thread(target=salesforce.push, args=(Batch("acme", "messages", [entry]),)) for entry in entries[1:17]
    ]
    for thread in texts:
        thread.start()
    until(lambda: org.struck(mute) == 8)

    started = time.monotonic()
    (stopped,) = salesforce.push(Batch("acme", "consent", entries[20:21]))
    seconds = time.monotonic() - started
    still = sum(thread.is_alive() for thread in texts)
    for thread in texts:
        thread.join()

    assert isinstance(stopped, Receipt)
    assert still == 16, f"it took {seconds:.1f} s"
    assert org.counts()[OBJECT] == 18
