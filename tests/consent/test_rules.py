"""One promise for each row of the table: what follows when this is said in that state."""

from dataclasses import replace

import pytest

from consent.conversation import Conversation, begin, evolve
from consent.engine import Decision, allowed, close, decide
from consent.events import handed_over, reassign_line
from consent.kinds import Kind
from consent.policy import Policy
from consent.rules import RULES, RULES_DISCLAIMER, RULES_OFF, TEXTS
from consent.values import Consent, Group, Message, Mode, Scope, Sender

MINUTE = 60 * 1_000_000
HOUR = 60 * MINUTE
TEN = 1_790_000_000_000_000
POLICY = Policy("acme", "acme", "Acme Bank", mode=Mode.CONSENT)


class Talk:
    """One conversation that texts are put to, one minute after another."""

    def __init__(self, policy: Policy = POLICY, stopped_at: int | None = None) -> None:
        self.policy = policy
        self.now = TEN
        self.count = 0
        self.began = begin("c1", "acme", None, "+14155550100", "+14045550123", Group.TEXT, stopped_at=stopped_at)
        self.conversation: Conversation = self.began
        self.history: list[Decision] = []
        #: Tags texts, so that repeated ones are known; the caller's affair.
        self.tag = lambda _text: ""

    def say(
        self, sender: str, text: str, *, after: int = MINUTE, at: int | None = None, group_stopped: bool = False,
        **more: object,
    ) -> Decision:  # fmt: skip
        self.count += 1
        self.now = self.now + after if at is None else at
        message = Message(
            f"m{self.count}", "acme", None, "sms", Group.TEXT, Sender(sender), "+14155550100", "+14045550123", text,
            self.now, self.now, "e1", "Ann Lee",
        )  # fmt: skip
        told = message._replace(**more)
        decision = decide(self.conversation, told, self.policy, tag=self.tag, group_stopped=group_stopped)
        self.conversation = decision.conversation
        self.history.append(decision)
        return decision

    def employee(self, text: str = "Hi", **more: object) -> Decision:
        return self.say("employee", text, **more)

    def contact(self, text: str = "Hello", **more: object) -> Decision:
        return self.say("contact", text, **more)

    def opted_in(self) -> "Talk":
        self.employee()
        self.contact("YES")
        return self

    def opted_out(self) -> "Talk":
        self.employee()
        self.contact("STOP")
        return self


def verdict(decision: Decision) -> tuple[str, str | None]:
    body = next(record.body for record in decision.records if record.kind is Kind.MESSAGE)
    return body["verdict"], body["reason"]


def sent(decision: Decision) -> list[str]:
    return [record.body["template"] for record in decision.records if record.kind is Kind.AUTO_MESSAGE]


def state(talk: Talk) -> tuple[str, str | None]:
    return talk.conversation.consent.value, talk.conversation.origin and talk.conversation.origin.value


def test_row_1_the_first_text_of_an_employee_is_blocked_and_the_contact_is_asked():
    talk = Talk()

    decision = talk.employee()

    assert verdict(decision) == ("blocked", "consent_requested")
    assert sent(decision) == ["mo.request.contact", "mo.request.employee"]
    assert state(talk) == ("pending", "mo")


def test_row_2_the_first_text_of_a_contact_is_held_and_the_contact_is_asked():
    talk = Talk()

    decision = talk.contact()

    assert verdict(decision) == ("held", "consent_requested")
    assert sent(decision) == ["mt.request.contact", "mt.request.employee"]
    assert state(talk) == ("pending", "mt")
    assert talk.conversation.held == (1,)


@pytest.mark.parametrize("text", ["YES", "yes", "START", "no"])
def test_row_3_an_answer_to_no_question_is_no_consent(text):
    talk = Talk()

    decision = talk.contact(text)

    assert verdict(decision) == ("held", "consent_requested")
    assert sent(decision) == ["mt.request.contact", "mt.request.employee"]
    assert state(talk) == ("pending", "mt")


