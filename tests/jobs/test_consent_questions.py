"""Was this line allowed to text this contact at 10:02? Answered from the ledger, for any instant."""

import pytest

from consent.canonical import parse_timestamp
from consent.ledger import read_range
from consent.lines import list_lines, set_line
from consent.organizations import (
    ForbiddenError,
    SettingError,
    create_organization,
    read_policies,
    set_feature,
    set_mode,
    set_setting,
)
from consent.tags import Tags
from consent.values import Mode
from jobs.asking import QuestionError, told_consent, told_gate
from sync.intake import Intake
from sync.migrate import tag_key

LINE, OTHER_LINE, CONTACT = "+14155550100", "+14155550101", "+14045550123"


def instant(at):
    return parse_timestamp(f"2024-05-06T{at}:00Z")


class World:
    """An organization that asks for consent since midnight, and texts that reach it when the clock says so."""

    def __init__(self, database, text):
        self.database, self._text, self.clock = database, text, instant("00:00")
        self._intake = Intake(database, now=lambda: self.clock)
        with database.write() as tx:
            create_organization(tx, "acme", "Acme Bank", parent=None, actor="test", now=self.clock)
            set_feature(tx, "acme", "sms_opt_in", True, actor="test", now=self.clock)

    def receive(self, text, at, *, received=None, **more):
        self.clock = instant(received or at)
        [answer] = self._intake.take([self._text(text, at, **more)])
        assert "error" not in answer
        return answer

    def at(self, at, *, line=LINE, channel=None, contact=CONTACT, org="acme"):
        with self.database.read() as tx:
            return told_consent(tx, org, contact, line, channel, instant(at))

    def held(self, at, **more):
        [one] = self.at(at, **more)
        return one["allowed"], one["state"], one["entry"]

    def known(self, at):
        [one] = self.at(at)
        return one["known"]["allowed"], one["known"]["state"], one["known"]["entry"]

    def gate(self, line=LINE, channel="sms", contact=CONTACT):
        with self.database.read() as tx:
            return told_gate(tx, "acme", line, contact, channel)

    def set_line(self, line, employee, name, at):
        with self.database.write() as tx:
            return set_line(
                tx, Tags(tag_key(tx)), "acme", line, employee, name,
                sub_organization=None, actor="test", now=instant(at),
            )  # fmt: skip


@pytest.fixture
def world(database, text):
    return World(database, text)


def decision(answer):
    """The decision stands right behind the text that it is about."""
    return answer["entries"][1]


def test_each_instant_has_the_entry_that_allowed_or_forbade_it(world):
    asked = world.receive("Hi", "10:00", sender="employee")
    agreed = world.receive("YES", "10:02")
    stopped = world.receive("STOP", "10:10")

    assert world.held("09:59") == (False, "none", None)
    assert world.held("10:01") == (False, "pending", asked["auto_messages"][0]["entry"])
    assert world.held("10:05") == (True, "opted_in", decision(agreed))
    assert world.held("10:10") == (False, "opted_out", decision(stopped))


def test_a_stop_that_reached_us_late_is_told_apart_from_one_that_was_ignored(world):
    world.receive("Hi", "10:00", sender="employee")
    agreed = world.receive("YES", "10:02")
    stopped = world.receive("STOP", "10:10", received="11:00")

    assert world.held("10:30") == (False, "opted_out", decision(stopped))
    assert world.known("10:30") == (True, "opted_in", decision(agreed))
    assert world.known("11:00") == (False, "opted_out", decision(stopped))


def test_a_stop_sent_before_the_request_that_overtook_it_counts_from_when_it_was_sent(world):
    world.receive("Hi", "10:00", sender="employee")
    stopped = world.receive("STOP", "09:50", received="10:01")

    assert world.held("09:55") == (False, "opted_out", decision(stopped))
    assert world.held("10:30") == (False, "opted_out", decision(stopped))


def test_at_the_same_instant_stop_wins(world):
    world.receive("Hi", "10:00", sender="employee")
    stopped = world.receive("STOP", "10:05")
    world.receive("YES", "10:05")

    assert world.held("10:05") == (False, "opted_out", decision(stopped))


