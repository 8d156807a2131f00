"""Any order of texts, outages, lost answers, deaths, deliveries: every entry is owed or held, each once in effect."""

import threading

import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from consent.database import open_database
from consent.ledger import ledgers, newest_head, read_lane
from consent.replay import replay
from sync.choosing import Filters, Only
from sync.delivery import End, deliver
from sync.destinations import register
from sync.intake import Intake
from sync.leases import Keeper, take
from sync.port import Batch, SuspendedError, TransientError
from sync.receipts import cursor
from sync.reconcile import reconcile
from sync.resync import resync
from tests.ledger.auditing import assert_whole, kept
from tests.sync.sync_world import (
    NOON,
    deliver_all,
    destination,
    entries,
    found,
    ids,
    owed_to,
    promised,
    rules,
    set_aside_for,
    text,
)

_MOMENT = 0.03
_SAID = st.sampled_from(["Hi", "YES", "STOP", "stop all", "See you at ten"])
_TEXTS = st.lists(st.tuples(_SAID, st.sampled_from(["employee", "contact"]), st.integers(0, 3)), min_size=1, max_size=5)


def sleeper(lease, tenures, work):
    thread = threading.Thread(target=lambda: tenures.append(work()), name=f"sleeper-{lease.fence}")
    thread.start()
    return thread