def test_row_4_stop_before_any_request_opts_out_and_asks_nothing():
    talk = Talk()

    decision = talk.contact("STOP")

    assert verdict(decision) == ("consumed", "opted_out")
    assert sent(decision) == ["mt.rejected.contact", "mt.rejected.employee"]
    assert state(talk) == ("opted_out", "mt")


@pytest.mark.parametrize("reach", [Talk, lambda: _after(Talk(), "employee"), lambda: Talk().opted_in()])
def test_row_5_help_is_answered_in_every_state_and_changes_none(reach):
    talk = reach()
    before = state(talk)

    decision = talk.contact("HELP")

    assert verdict(decision) == ("consumed", "help")
    assert sent(decision) == ["help.contact"]
    assert state(talk) == before


def test_row_5_help_after_a_stop_is_answered_once_in_24_hours():
    talk = Talk().opted_out()

    assert sent(talk.contact("help")) == ["help.contact"]
    assert sent(talk.contact("help", after=23 * HOUR)) == []
    assert sent(talk.contact("help", after=2 * HOUR)) == ["help.contact"]
    assert state(talk) == ("opted_out", "mo")


def test_row_6_a_further_text_of_the_employee_is_blocked_without_asking_again():
    talk = Talk()
    talk.employee()

    decision = talk.employee("Are you there?", after=23 * HOUR)

    assert verdict(decision) == ("blocked", "pending")
    assert sent(decision) == []


def test_row_6_three_unanswered_requests_are_enough():
    talk = Talk()
    for _ in range(3):
        assert "mo.request.contact" in sent(talk.employee(after=25 * HOUR))

    assert verdict(talk.employee(after=25 * HOUR)) == ("blocked", "pending")
    assert sent(talk.history[-1]) == []


def test_row_7_a_day_later_the_contact_is_asked_again():
    talk = Talk()
    talk.contact()

    decision = talk.employee(after=24 * HOUR)

    assert verdict(decision) == ("blocked", "consent_requested")
    assert sent(decision) == ["mo.request.contact", "mo.request.employee"]
    assert state(talk) == ("pending", "mo")


def test_row_8_a_text_instead_of_an_answer_is_held_and_the_request_comes_once_more():
    talk = Talk()
    talk.employee()

    assert sent(talk.contact("who is this?")) == ["mo.request.contact", "mt.request.employee"]
    assert sent(talk.contact("really, who?")) == []
    assert [verdict(decision) for decision in talk.history[1:]] == [("held", "pending")] * 2
    assert talk.conversation.held == (2, 3)
    assert state(talk) == ("pending", "mo")


def test_row_8_no_reminder_within_a_minute_of_the_request():
    talk = Talk()
    talk.contact()

    assert sent(talk.contact("hello?", after=59 * 1_000_000)) == []
    assert sent(talk.contact("hello??", after=1_000_000)) == ["mt.request.contact"]


@pytest.mark.parametrize(("first", "origin"), [("employee", "mo"), ("contact", "mt")])
def test_row_9_yes_opts_in_tells_both_and_releases_what_was_held(first, origin):
    talk = Talk()
    talk.say(first, "Hi")
    talk.contact("who is this?")

    decision = talk.contact("YES")

    assert verdict(decision) == ("consumed", "opted_in")
    assert sent(decision) == [f"{origin}.accepted.contact", f"{origin}.accepted.employee"]
    made = next(record.body for record in decision.records if record.kind is Kind.DECISION)
    assert made["released"] == ([2] if first == "employee" else [1, 2])
    assert (made["before"], made["after"], made["tier"]) == ("pending", "opted_in", 1)
    assert talk.conversation.held == ()
    assert state(talk) == ("opted_in", origin)


def test_row_9_a_yes_sent_before_the_request_is_no_answer_to_it():
    talk = Talk()
    talk.employee()

    decision = talk.contact("YES", at=talk.now - 1)

    assert verdict(decision) == ("held", "pending")
    assert state(talk) == ("pending", "mo")


