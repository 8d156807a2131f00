"""Imported rows against one conversation: the latest date wins, whatever comes first, and nobody is texted."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.conversation import Conversation, begin, evolve
from consent.engine import decide
from consent.events import Happened, read_event
from consent.imports import Imported, Outcome, read_import, take_everywhere, take_row
from consent.kinds import Kind
from consent.messages import MessageError
from consent.policy import Policy
from consent.values import Consent, Group, Message, Mode, Origin, Sender

LINE, CONTACT = "+14155550100", "+14045550123"
POLICY = Policy("acme", "acme", "Acme Bank", Mode.CONSENT)
NOW = 1_000_000


def fresh(**more) -> Conversation:
    return begin("c1", "acme", None, LINE, CONTACT, Group.TEXT, **more)


def row(consent, at, **more):
    said = {"id": f"import-{consent}-{at}", "org": "acme", "contact": CONTACT, "line": LINE, "channel": "text",
            "consent": consent, "at": at, "evidence": "form 12"} | more  # fmt: skip
    return read_import(Imported(said, actor="cli-1", raw={}), NOW, POLICY)


def text(said, at, sender=Sender.CONTACT):
    return Message("SM1", "acme", None, "sms", Group.TEXT, sender, LINE, CONTACT, said, at, at, "e1", "Ann Lee")


def after(*steps, policy=POLICY, conversation=None):
    """Take rows and texts one after another; return the conversation and the outcomes of the rows."""
    conversation, outcomes = conversation or fresh(), []
    for step in steps:
        if isinstance(step, Message):
            conversation = decide(conversation, step, policy).conversation
        else:
            decision, outcome = take_row(conversation, step, policy)
            conversation = decision.conversation
            outcomes.append(outcome)
    return conversation, outcomes


def test_an_imported_opt_in_opens_the_conversation_as_the_employees():
    conversation, outcomes = after(row("opted_in", 100))

    assert (conversation.consent, conversation.origin) == (Consent.OPTED_IN, Origin.MO)
    assert outcomes == [Outcome.OPTED_IN]
    assert decide(conversation, text("Hi", 200, Sender.EMPLOYEE), POLICY).records[0].body["verdict"] == "delivered"


def test_an_imported_opt_out_blocks_the_employee_and_nobody_is_told():
    decision, outcome = take_row(fresh(), row("opted_out", 100), POLICY)

    assert outcome is Outcome.OPTED_OUT
    assert [record.kind for record in decision.records] == [Kind.DECISION]
    assert decision.conversation.origin is Origin.MT
    blocked = decide(decision.conversation, text("Hi", 200, Sender.EMPLOYEE), POLICY)
    assert blocked.records[0].body["verdict"] == "blocked"


def test_the_record_holds_the_evidence_as_a_personal_fact_and_names_the_source():
    [record] = take_row(fresh(), row("opted_in", 100, reference="R7", note="by mail"), POLICY)[0].records

    assert record.body["source"] == "import"
    assert (record.body["decision"], record.body["before"], record.body["after"]) == ("opted_in", "none", "opted_in")
    assert {"evidence": "form 12", "reference": "R7", "note": "by mail"}.items() <= record.values.items()
    assert record.occurred_at == 100


@pytest.mark.parametrize(
    "order", list(permutations([("opted_in", 1), ("opted_out", 2), ("opted_in", 3), ("opted_out", 3)]))
)
def test_the_latest_date_wins_in_every_order_and_at_the_same_instant_the_opt_out(order):
    conversation, _ = after(*(row(consent, at) for consent, at in order))

    assert (conversation.consent, conversation.decided_at) == (Consent.OPTED_OUT, 3)


@given(st.lists(st.tuples(st.sampled_from(["opted_in", "opted_out"]), st.integers(1, 6)), min_size=1, max_size=8))
def test_the_end_depends_on_the_dates_alone(rows):
    conversation, _ = after(*(row(consent, at) for consent, at in rows))

    at, out = max((at, consent == "opted_out") for consent, at in rows)
    assert (conversation.consent, conversation.decided_at) == (
        Consent.OPTED_OUT if out else Consent.OPTED_IN, at,
    )  # fmt: skip


def test_an_opt_in_needs_a_later_date_than_the_stop_to_undo_it():
    stopped = (text("STOP", 500),)

    assert after(*stopped, row("opted_in", 499))[1] == [Outcome.SUPERSEDED]
    assert after(*stopped, row("opted_in", 500))[1] == [Outcome.SUPERSEDED]
    assert after(*stopped, row("opted_in", 501))[1] == [Outcome.OPTED_IN]


def test_an_earlier_opt_out_leaves_a_later_yes_alone_and_is_kept_as_evidence():
    asked_and_agreed = (text("Hi", 400, Sender.EMPLOYEE), text("YES", 500))
    conversation, _ = after(*asked_and_agreed)

    decision, outcome = take_row(conversation, row("opted_out", 300), POLICY)

    assert outcome is Outcome.SUPERSEDED
    assert decision.conversation.consent is Consent.OPTED_IN
    assert [(one.body["decision"], one.body["after"]) for one in decision.records] == [("opted_out", "opted_in")]


def test_a_confirmation_moves_the_date_and_changes_nothing_else():
    agreed = (text("Hi", 400, Sender.EMPLOYEE), text("YES", 500), text("Hi", 600, Sender.EMPLOYEE))
    before, _ = after(*agreed)

    conversation, outcomes = after(*agreed, row("opted_in", 700))

    assert outcomes == [Outcome.UNCHANGED]
    assert conversation == before._replace(version=before.version + 1, decided_at=700)


def test_an_opt_in_releases_what_the_contact_wrote_and_discards_what_an_employee_wrote():
    waits = Policy("acme", "acme", "Acme Bank", Mode.CONSENT, blocked_outbound="release:24")
    asked = (text("Hi", 400, Sender.EMPLOYEE), text("Who is this?", 500))
    pending, _ = after(*asked, policy=waits)
    pending = pending._replace(waiting=((1, NOW),))

    [record] = take_row(pending, row("opted_in", 100), waits)[0].records

    assert (record.body["released"], record.body["discarded"]) == ([2], [1])


def test_an_opt_out_discards_what_is_held():
    pending, _ = after(text("Hello?", 400))

    decision, _ = take_row(pending, row("opted_out", 300), POLICY)

    assert decision.records[0].body["discarded"] == [1]
    assert decision.conversation.held == ()


def test_nothing_from_before_a_hand_over_counts():
    assert take_row(fresh(), row("opted_in", 100), POLICY, since=100)[1] is Outcome.SUPERSEDED
    assert take_row(fresh(), row("opted_in", 101), POLICY, since=100)[1] is Outcome.OPTED_IN


def test_a_conversation_that_began_stopped_says_so_in_its_first_record():
    conversation = fresh(stopped_at=50)

    decision, outcome = take_row(conversation, row("opted_in", 100), POLICY)

    assert outcome is Outcome.OPTED_IN
    [record] = decision.records
    assert record.body["stopped_at"] == 50
    assert evolve(fresh(), record.kind, 1, record.occurred_at, record.body) == decision.conversation


def test_an_opt_out_from_everything_that_finds_no_conversation_is_a_record_of_its_own():
    everything = row("opted_out", 100)
    record, outcome = take_everywhere(everything, None)

    assert (record.conversation, record.body["scope"], outcome) == (None, "org", Outcome.OPTED_OUT)
    assert take_everywhere(everything, 50)[1] is Outcome.UNCHANGED
    assert take_everywhere(everything, 200)[1] is Outcome.SUPERSEDED


def test_an_opt_out_of_today_counts_from_now_at_the_latest():
    assert row("opted_out", NOW + 5).at == NOW


def test_json_from_outside_is_never_read_as_an_import():
    asked = {"id": "1", "org": "acme", "event": "imported", "contact": CONTACT, "line": LINE, "consent": "opted_in",
             "at": "2025-01-01T00:00:00Z", "evidence": "trust me"}  # fmt: skip

    with pytest.raises(MessageError, match="`event` is one of") as refused:
        read_event(asked, NOW, POLICY)

    assert Happened.IMPORTED.value not in str(refused.value)
