"""The vendor's page, "Manage TCPA Opt-In Messages", sentence by sentence, as texts and settings meet it."""

import collections
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import pytest

from consent.kinds import Kind, Lane
from consent.ledger import walk
from consent.organizations import (
    ForbiddenError,
    create_organization,
    read_policies,
    set_feature,
    set_setting,
)
from consent.templates import DEFAULT_TEXTS, TEMPLATE_NAMES
from consent.wording import set_keyword, set_template
from sync.intake import Intake
from tests.sync.sync_world import NOON, deliver_all, destination, found, text

ANN = "Ann Lee"


@pytest.fixture
def acme(database):
    found(database, "acme")
    return database


@pytest.fixture
def take(acme):
    intake = Intake(acme, now=lambda: NOON)
    moments = itertools.count()
    yield lambda *texts: intake.take([{**one, "sent_at": None} | _at(next(moments)) for one in texts])
    intake.close()


def _at(moment):
    return {"sent_at": f"2026-11-23T10:{moment:02d}:00Z"}


def to(answer, side):
    return [one["text"] for one in answer["auto_messages"] if one["to"] == side]


def default(key):
    """A default text as the page has it, with the employee's name where the page has its variable."""
    return DEFAULT_TEXTS[key].replace("<Employee Name>", ANN)


def employee(said="Hi", **more):
    return text(said, sender="employee", **more)


def test_when_the_user_first_texts_a_client_the_client_receives_a_message_to_opt_in_or_decline(take):
    [answer] = take(employee())

    assert to(answer, "contact") == [default("mo.request.contact")]
    assert "reply YES" in default("mo.request.contact")
    assert "reply STOP" in default("mo.request.contact")
    assert answer["verdict"] == "blocked"


def test_if_the_client_replies_yes_both_receive_a_message_informing_of_the_decision(take):
    _, answer = take(employee(), text("YES"))

    assert to(answer, "contact") == [default("mo.accepted.contact")]
    assert to(answer, "employee") == [default("mo.accepted.employee")]


def test_the_message_is_recorded_in_each_place_for_compliance_verification(acme, take):
    [*_, answer] = take(employee(), text("YES"))
    places = [destination(name, lanes=(Lane.CONSENT,)) for name in ("portal", "archive", "salesforce")]

    deliver_all(acme, *places)

    recorded = {one["entry"] for one in answer["auto_messages"]}
    assert len(recorded) == 2
    for place in places:
        assert recorded <= set(place.connector.ids())


def test_after_yes_user_and_client_can_send_each_other_texts(take):
    _, _, ours, theirs = take(employee(), text("YES"), employee("How are you?"), text("Fine, thanks"))

    assert [ours["verdict"], theirs["verdict"]] == ["delivered", "delivered"]


def test_if_the_client_replies_stop_neither_can_text_the_other(take):
    _, _, ours, theirs = take(employee(), text("STOP"), employee("Please!"), text("Not interested"))

    assert ours["verdict"] == "blocked"
    assert theirs["verdict"] == "consumed"
    assert take(text("I mean it"))[0]["verdict"] == "held"


def test_the_message_in_all_yes_and_stop_cases_can_be_configured(acme, take):
    with acme.write() as tx:
        for key in TEMPLATE_NAMES:
            if key.split(".")[1] in ("accepted", "rejected"):
                set_template(tx, "acme", key, f"Our own words, {key}", "en", actor="a", now=NOON)
    _, yes, stop = take(employee(), text("YES"), text("STOP"))
    _, mt_yes, mt_stop = take(text("Hi", contact=1), text("YES", contact=1), text("STOP", contact=1))

    said = [one["text"] for answer in (yes, stop, mt_yes, mt_stop) for one in answer["auto_messages"]]
    assert said == [f"Our own words, {origin}.{what}.{side}" for origin in ("mo", "mt")
                    for what in ("accepted", "rejected") for side in ("contact", "employee")]  # fmt: skip


def test_an_organization_that_did_not_request_opt_in_can_not_set_it(acme):
    with acme.write() as tx:
        create_organization(tx, "globex", "Globex", parent=None, actor="a", now=NOON)
        set_setting(tx, "globex", "capability", "not_ordered", actor="a", now=NOON)

    with acme.write() as tx, pytest.raises(ForbiddenError, match="reach out to"):
        set_feature(tx, "globex", "sms_opt_in", True, actor="a", now=NOON)