@pytest.mark.parametrize("text", ["STOP", "stop.", "NO", "no thanks", "unsubscribe"])
@pytest.mark.parametrize(("first", "origin"), [("employee", "mo"), ("contact", "mt")])
def test_row_10_stop_or_no_rejects_and_what_was_held_is_never_delivered(first, origin, text):
    talk = Talk()
    talk.say(first, "Hi")
    talk.contact("who is this?")

    decision = talk.contact(text)

    assert verdict(decision) == ("consumed", "opted_out")
    assert sent(decision) == [f"{origin}.rejected.contact", f"{origin}.rejected.employee"]
    made = next(record.body for record in decision.records if record.kind is Kind.DECISION)
    assert made["discarded"]
    assert "released" not in made
    assert state(talk) == ("opted_out", origin)


def test_row_11_after_yes_both_sides_text_freely():
    talk = Talk().opted_in()

    assert verdict(talk.employee("Your statement is ready")) == ("delivered", None)
    assert verdict(talk.contact("Thanks!")) == ("delivered", None)
    assert state(talk) == ("opted_in", "mo")


def test_row_12_a_second_yes_is_a_duplicate_until_the_employee_has_written():
    talk = Talk().opted_in()

    assert verdict(talk.contact("YES")) == ("consumed", "duplicate")
    talk.employee("Shall we meet?")
    assert verdict(talk.contact("YES")) == ("delivered", None)


def test_row_13_stop_after_yes_opts_out():
    talk = Talk().opted_in()

    decision = talk.contact("STOP")

    assert sent(decision) == ["mo.rejected.contact", "mo.rejected.employee"]
    assert state(talk) == ("opted_out", "mo")


def test_row_14_no_after_yes_is_chat():
    assert verdict(Talk().opted_in().contact("no")) == ("delivered", None)


def test_row_15_after_stop_an_employee_reaches_nobody_and_nothing_is_sent():
    talk = Talk().opted_out()

    for hours in (1, 30, 3_000):
        decision = talk.employee(after=hours * HOUR)
        assert verdict(decision) == ("blocked", "opted_out")
        assert sent(decision) == []


def test_row_16_a_new_message_after_stop_asks_again():
    talk = Talk().opted_out()

    decision = talk.contact("I changed my mind, are you there?")

    assert verdict(decision) == ("held", "consent_requested")
    assert sent(decision) == ["mt.request.contact", "mt.request.employee"]
    assert state(talk) == ("pending", "mt")


@pytest.mark.parametrize("text", ["stop please", "no", "nope"])
def test_row_17_after_stop_a_refusal_is_not_answered(text):
    talk = Talk().opted_out()

    decision = talk.contact(text)

    assert verdict(decision)[0] == "consumed"
    assert sent(decision) == []
    assert state(talk) == ("opted_out", "mo")


@pytest.mark.parametrize("text", ["YES", "start", "UNSTOP"])
def test_row_18_yes_after_stop_opts_in_again_where_a_request_was_shown(text):
    talk = Talk().opted_out()

    decision = talk.contact(text)

    assert verdict(decision) == ("consumed", "opted_in")
    assert sent(decision) == ["mo.accepted.contact", "mo.accepted.employee"]
    assert state(talk) == ("opted_in", "mo")


def test_row_19_yes_after_stop_asks_where_no_request_was_ever_shown():
    talk = Talk()
    talk.contact("STOP")

    decision = talk.contact("YES")

    assert verdict(decision) == ("held", "consent_requested")
    assert sent(decision) == ["mt.request.contact", "mt.request.employee"]
    assert state(talk) == ("pending", "mt")


def test_row_20_a_second_stop_is_a_duplicate_and_nobody_is_told():
    talk = Talk().opted_out()

    decision = talk.contact("STOP")

    assert verdict(decision) == ("consumed", "duplicate")
    assert decision.records[0].body["flags"] == ["duplicate"]
    assert sent(decision) == []


@pytest.mark.parametrize("first", [None, "employee", "contact"])
def test_row_22_a_carriers_opt_out_is_not_confirmed_twice(first):
    talk = Talk()
    if first:
        talk.say(first, "Hi")
    origin = {"employee": "mo"}.get(first, "mt")

    decision = talk.contact("whatever", provider={"opt_out_type": "STOP"})

    assert sent(decision) == [f"{origin}.rejected.employee"]
    assert next(r.body for r in decision.records if r.kind is Kind.DECISION)["source"] == "carrier"
    assert state(talk) == ("opted_out", origin)
    assert sent(talk.contact("again", provider={"opt_out_type": "STOP"})) == []