def test_stop_everything_forbids_lines_that_never_texted_with_the_same_proof(world):
    world.receive("Hi", "10:00", sender="employee")
    stopped = world.receive("stop all", "10:05")

    told = world.at("10:06", line=OTHER_LINE)
    assert [(one["channel"], one["state"], one["entry"]) for one in told] == [
        ("text", "opted_out", decision(stopped)),
        ("whatsapp", "opted_out", decision(stopped)),
    ]
    assert world.held("10:04", line=OTHER_LINE, channel="sms") == (False, "none", None)
    assert world.gate(OTHER_LINE) == {
        "allowed": False, "state": "opted_out", "reason": "opted_out", "entry": decision(stopped),
    }  # fmt: skip


def test_a_line_that_begins_after_stop_everything_still_names_that_stop(world):
    stopped = world.receive("stop all", "10:05")
    blocked = world.receive("Hi", "10:10", sender="employee", line=OTHER_LINE)

    assert blocked["reason"] == "opted_out"
    assert world.held("10:20", line=OTHER_LINE, channel="sms") == (False, "opted_out", decision(stopped))
    assert world.gate(OTHER_LINE)["entry"] == decision(stopped)


def test_the_gate_answers_what_holds_now_and_says_why(world):
    assert world.gate() == {"allowed": False, "state": "none", "reason": "consent_required", "entry": None}

    asked = world.receive("Hi", "10:00", sender="employee")
    request = asked["auto_messages"][0]["entry"]
    assert world.gate() == {"allowed": False, "state": "pending", "reason": "pending", "entry": request}

    agreed = world.receive("YES", "10:02")
    assert world.gate() == {"allowed": True, "state": "opted_in", "reason": None, "entry": decision(agreed)}
    assert world.gate(channel="whatsapp")["state"] == "none"

    stopped = world.receive("STOP", "10:10")
    assert world.gate() == {
        "allowed": False, "state": "opted_out", "reason": "opted_out", "entry": decision(stopped),
    }  # fmt: skip


def test_short_codes_are_never_asked(world):
    assert world.gate(contact="72975")["allowed"]


def test_the_mode_of_that_instant_counts_and_an_opt_out_survives_it(world):
    world.receive("Hi", "10:00", sender="employee")
    with world.database.write() as tx:
        set_mode(tx, "acme", Mode.OFF, actor="test", now=instant("11:00"))
    stopped = world.receive("STOP", "12:00")

    assert world.held("10:30")[:2] == (False, "pending")
    assert world.held("11:30")[:2] == (True, "pending")
    assert world.held("12:30") == (False, "opted_out", decision(stopped))


def test_a_text_dated_before_the_organization_was_set_up_is_judged_by_what_it_was_decided_under(database, text):
    world = World(database, lambda *given, **more: text(*given, **more) | {"sent_at": "2024-05-05T10:00:00Z"})
    asked = world.receive("Hi", "10:00", sender="employee")

    with database.read() as tx:
        [one] = told_consent(tx, "acme", CONTACT, LINE, None, parse_timestamp("2024-05-05T10:30:00Z"))

    assert (one["allowed"], one["state"], one["entry"]) == (False, "pending", asked["auto_messages"][0]["entry"])


def test_numbers_are_read_in_the_organizations_region_and_a_bad_one_is_not_quoted(world):
    world.receive("Hi", "10:00", sender="employee")

    assert world.held("10:01", contact="(404) 555-0123", line="415 555 0100")[1] == "pending"
    for contact, org, code in (
        ("12", "acme", "invalid_number"),
        (CONTACT, "nobody", "unknown_organization"),
    ):
        with pytest.raises(QuestionError) as raised:
            world.at("10:01", contact=contact, org=org)
        assert raised.value.code == code
        assert contact not in str(raised.value)


def test_a_registered_line_is_known_before_its_first_text(world):
    world.set_line(LINE, "e1", "Ann Lee", "09:00")

    asked = world.receive("Hello", "10:00", employee=None)

    assert "Ann Lee" in asked["auto_messages"][0]["text"]
    with world.database.read() as tx:
        [line] = list_lines(tx, "acme")
    assert (line.employee_id, line.registered) == ("e1", True)