class Life(RuleBasedStateMachine):
    """One organization, one destination, processes that come and go."""

    make_url = None

    @initialize()
    def begin(self):
        self.url = type(self).make_url()
        self.database = open_database(self.url)
        found(self.database, "acme")
        self.to = destination(batch=3)
        self.memory = self.to.connector
        register(self.database, [self.to])
        self.sent, self.answers, self.clock = [], {}, 0
        self.sleepers, self.opened = [], [self.database]
        self.suspended = False

    # --- what may happen ------------------------------------------------------------------------------------------

    @rule(texts=_TEXTS)
    def texts_come_in(self, texts):
        self.clock += 1
        mine = [text(said, sender=sender, contact=contact, at=self.clock) for said, sender, contact in texts]
        self.sent += mine
        for message, answer in zip(mine, Intake(self.database).take(mine), strict=True):
            self.answers[message["id"]] = answer

    @precondition(lambda self: self.sent)
    @rule(at=st.integers(0, 99))
    def a_text_comes_again(self, at):
        message = self.sent[at % len(self.sent)]
        assert Intake(self.database).take([message]) == [self.answers[message["id"]]]

    @rule()
    def a_process_delivers(self):
        deliver_all(self.database, self.to)

    @rule()
    def a_process_delivers_during_an_outage(self):
        with self.memory.away():
            self.one_tenure()

    @rule(times=st.integers(1, 2))
    def answers_are_lost(self, times):
        self.memory.lose_answers(times)

    @rule()
    def the_destination_stumbles(self):
        self.memory.fail_with(TransientError("503", "Wait."))

    @rule()
    def the_destination_wants_a_person(self):
        self.memory.fail_with(SuspendedError("key", "Rotate the key."))

    @rule(counts=st.lists(st.integers(1, 2), min_size=1, max_size=3))
    def answers_are_short(self, counts):
        self.memory.answer_at_most(*counts)

    @rule(at=st.integers(0, 99))
    def an_entry_is_refused(self, at):
        self.memory.refuse(self.some_entry(at))

    @rule(at=st.integers(0, 99), times=st.integers(1, 2))
    def an_entry_is_put_off(self, at, times):
        self.memory.delay(self.some_entry(at), times=times)

    @rule(pushed=st.booleans())
    def a_process_is_killed(self, pushed):
        """Leave what a kill leaves: a lease that runs out, and perhaps a batch that nobody settled."""
        lease = self.lease("killed")
        if lease is None:
            return
        with self.database.read() as tx:
            at = cursor(tx, "acme", self.to.name, "consent")
            batch = Batch("acme", "consent", read_lane(tx, "acme", "consent", at, 3))
        if pushed and batch.entries:
            try:
                self.memory.push(batch)
            except (TransientError, SuspendedError):
                return

    # Whether a lease has run out is the clock's to say, so these two can be asked for at any time.

    @rule()
    def a_process_falls_asleep_in_the_middle_of_a_push(self):
        lease = self.lease("sleeper") if len(self.sleepers) < 2 else None
        if lease is None or not owed_to(self.database, self.to):
            return
        gate, tenures, database = threading.Event(), [], open_database(self.url)
        self.opened.append(database)
        keeper, before = Keeper(database, 3_600), len(self.memory.pushes)
        self.memory.hang_on(gate)
        thread = sleeper(
            lease, tenures, lambda: deliver(database, self.to, lease, keeper, rules(), threading.Event())
        )  # fmt: skip
        while len(self.memory.pushes) == before and thread.is_alive():
            thread.join(0.001)
        self.memory.hang_on(None)
        self.sleepers.append((gate, thread, tenures, keeper))

    @rule()
    def a_sleeper_wakes_after_another_took_over(self):
        if not self.sleepers:
            return
        gate, thread, tenures, keeper = self.sleepers.pop(0)
        self.wait_for_a_lease()
        before = promised(self.database, self.to)
        gate.set()
        thread.join()
        keeper.end()
        assert (tenures[0].end, tenures[0].settled) in ((End.LOST, 0), (End.AWAY, 0), (End.SUSPENDED, 0))
        assert promised(self.database, self.to) == before

    # --- what always holds ----------------------------------------------------------------------------------------

    @invariant()
    def every_entry_is_owed_or_held_or_waits_for_somebody(self):
        held, told = set(self.memory.ids()), promised(self.database, self.to)
        aside = {f"{one.organization}-{one.seq:012d}" for one in set_aside_for(self.database, self.to)}
        settled = {one.id for one in entries(self.database) if one.pos < self.cursor(one)}
        assert told <= held
        assert settled == told | aside
        assert not told & aside
        assert held <= set(ids(self.database))
        assert owed_to(self.database, self.to) == len(ids(self.database)) - len(settled)

    def teardown(self):
        if not hasattr(self, "database"):
            return
        while self.sleepers:
            self.a_sleeper_wakes_after_another_took_over()
        self.memory.recover()
        deliver_all(self.database, self.to)
        resync(self.database, self.to, Filters(only=Only.REFUSED), rules(), actor="test", now=NOON)
        deliver_all(self.database, self.to)

        assert self.memory.ids() == ids(self.database)
        assert promised(self.database, self.to) == set(ids(self.database))
        assert set_aside_for(self.database, self.to) == []
        assert reconcile(self.database, self.to).agrees
        self.assert_texts()
        for database in self.opened:
            database.dispose()

    def assert_texts(self):
        written = assert_whole(self.database, "acme")
        texts = [one.revealed()["message_id"] for one in written if one.kind == "message"]
        assert texts == [message["id"] for message in self.sent]
        assert replay(written) == kept(self.database, "acme")

    def cursor(self, entry):
        with self.database.read() as tx:
            return cursor(tx, entry.organization, self.to.name, entry.lane)

    def some_entry(self, at):
        """Name an entry, written already or still to come."""
        with self.database.read() as tx:
            size = newest_head(tx, "acme").size
        return f"acme-{at % (size + 3):012d}"

    def lease(self, holder, seconds=_MOMENT):
        with self.database.write() as tx:
            return take(tx, "acme", self.to.name, holder, seconds)

    def wait_for_a_lease(self):
        """Become the holder in the sleeper's place, as soon as its lease has run out."""
        pause = threading.Event()
        while self.lease("another", 0.0) is None:
            pause.wait(0.005)

    def one_tenure(self):
        with self.database.read() as tx:
            names = ledgers(tx)
        keeper = Keeper(self.database, 3_600)
        for name in names:
            with self.database.write() as tx:
                lease = take(tx, name, self.to.name, "tenure", _MOMENT)
            if lease is not None:
                deliver(self.database, self.to, lease, keeper, rules(), threading.Event())
        keeper.end()


def test_every_entry_is_owed_or_held_and_after_healing_all_are_held(make_database_url):
    class Here(Life):
        make_url = staticmethod(make_database_url)

    examples = 25 if make_database_url().startswith("sqlite") else 8
    steps = settings(
        max_examples=examples, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    with structlog.testing.capture_logs():
        run_state_machine_as_test(Here, settings=steps)