def test_row_23_with_the_mode_off_texts_flow_and_stop_still_holds():
    talk = Talk(replace(POLICY, mode=Mode.OFF))

    assert verdict(talk.employee()) == ("delivered", None)
    assert verdict(talk.contact("HELP")) == ("delivered", None)
    assert sent(talk.contact("STOP")) == ["mt.rejected.contact", "mt.rejected.employee"]
    assert verdict(talk.employee()) == ("blocked", "opted_out")
    assert verdict(talk.contact("hello again")) == ("delivered", None)
    assert verdict(talk.contact("YES")) == ("delivered", None)
    assert sent(talk.contact("START")) == ["mt.accepted.contact", "mt.accepted.employee"]
    assert verdict(talk.employee()) == ("delivered", None)


def test_switching_the_mode_off_never_unblocks_a_contact_who_said_stop():
    talk = Talk().opted_out()
    talk.policy = replace(POLICY, mode=Mode.OFF)

    assert verdict(talk.employee()) == ("blocked", "opted_out")
    assert allowed(talk.conversation, talk.policy) == (False, "opted_out")


def test_row_24_a_group_send_is_blocked():
    decision = Talk().opted_in().employee(recipients=("+14045550123", "+14045550124"))

    assert verdict(decision) == ("blocked", "group")


def test_row_26_a_new_employee_on_the_line_begins_anew_and_a_stop_stays():
    talk = Talk()
    talk.contact()
    message = Message(
        "m", "acme", None, "sms", Group.TEXT, Sender.EMPLOYEE, "+14155550100", "+14045550123", "", TEN, TEN
    )

    begun = reassign_line(talk.conversation, handed_over(message), POLICY)
    kept = reassign_line(Talk().opted_out().conversation, handed_over(message), POLICY)

    assert begun.conversation.consent is Consent.NONE
    assert begun.conversation.held == ()
    assert begun.records[0].body["discarded"] == [1]
    assert kept.conversation.consent is Consent.OPTED_OUT
    assert kept.records == ()


def test_row_28_the_disclaimer_goes_before_the_first_text():
    talk = Talk(replace(POLICY, mode=Mode.DISCLAIMER))

    decision = talk.employee()

    assert verdict(decision) == ("delivered", None)
    assert sent(decision) == ["disclaimer.contact"]
    assert state(talk) == ("opted_in", "mo")
    assert sent(talk.contact("hello")) == []
    assert sent(talk.contact("STOP")) == ["mo.rejected.contact", "mo.rejected.employee"]


def test_only_the_contact_decides():
    talk = Talk()
    talk.contact()

    assert verdict(talk.employee("YES")) == ("blocked", "pending")
    assert verdict(talk.employee("STOP")) == ("blocked", "pending")
    assert state(talk) == ("pending", "mt")


def test_a_yes_older_than_the_stop_in_force_never_reopens():
    talk = Talk().opted_out()
    stopped_at = talk.now

    assert verdict(talk.contact("YES", at=stopped_at - MINUTE)) == ("consumed", "late")
    assert verdict(talk.contact("YES", at=stopped_at)) == ("consumed", "late")
    assert verdict(talk.contact("hm", at=stopped_at - MINUTE)) == ("held", "late")
    assert state(talk) == ("opted_out", "mo")
    assert all(sent(decision) == [] for decision in talk.history[-3:])


def test_stop_and_yes_at_the_same_instant_are_a_stop():
    talk = Talk().opted_in()

    assert verdict(talk.contact("STOP", at=talk.now)) == ("consumed", "opted_out")
    assert state(talk) == ("opted_out", "mo")