def test_a_line_given_to_another_employee_begins_anew_and_an_opt_out_stays(world):
    world.receive("Hi", "10:00", sender="employee")
    world.receive("YES", "10:02")
    world.receive("STOP", "10:03", contact="+14045550199")

    done = world.set_line(LINE, "e2", "Bo Ek", "10:30")

    reassigned = done.entries[1]
    assert done.begun_anew == 1
    assert world.held("10:40") == (False, "none", reassigned.id)
    assert world.held("10:20")[1] == "opted_in"
    assert world.held("10:40", contact="+14045550199")[1] == "opted_out"
    assert world.receive("Hello again", "10:50", employee=None)["auto_messages"][0]["text"].count("Bo Ek") == 1
    # The one before doesn't take it back with a text that was on its way.
    assert world.receive("Hi", "10:25", received="10:55", sender="employee")["state"] == "pending"


def test_registering_a_line_says_who_did_it_and_keeps_names_out_of_the_body(world):
    world.set_line(LINE, "e1", "Ann Lee", "09:00")
    world.set_line(LINE, "e1", "Ann Lee-Smith", "09:30")
    again = world.set_line(LINE, "e1", "Ann Lee-Smith", "09:40")

    with world.database.read() as tx:
        *_, first, second = read_range(tx, "acme", 0, 100)
    assert again.entries == ()
    assert (second.kind, second.facts()["setting"], second.facts()["actor"]) == ("setting", "line", "test")
    assert second.revealed()["employee_name_before"] == "Ann Lee"
    assert b"Ann" not in first.body + second.body


def test_a_setting_rules_from_the_next_text_on(world):
    with world.database.write() as tx:
        set_setting(tx, "acme", "default_region", "gb", actor="test", now=instant("01:00"))
        set_setting(tx, "acme", "languages", "en, es", actor="test", now=instant("01:00"))
        policy = read_policies(tx, "acme")["acme"]

    world.receive("Hello", "10:00", contact="020 7946 0123")

    assert (policy.default_region, policy.languages) == ("GB", ("en", "es"))
    assert world.held("10:01", contact="+442079460123")[1] == "pending"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("languages", ""),
        ("languages", "en,klingon"),
        ("default_region", "XX"),
        ("opt_out_scope", "everyone"),
        ("held_inbound", "keep"),
        ("capability", "yes"),
        ("color", "blue"),
    ],
)
def test_a_bad_setting_is_refused_and_nothing_changes(world, key, value):
    with pytest.raises(SettingError) as raised, world.database.write() as tx:
        set_setting(tx, "acme", key, value, actor="test", now=instant("01:00"))

    assert not isinstance(raised.value, ForbiddenError)
    with world.database.read() as tx:
        assert len(read_range(tx, "acme", 0, 10)) == 2


def test_a_sub_organization_may_be_stricter_never_looser(world):
    at = instant("01:00")
    with world.database.write() as tx:
        create_organization(tx, "acme-west", "West", parent="acme", actor="test", now=at)
        set_setting(tx, "acme", "opt_out_scope", "sub_org", actor="test", now=at)
        set_setting(tx, "acme-west", "opt_out_scope", "org", actor="test", now=at)

    for org, key, value in (
        ("acme-west", "opt_out_scope", "pair"),
        ("acme-west", "capability", "not_ordered"),
        ("acme", "capability", "not_ordered"),  # while sms_opt_in is on
    ):
        with pytest.raises(ForbiddenError), world.database.write() as tx:
            set_setting(tx, org, key, value, actor="test", now=at)
    with world.database.read() as tx:
        policies = read_policies(tx, "acme")
    assert (policies["acme"].scope.value, policies["acme-west"].scope.value) == ("sub_org", "org")


def test_what_was_not_ordered_cannot_be_switched_on(world):
    at = instant("01:00")
    with world.database.write() as tx:
        set_mode(tx, "acme", Mode.OFF, actor="test", now=at)
        set_setting(tx, "acme", "capability", "not_ordered", actor="test", now=at)

    with pytest.raises(ForbiddenError, match="support"), world.database.write() as tx:
        set_feature(tx, "acme", "sms_opt_in", True, actor="test", now=at)