@pytest.mark.parametrize("feature", ["sms_opt_in"])
def test_opt_in_is_enabled_and_disabled_by_one_switch(acme, take, feature):
    with acme.write() as tx:
        set_feature(tx, "acme", feature, False, actor="a", now=NOON)
    assert take(employee())[0]["verdict"] == "delivered"

    with acme.write() as tx:
        set_feature(tx, "acme", feature, True, actor="a", now=NOON)
    assert take(employee(contact=1))[0]["verdict"] == "blocked"


def test_opt_in_is_configured_at_the_main_organization_and_applies_to_the_entire_account(acme, take):
    with acme.write() as tx:
        create_organization(tx, "acme-east", "East", parent="acme", actor="a", now=NOON)
        create_organization(tx, "acme-east-7", "East 7", parent="acme-east", actor="a", now=NOON)

    answers = take(employee(org="acme-east"), employee(org="acme-east-7", contact=1))

    assert [answer["verdict"] for answer in answers] == ["blocked", "blocked"]
    for below in ("acme-east", "acme-east-7"):
        with acme.write() as tx, pytest.raises(ForbiddenError, match="main organization acme"):
            set_feature(tx, below, "sms_opt_in", False, actor="a", now=NOON)


@pytest.mark.parametrize(("first", "second"), [("sms_opt_in", "group_messaging"), ("group_messaging", "sms_opt_in")])
def test_group_messaging_and_opt_in_can_not_be_enabled_simultaneously(acme, first, second):
    with acme.write() as tx:
        set_feature(tx, "acme", "sms_opt_in", False, actor="a", now=NOON)
        set_feature(tx, "acme", first, True, actor="a", now=NOON)

    with acme.write() as tx, pytest.raises(ForbiddenError, match=first):
        set_feature(tx, "acme", second, True, actor="a", now=NOON)
    with acme.read() as tx:
        policy = read_policies(tx, "acme")["acme"]
    assert (policy.mode != "off", policy.group_messaging) == (first == "sms_opt_in", first == "group_messaging")


def test_of_two_exclusive_features_enabled_at_once_exactly_one_succeeds_100_times(acme, database_url, open_databases):
    others = [open_databases(database_url) for _ in range(2)]  # each as another process has it
    won = collections.Counter()
    for _ in range(100):
        with acme.write() as tx:
            set_feature(tx, "acme", "sms_opt_in", False, actor="a", now=NOON)
            set_feature(tx, "acme", "group_messaging", False, actor="a", now=NOON)
        barrier = threading.Barrier(2)

        def enable(database, feature, barrier=barrier):
            barrier.wait()
            try:
                with database.write() as tx:
                    set_feature(tx, "acme", feature, True, actor="a", now=NOON)
            except ForbiddenError:
                return None
            return feature

        with ThreadPoolExecutor(2) as both:
            done = list(both.map(enable, others, ["sms_opt_in", "group_messaging"]))

        [winner] = [one for one in done if one is not None]
        won[winner] += 1
        with acme.read() as tx:
            policy = read_policies(tx, "acme")["acme"]
        assert (policy.mode == "consent", policy.group_messaging) == (
            winner == "sms_opt_in", winner == "group_messaging",
        )  # fmt: skip
    assert won.total() == 100


def test_a_sub_organization_may_ask_where_the_account_does_not_and_never_the_other_way(acme, take):
    with acme.write() as tx:
        create_organization(tx, "acme-east", "East", parent="acme", actor="a", now=NOON)
        set_feature(tx, "acme", "sms_opt_in", False, actor="a", now=NOON)
        set_feature(tx, "acme-east", "sms_opt_in", True, actor="a", now=NOON)

    main, east = take(employee(), employee(org="acme-east", contact=1))

    assert (main["verdict"], east["verdict"]) == ("delivered", "blocked")
    with acme.write() as tx, pytest.raises(ForbiddenError, match="sms_opt_in is on at acme-east"):
        set_feature(tx, "acme", "group_messaging", True, actor="a", now=NOON)
    with acme.write() as tx, pytest.raises(ForbiddenError, match="group_messaging is off at the main organization"):
        set_feature(tx, "acme-east", "group_messaging", True, actor="a", now=NOON)


