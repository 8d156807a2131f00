"""No sequence of texts, events, settings and imports reaches a contact who didn't agree, or undoes a STOP.

Each answer is held against what the ledger says happened, not against the rules that made it.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from consent.canonical import timestamp
from consent.database import open_database
from consent.imports import Imported
from consent.kinds import Kind
from consent.ledger import walk
from consent.organizations import SettingError, set_feature, set_mode, set_setting
from consent.replay import replay
from consent.values import Mode
from consent.wording import set_keyword
from sync.intake import Intake
from tests.ledger.auditing import assert_whole, kept
from tests.sync.sync_world import NOON, SECOND, found, text

CONTACTS, LINES = st.integers(0, 2), st.integers(0, 1)
SAID = st.sampled_from(
    ["Hi", "Hello again", "YES", "yes", "AGREE", "STOP", "stop all", "no", "HELP", "start", "unstop", "🛑",
     "stop by at 5", "please don't text me", "Liked “Hi”", ""]
)  # fmt: skip
#: Seconds since the text before; the carriers' clocks run backwards at times.
PASSED = st.sampled_from([0, 1, 30, 61, 3_600, 90_000, -30, -7_200])


class Consenting(RuleBasedStateMachine):
    """One organization with two lines and three contacts."""

    make_url = None

    @initialize()
    def begin(self):
        self.database = open_database(type(self).make_url())
        found(self.database, "acme")
        self.clock, self.seen, self.count = 0, 0, 0
        self.intake = Intake(self.database, now=lambda: NOON + max(self.clock, 0) * SECOND)
        #: The state of each conversation, as its entries told it so far.
        self.states, self.modes = {}, [(0, "consent")]

    def tick(self, passed):
        self.clock += passed
        self.count += 1
        return timestamp(NOON + self.clock * SECOND)

    # --- what may happen ------------------------------------------------------------------------------------------

    @rule(said=SAID, sender=st.sampled_from(["employee", "contact", "contact"]), contact=CONTACTS, line=LINES,
          passed=PASSED, channel=st.sampled_from(["sms", "sms", "whatsapp"]))  # fmt: skip
    def a_text_comes(self, said, sender, contact, line, passed, channel):
        self.tick(passed)
        self.took(text(said, sender=sender, contact=contact, line=line, at=self.clock, channel=channel))

    @rule(contact=CONTACTS, passed=PASSED)
    def a_group_is_written_to(self, contact, passed):
        self.tick(passed)
        group = [f"+1404555{one:04d}" for one in range(3)]
        self.took(text("Hi all", sender="employee", contact=contact, at=self.clock, group=group))

    @rule(contact=CONTACTS, line=LINES, passed=PASSED, kind=st.sampled_from(["STOP", "START", "HELP"]))
    def a_provider_says_what_it_read(self, contact, line, passed, kind):
        self.tick(passed)
        self.took(text("Hello", contact=contact, line=line, at=self.clock, provider={"opt_out_type": kind}))

    @rule(contact=CONTACTS, passed=PASSED)
    def a_number_is_reassigned(self, contact, passed):
        self.happened("number_reassigned", passed, contact=f"+1404555{contact:04d}")

    @rule(line=LINES, passed=PASSED, employee=st.sampled_from(["e0", "e9"]))
    def a_line_is_given_to_somebody(self, line, passed, employee):
        self.happened("line_reassigned", passed, line=f"+1415555{line:04d}", employee={"id": employee, "name": "Bo"})

    @rule(contact=CONTACTS, passed=PASSED, scope=st.sampled_from(["pair", "sub_org", "org"]))
    def a_contact_revokes_on_the_telephone(self, contact, passed, scope):
        self.happened("revoked", passed, contact=f"+1404555{contact:04d}", scope=scope, note="called")

    @rule(passed=PASSED, status=st.sampled_from(["undeliverable", "opted_out", "delivered"]), back=st.integers(0, 9))
    def a_carrier_tells_of_a_message(self, passed, status, back):
        with self.database.read() as tx:
            sent = [one.id for one in walk(tx, "acme") if one.kind == Kind.AUTO_MESSAGE]
        if sent:
            self.happened("delivery_status", passed, entry=sent[-1 - back % len(sent)], status=status, reason="gone")

    @rule(mode=st.sampled_from(["off", "consent", "consent", "disclaimer"]))
    def the_mode_is_set(self, mode):
        with self.database.write() as tx:
            set_mode(tx, "acme", Mode(mode), actor="test", now=NOON + self.clock * SECOND)
        self.look()

    @rule(change=st.sampled_from([
        ("opt_out_scope", "pair"), ("opt_out_scope", "sub_org"), ("opt_out_scope", "org"),
        ("held_inbound", "discard"), ("held_inbound", "release"),
        ("blocked_outbound", "release"), ("blocked_outbound", "drop"),
    ]))  # fmt: skip
    def a_setting_changes(self, change):
        with self.database.write() as tx:
            set_setting(tx, "acme", *change, actor="test", now=NOON)

    @rule(word=st.sampled_from(["AGREE", "YES"]))
    def the_opt_in_word_changes(self, word):
        with self.database.write() as tx:
            set_keyword(tx, "acme", "opt_in", word, "en", actor="test", now=NOON)

    @rule()
    def group_messaging_is_wanted_too(self):
        try:
            with self.database.write() as tx:
                set_feature(tx, "acme", "group_messaging", True, actor="test", now=NOON)
        except SettingError:
            return
        with self.database.write() as tx:
            set_feature(tx, "acme", "group_messaging", False, actor="test", now=NOON)

    @rule(contact=CONTACTS, line=LINES, passed=PASSED, consent=st.sampled_from(["opted_in", "opted_out"]),
          age=st.integers(0, 200_000))  # fmt: skip
    def a_consent_is_imported(self, contact, line, passed, consent, age):
        self.tick(passed)
        said = {"id": f"row{self.count}", "org": "acme", "contact": f"+1404555{contact:04d}", "channel": "text",
                "line": f"+1415555{line:04d}", "consent": consent, "at": NOON + (self.clock - age) * SECOND,
                "evidence": "signed form"}  # fmt: skip
        self.took(Imported(said, actor="test", raw={}))

    # --- what must hold -------------------------------------------------------------------------------------------

    def happened(self, what, passed, **more):
        at = self.tick(passed)
        self.took({"id": f"ev{self.count}", "org": "acme", "event": what, "at": at, **more})

    def took(self, asked):
        [answer] = self.intake.take([asked])
        assert "error" not in answer, answer
        assert isinstance(asked, Imported) or self.intake.take([asked]) == [answer]
        told = self.look()
        if asked.get("sender") == "employee" and answer["verdict"] == "delivered":
            [sent] = [one for one in told if one.kind == Kind.MESSAGE]
            before = sent.facts()["before"]
            allowed = {
                "consent": {"opted_in"},
                "disclaimer": {"opted_in", "none"},
                "off": {"none", "pending", "opted_in"},
            }
            assert before in allowed[self.modes[-1][1]]
        if isinstance(asked, Imported):
            assert [one for one in told if one.kind == Kind.AUTO_MESSAGE] == []

    def look(self):
        """Read what was written since, and hold each change against what may cause it."""
        with self.database.read() as tx:
            told = list(walk(tx, "acme", first=self.seen))
        self.seen += len(told)
        for entry in told:
            facts = entry.facts()
            if facts.get("setting") == "mode":
                self.modes.append((entry.seq, facts["after"]["mode"]))
        self.confirmations(told)
        for entry in told:
            self.changed(entry, told)
        return told

    def confirmations(self, told):
        """One decision is confirmed to the contact once at most, in its own conversation; a carrier's never."""
        decided = [one.conversation for one in told if one.kind == Kind.DECISION
                   and one.facts()["source"] not in ("carrier", "import", "disclaimer")]  # fmt: skip
        confirmed = [one.conversation for one in told if one.kind == Kind.AUTO_MESSAGE
                     and one.facts()["template"].endswith((".accepted.contact", ".rejected.contact"))]  # fmt: skip
        assert len(confirmed) == len(set(confirmed))
        assert set(confirmed) <= set(decided)

    def changed(self, entry, told):
        facts = entry.facts()
        if entry.conversation is None or "after" not in facts or entry.kind in (Kind.MESSAGE, Kind.REVIEW):
            return
        before = self.states.get(entry.conversation, facts["before"])
        assert facts["before"] == before, "an entry tells another state than the one before it left"
        self.states[entry.conversation] = facts["after"]
        if before != "opted_out" or facts["after"] == "opted_out":
            return
        texts = [one.facts() for one in told if one.kind == Kind.MESSAGE and one.conversation == entry.conversation]
        if entry.kind == Kind.DECISION and facts["source"] == "import":
            return  # of a later date: the decisions of a conversation never go back in time, see below
        if entry.kind == Kind.REASSIGNMENT:
            assert facts["event"] == "number_reassigned"  # another person's number now, an operator's act
            return
        assert [one["sender"] for one in texts] == ["contact"]

    @invariant()
    def the_decision_in_force_is_the_latest_one(self):
        if self.count == 0:
            return
        for conversation in kept(self.database, "acme").values():
            assert self.states.get(conversation.id, conversation.consent) == conversation.consent

    @invariant()
    def replaying_the_ledger_gives_the_same_states(self):
        if self.count % 4 == 0:
            with self.database.read() as tx:
                states = replay(walk(tx, "acme"))
            assert {name: one.state() for name, one in states.items()} == {
                name: one.state() for name, one in kept(self.database, "acme").items()
            }

    def teardown(self):
        if hasattr(self, "intake"):
            self.intake.close()
            assert_whole(self.database, "acme")
            self.database.dispose()


def test_no_sequence_reaches_who_did_not_agree_or_undoes_a_stop(make_database_url):
    class Here(Consenting):
        make_url = staticmethod(make_database_url)

    examples = 25 if make_database_url().startswith("sqlite") else 5
    run_state_machine_as_test(Here, settings=settings(
        max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    ))  # fmt: skip