def test_stop_all_closes_the_other_conversations_and_tells_the_contact_once():
    talk, other = Talk().opted_in(), Talk().opted_in()

    decision = talk.contact("STOP ALL")
    message = Message(
        "m", "acme", None, "sms", Group.TEXT, Sender.CONTACT, "+14155550100", "+14045550123", "", TEN, TEN
    )
    closed = close(other.conversation, message, decision, POLICY)

    assert decision.closes is Scope.ORG
    assert sent(decision) == ["mo.rejected.contact", "mo.rejected.employee"]
    assert sent(closed) == ["mo.rejected.employee"]
    assert closed.conversation.consent is Consent.OPTED_OUT
    assert close(closed.conversation, message, decision, POLICY).records == ()


def test_a_new_line_to_a_contact_who_stopped_everything_is_blocked_from_the_first_text():
    talk = Talk(stopped_at=TEN - HOUR)

    decision = talk.employee()

    assert verdict(decision) == ("blocked", "opted_out")
    assert sent(decision) == []


def test_texts_with_the_employees_name_are_rendered_in_one_pass():
    talk = Talk()

    decision = talk.employee(employee_name="<Organization> A\nnn")

    texts = [record.values["text"] for record in decision.records if record.kind is Kind.AUTO_MESSAGE]
    assert texts[0].startswith("[Auto Message] Organization Ann is trying to reach you.")


def test_a_request_is_answered_by_the_word_it_showed_and_by_the_new_one():
    shown = replace(POLICY, keywords={"opt_in": {"en": "AGREE"}, "opt_out": {"en": ["HALT"]}})
    for answer, after in (("agree", "opted_in"), ("sure", "opted_in"), ("halt", "opted_out"), ("stop", "opted_out")):
        talk = Talk(shown)
        text = next(r.values["text"] for r in talk.employee().records if r.kind is Kind.AUTO_MESSAGE)
        assert text.endswith("To Opt in, reply AGREE. To opt out, reply HALT.")
        talk.policy = replace(POLICY, keywords={"opt_in": {"en": "SURE"}})

        talk.contact(answer)

        assert talk.conversation.consent.value == after


def test_every_cell_of_every_table_has_a_case_that_always_holds():
    for table in (RULES, RULES_OFF, RULES_DISCLAIMER):
        for consent in Consent:
            for event in TEXTS:
                assert table[consent, event][-1].when == "", (consent, event)


def test_folding_the_records_gives_the_state_that_was_decided():
    talk = Talk()
    for say in (talk.employee, talk.contact, talk.contact, lambda: talk.contact("YES"), talk.employee,
                lambda: talk.contact("stop"), lambda: talk.contact("yes"), lambda: talk.contact("help")):  # fmt: skip
        say()

    folded = talk.began
    for decision in talk.history:
        for record in decision.records:
            folded = evolve(folded, record.kind, record.version or 0, record.occurred_at, record.body)

    assert folded == talk.conversation
    assert talk.began.restored(folded.version, folded.state()) == folded


def text_of(sender: Sender) -> Message:
    return Message("m", "acme", None, "sms", Group.TEXT, sender, "+14155550100", "+14045550123", "", TEN, TEN)


def _after(talk: Talk, sender: str) -> Talk:
    talk.say(sender, "Hi")
    return talk


def test_the_same_text_for_the_third_time_in_a_day_is_a_machines_and_starts_nothing():
    talk = Talk()
    talk.tag = str

    decisions = [talk.contact("I am out of office", after=HOUR) for _ in range(3)]

    assert [verdict(decision)[1] for decision in decisions] == ["consent_requested", "pending", "automatic"]
    assert sent(decisions[2]) == []
    assert verdict(talk.contact("I am out of office", after=25 * HOUR)) == ("held", "pending")


def test_a_keyword_counts_however_often_it_comes():
    talk = Talk()
    talk.tag = str
    talk.employee()

    for _ in range(3):
        assert verdict(talk.contact("STOP, please")) in {("consumed", "opted_out")}
    assert verdict(talk.contact("yes"))[1] == "opted_in"


def test_texts_between_do_not_hide_a_loop():
    talk = Talk().opted_in()
    talk.tag = str

    for count in range(12):
        talk.contact(f"text number {count}")
        talk.contact("We have received your message.")

    assert sent(talk.history[-1]) == []
    assert verdict(talk.history[-1]) == ("delivered", None)
    assert talk.conversation.recent.count(("we have received your message", talk.now)) == 1