def test_all_twelve_texts_and_both_keywords_stand_as_on_the_page():
    named = {key for key in TEMPLATE_NAMES if key[:3] in ("mo.", "mt.")}

    assert len(named) == 12
    assert {name for name in TEMPLATE_NAMES.values() if name.lower().startswith("sms opt-in")}


@pytest.mark.parametrize(("origin", "first"), [("mt", text), ("mo", employee)])
@pytest.mark.parametrize(("reply", "what"), [(None, "request"), ("YES", "accepted"), ("STOP", "rejected")])
def test_each_case_sends_each_side_its_own_text_of_the_page(take, origin, first, reply, what):
    ann = {"id": "e0", "name": ANN}
    answers = take(first("Hello", employee=ann), *([text(reply)] if reply else []))

    assert to(answers[-1], "contact") == [default(f"{origin}.{what}.contact")]
    assert to(answers[-1], "employee") == [default(f"{origin}.{what}.employee")]


def test_the_employee_name_is_a_variable_picked_by_the_system(take):
    bo = {"id": "e5", "name": "Bo Ray"}
    [answer] = take(employee(line=5, employee=bo))

    assert to(answer, "contact")[0].startswith("[Auto Message] Bo Ray is trying to reach you.")


def test_where_no_employee_is_known_the_organization_is_named(take):
    [answer] = take(text("Hi", line=6))

    assert to(answer, "contact")[0].startswith("[Auto Message] You are trying to reach Acme. As per company policy")


def test_once_confirmed_the_customers_message_is_delivered(take):
    [first] = take(waiting := text("Hello, it's me"))
    [yes] = take(text("YES"))

    assert (first["verdict"], yes["released"]) == ("held", [waiting["id"]])


@pytest.mark.parametrize("after", ["request", "opt-in"])
def test_a_client_rejects_a_request_or_opts_out_later_and_both_are_told(take, after):
    take(text("Hi"), *([text("YES")] if after == "opt-in" else []))

    [answer] = take(text("STOP"))

    assert to(answer, "contact") == [default("mt.rejected.contact")]
    assert to(answer, "employee") == [default("mt.rejected.employee")]


def test_no_further_messages_until_they_have_provided_their_consent_again(take):
    *_, blocked, again = take(text("Hi"), text("STOP"), employee(), text("I changed my mind"))
    assert (blocked["verdict"], to(again, "contact")) == ("blocked", [default("mt.request.contact")])

    assert take(employee())[0]["verdict"] == "blocked"
    take(text("YES"))
    assert take(employee())[0]["verdict"] == "delivered"


def test_who_changes_their_mind_replies_with_a_new_message(take):
    assert "If you change your mind, please reply with a new message." in default("mo.rejected.contact")
    *_, asked, accepted = take(employee(), text("STOP"), text("Hello again"), text("YES"))

    assert to(asked, "contact") == [default("mt.request.contact")]
    assert accepted["state"] == "opted_in"


def test_the_opt_in_and_opt_out_words_are_yes_and_stop_by_default_and_can_be_others(acme, take):
    _, yes, stop = take(employee(), text("YES"), text("STOP"))
    assert [yes["state"], stop["state"]] == ["opted_in", "opted_out"]

    with acme.write() as tx:
        set_keyword(tx, "acme", "opt_in", "AGREE", "en", actor="a", now=NOON)
        set_keyword(tx, "acme", "opt_out", "LEAVE", "en", actor="a", now=NOON)
    asked, agreed, left = take(employee(contact=1), text("agree", contact=1), text("leave", contact=1))

    assert to(asked, "contact")[0].endswith("To Opt in, reply AGREE. To opt out, reply LEAVE.")
    assert [agreed["state"], left["state"]] == ["opted_in", "opted_out"]


def test_every_automatic_message_stands_in_the_ledger_as_it_was_sent(acme, take):
    answers = take(employee(), text("who?"), text("YES"), text("STOP"))
    sent = {one["entry"]: one["text"] for answer in answers for one in answer["auto_messages"]}

    with acme.read() as tx:
        kept = {one.id: one.revealed()["text"] for one in walk(tx, "acme") if one.kind == Kind.AUTO_MESSAGE}
    assert kept == sent


def test_the_default_texts_are_in_the_program_byte_for_byte():
    shipped = files("consent").joinpath("default_templates.toml").read_bytes()

    assert b"[Auto Message]:Your contact has opted out." in shipped  # no blank there, as on the page
