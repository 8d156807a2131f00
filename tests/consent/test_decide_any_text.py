"""Whatever is texted, the engine answers, and what it answers keeps the promises of consent."""

from hypothesis import given, settings
from hypothesis import strategies as st

from consent.canonical import canonical
from consent.conversation import begin, evolve
from consent.engine import decide
from consent.kinds import Kind
from consent.policy import Policy
from consent.values import Consent, Group, Message, Mode, Sender

START = 1_790_000_000_000_000
TEXTS = st.one_of(
    st.sampled_from(
        ["YES", "yes", "STOP", "stop all", "no", "HELP", "start", "Hi", "see you at 5", "🛑", "", "unstop"]
    ),
    st.text(max_size=60).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text)),
)
SAID = st.tuples(st.sampled_from(Sender), TEXTS, st.integers(-3_600, 200_000))


@settings(max_examples=300, deadline=None)
@given(said=st.lists(SAID, max_size=25), mode=st.sampled_from(Mode))
def test_no_text_reaches_a_contact_without_consent_and_no_stop_is_undone_but_by_the_contact(said, mode):
    policy = Policy("acme", "acme", "Acme Bank", mode=mode)
    conversation = folded = begin("c", "acme", None, "+14155550100", "+14045550123", Group.TEXT)
    now = START
    for at, (sender, text, seconds) in enumerate(said):
        now += seconds * 1_000_000
        message = Message(
            f"m{at}", "acme", None, "sms", Group.TEXT, sender, "+14155550100", "+14045550123", text, now, now
        )
        before = conversation

        decision = decide(before, message, policy)

        conversation = decision.conversation
        for record in decision.records:
            canonical(dict(record.body))
            folded = evolve(folded, record.kind, record.version or 0, record.occurred_at, record.body)
        assert folded == conversation
        assert conversation.version == before.version + 1
        verdict = decision.records[0].body["verdict"]
        to_contact = [r for r in decision.records if r.kind is Kind.AUTO_MESSAGE and r.body["to"] == "contact"]
        if sender is Sender.EMPLOYEE:
            if mode is Mode.CONSENT and verdict == "delivered":
                assert before.consent is Consent.OPTED_IN
            if before.consent is Consent.OPTED_OUT:
                assert (verdict, conversation.consent, to_contact) == ("blocked", Consent.OPTED_OUT, [])
        assert len(to_contact) <= 1
        assert len(conversation.asked) <= 3