@pytest.mark.parametrize("policy", [POLICY, replace(POLICY, texts={
    "mo.request.contact": {"en": {"text": "<Employee Name> of <Organization> asks: YES or STOP?", "version": 3}}
})])  # fmt: skip
def test_a_text_that_the_organization_itself_sends_is_no_answer(policy):
    talk = Talk(policy)
    asked = talk.employee().records[1].values["text"]

    decision = talk.contact(asked)

    assert "YES" in asked
    assert verdict(decision) == ("held", "automatic")
    assert sent(decision) == []
    flags = next(record.body for record in decision.records).get("flags", [])
    assert "possible_revocation" not in flags


def test_a_quoted_request_with_a_stop_behind_it_is_read():
    talk = Talk()
    asked = talk.employee().records[1].values["text"]

    talk.contact(asked + " STOP")

    assert state(talk) == ("opted_out", "mo")


def test_what_a_provider_read_never_hides_a_stop():
    for provided in ("START", "HELP"):
        talk = Talk().opted_in()

        talk.contact("STOP", provider={"opt_out_type": provided})

        assert state(talk) == ("opted_out", "mo")


def test_row_23_a_group_send_is_blocked_where_one_of_its_contacts_opted_out():
    talk = Talk(replace(POLICY, mode=Mode.OFF))
    group = ("+14045550123", "+14045550124")

    assert verdict(talk.employee("Hi all", recipients=group)) == ("delivered", None)
    assert verdict(talk.employee("Hi all", recipients=group, group_stopped=True)) == ("blocked", "opted_out")


def test_an_employees_blocked_text_goes_out_at_yes_where_the_organization_wants_it_and_it_is_not_stale():
    talk = Talk(replace(POLICY, blocked_outbound="release:24"))
    talk.employee("Your form is due")
    talk.employee("On Friday", after=20 * HOUR)
    talk.contact("who is this?")

    decision = talk.contact("YES", after=5 * HOUR)

    made = next(record.body for record in decision.records if record.kind is Kind.DECISION)
    assert (made["released"], made["discarded"]) == ([2, 3], [1])
    assert talk.conversation.waiting == ()


def test_an_employees_blocked_text_is_dropped_by_default_and_after_a_stop():
    talk = Talk(replace(POLICY, blocked_outbound="release:24"))
    talk.employee("Your form is due")
    talk.contact("STOP")
    assert talk.conversation.waiting == ()
    talk.employee("And now?")

    assert talk.conversation.waiting == ()
    assert "released" not in talk.contact("yes").records[1].body
    assert "released" not in Talk().opted_in().history[-1].records[1].body


def test_row_12_the_employees_text_that_implied_the_opt_in_can_be_answered_with_yes():
    talk = Talk(replace(POLICY, mode=Mode.DISCLAIMER))
    talk.employee("Shall we meet at five?")

    assert verdict(talk.contact("YES")) == ("delivered", None)


def test_row_12_a_text_that_waited_and_goes_out_at_yes_can_be_answered_with_yes():
    talk = Talk(replace(POLICY, blocked_outbound="release:24"))
    talk.employee("Shall we meet at five?")
    talk.contact("YES")

    assert verdict(talk.contact("YES")) == ("delivered", None)


def test_a_yes_sent_between_two_stops_comes_too_late_in_whatever_order_they_arrive():
    talk = Talk().opted_out()
    again = talk.now + 10 * MINUTE

    assert verdict(talk.contact("please stop", at=again)) == ("consumed", "opted_out")
    assert verdict(talk.contact("YES", at=again - MINUTE)) == ("consumed", "late")
    assert verdict(talk.contact("NO", at=again + MINUTE)) == ("consumed", "opted_out")
    assert verdict(talk.contact("YES", at=again + MINUTE)) == ("consumed", "opted_in")


def test_row_24_a_group_with_a_short_code_in_it_is_a_group():
    decision = Talk().employee(contact="12345", recipients=("12345", "+14045550124"))

    assert verdict(decision) == ("blocked", "group")
