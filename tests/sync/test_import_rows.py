"""Imported rows through the intake: what they close and open, what they leave alone, and the preview that agrees."""

import random
from itertools import count

import pytest

from consent.canonical import timestamp
from consent.history import Question, consent_at, gate
from consent.imports import Imported
from consent.organizations import create_organization, read_policies, set_setting
from consent.replay import replay
from consent.tags import Tags
from consent.values import Group
from sync.imports import Preview
from sync.intake import Intake
from sync.migrate import tag_key
from tests.ledger.auditing import assert_whole, kept
from tests.sync.sync_world import NOON, SECOND, found, text

LINE, CONTACT = "+14155550000", "+14045550000"
_ids = count()


def row(consent, at=-1_000, *, line=0, contact=0, evidence="form 12", org="acme", **more):
    """One row as its reader hands it over; `at` is in seconds after noon."""
    said = {"org": org, "contact": f"+1404555{contact:04d}", "consent": consent, "at": NOON + at * SECOND,
            "evidence": evidence} | more  # fmt: skip
    if line is not None:
        said = {"channel": "text", **said, "line": f"+1415555{line:04d}"}
    return Imported(said | {"id": f"import-{next(_ids)}"}, actor="cli-1", raw={})


def event(happened, *, at, **more):
    told = {"id": f"ev{next(_ids)}", "org": "acme", "event": happened, "at": timestamp(NOON + at * SECOND)}
    return told | more


def outcomes(answers):
    return [answer["outcome"] for answer in answers]


def blocked(intake, *, at=5_000, line=0, contact=0):
    [answer] = intake.take([text(sender="employee", at=at, line=line, contact=contact)])
    assert answer["auto_messages"] == []
    return answer["reason"] == "opted_out"


def test_imports_open_and_close_conversations_and_send_nothing(intake):
    answers = intake.take([row("opted_in"), row("opted_out", contact=1)])

    assert outcomes(answers) == ["opted_in", "opted_out"]
    assert [answer["auto_messages"] for answer in answers] == [[], []]
    assert answers[0]["changed"] == [{"line": LINE, "contact": CONTACT, "channel": "text", "state": "opted_in"}]
    sent, stopped = intake.take([text(sender="employee"), text(sender="employee", contact=1)])
    assert (sent["verdict"], stopped["reason"]) == ("delivered", "opted_out")


def test_the_same_rows_again_write_nothing(intake, acme):
    rows = [row("opted_in"), row("opted_out", contact=1), row("opted_out", contact=2, line=None)]
    first = intake.take(rows)
    size = len(assert_whole(acme, "acme"))

    again = intake.take(rows)

    assert outcomes(again) == ["already_imported"] * 3
    assert [one["entries"] for one in again] == [one["entries"] for one in first]
    assert len(assert_whole(acme, "acme")) == size


def test_a_pending_contacts_held_texts_are_released_to_the_employee(intake):
    [held] = intake.take([first := text("Hello?", at=10)])

    [answer] = intake.take([row("opted_in")])

    assert held["verdict"] == "held"
    assert answer["released"] == [first["id"]]
    assert answer["auto_messages"] == []


def test_an_opt_out_without_a_line_holds_for_every_conversation_and_for_lines_to_come(intake):
    intake.take([row("opted_in", line=line) for line in (0, 1)])

    [answer] = intake.take([row("opted_out", -500, line=None)])

    assert answer["outcome"] == "opted_out"
    assert len(answer["entries"]) == 2
    assert all(blocked(intake, line=line) for line in (0, 1, 2))


def test_an_opt_out_from_everything_meets_a_later_opt_in_of_one_line_in_either_order(intake):
    for contact, rows in enumerate(
        ([("opted_out", None, 0), ("opted_in", 1, 60)], [("opted_in", 1, 60), ("opted_out", None, 0)])
    ):
        intake.take([row(said, at - 1_000, line=line, contact=contact) for said, line, at in rows])

        assert blocked(intake, line=0, contact=contact)
        assert not blocked(intake, line=1, contact=contact)


def test_an_opt_out_reaches_as_far_as_the_organization_says(acme, intake):
    with acme.write() as tx:
        set_setting(tx, "acme", "opt_out_scope", "org", actor="test", now=NOON)
    intake.take([row("opted_in", line=1)])

    [answer] = intake.take([row("opted_out", -500, line=0)])

    assert [changed["line"] for changed in answer["changed"]] == [LINE, "+14155550001"]
    assert blocked(intake, line=1)
    assert blocked(intake, line=2)


def test_an_opt_in_begins_no_conversation_beside_a_later_opt_out_of_its_sub_organization(acme, intake):
    with acme.write() as tx:
        create_organization(tx, "acme-east", "East", parent="acme", actor="test", now=NOON)
        set_setting(tx, "acme", "opt_out_scope", "sub_org", actor="test", now=NOON)
    intake.take([row("opted_out", -500, org="acme-east")])

    early, late = intake.take([row("opted_in", at, line=1, org="acme-east") for at in (-900, -100)])

    assert (early["outcome"], early["entries"]) == ("superseded", [])
    assert late["outcome"] == "opted_in"


def test_a_consent_from_before_the_number_changed_hands_is_not_its_new_owners(intake):
    intake.take([text(sender="employee"), text("YES", at=60)])
    intake.take([event("number_reassigned", at=600, contact=CONTACT)])

    same_line, other_line, since = intake.take([row("opted_in"), row("opted_in", line=1), row("opted_in", 700)])

    assert outcomes([same_line, other_line, since]) == ["superseded", "superseded", "opted_in"]


def test_a_consent_to_another_employee_is_refused_until_the_line_is_that_employees(intake):
    intake.take([text(sender="employee", contact=9)])
    given = row("opted_in", employee_id="e7")

    [refused] = intake.take([given])
    intake.take([event("line_reassigned", at=60, line=LINE, employee={"id": "e7", "name": "Bo Ray"})])

    assert refused["error"]["code"] == "other_employee"
    assert outcomes(intake.take([given])) == ["opted_in"]


def test_an_opt_out_stays_whoever_has_the_line(intake):
    intake.take([text(sender="employee", at=-2_000), text("YES", at=-1_900)])
    intake.take([event("line_reassigned", at=60, line=LINE, employee={"id": "e7", "name": "Bo Ray"})])

    opted_in, opted_out = intake.take([row("opted_in"), row("opted_out", employee_id="e0")])

    assert outcomes([opted_in, opted_out]) == ["superseded", "opted_out"]


def test_the_events_door_is_shut_to_imports(intake):
    forged = event("imported", at=0, contact=CONTACT, line=LINE, consent="opted_in", evidence="trust me")

    [answer] = intake.take([forged])

    assert answer["error"]["code"] == "invalid_message"
    assert intake.take([text(sender="employee")])[0]["reason"] == "consent_requested"


def test_the_past_is_told_by_what_was_dated_then_whatever_came_first(acme, intake):
    rows = [row("opted_in", 300), row("opted_out", 200), row("opted_in", 100)]
    intake.take(rows)

    with acme.read() as tx:
        tags, question = Tags(tag_key(tx)), Question("acme", CONTACT, line=LINE)
        states = [consent_at(tx, tags, question, NOON + at * SECOND)[0].said.state for at in (50, 150, 250, 350)]

    assert states == ["none", "opted_in", "opted_out", "opted_in"]


@pytest.mark.parametrize("scope", ["pair", "sub_org", "org"])
def test_any_mix_of_rows_ends_the_same_in_every_order_and_the_preview_says_how(make_sqlite_url, open_databases, scope):
    chance, ends = random.Random(7), []
    rows = [any_row(chance) for _ in range(300)]
    for _ in range(2):
        database = open_databases(make_sqlite_url())
        found(database, "acme")
        with database.write() as tx:
            create_organization(tx, "acme-east", "East", parent="acme", actor="test", now=NOON)
            set_setting(tx, "acme", "opt_out_scope", scope, actor="test", now=NOON)
        intake, preview = Intake(database), Preview(database)
        previewed = outcomes([answer for at in range(0, 300, 40) for answer in preview.take(rows[at : at + 40])])
        taken = outcomes([answer for at in range(0, 300, 40) for answer in intake.take(rows[at : at + 40])])
        intake.close()
        assert previewed == taken
        assert replay(assert_whole(database, "acme")) == kept(database, "acme")
        ends.append(gates(database))
        chance.shuffle(rows)

    assert ends[0] == ends[1]
    assert set(ends[0].values()) == {"none", "opted_in", "opted_out"}


def any_row(chance):
    """Lines 0 and 1 are the main organization's, 2 and 3 a sub-organization's."""
    said, line = chance.choice(["opted_in", "opted_out"]), chance.randrange(4)
    everywhere = said == "opted_out" and chance.random() < 0.2
    at, org = chance.randrange(-9, 0), "acme-east" if line > 1 else "acme"
    return row(said, at, line=None if everywhere else line, contact=chance.randrange(30), org=org)


def gates(database):
    """What the gate says of every contact, on lines that were named and on some that never were (4 and 5)."""
    with database.read() as tx:
        tags, policies, said = Tags(tag_key(tx)), read_policies(tx, "acme"), {}
        for contact in range(31):
            for line, org in enumerate(("acme", "acme", "acme-east", "acme-east", "acme", "acme-east")):
                asked = Question("acme", f"+1404555{contact:04d}", policies[org].sub_organization,
                                 f"+1415555{line:04d}", Group.TEXT)  # fmt: skip
                said[contact, line] = gate(tx, tags, asked, policies[org]).state
    return said


def test_a_preview_writes_nothing(acme):
    size = len(assert_whole(acme, "acme"))

    answers = Preview(acme).take([row("opted_in"), row("opted_out", line=None)])

    assert outcomes(answers) == ["opted_in", "opted_out"]
    assert len(assert_whole(acme, "acme")) == size
    with acme.read() as tx:
        assert tx.exec_driver_sql("SELECT COUNT(*) FROM conversation").scalar() == 0


@pytest.mark.parametrize("channel", ["text", "whatsapp"])
def test_an_opt_out_of_one_channel_group_closes_no_conversation_of_the_other(intake, channel):
    whatsapp = text(sender="employee", channel="whatsapp")
    intake.take(
        [row("opted_in"), row("opted_in", channel="whatsapp"), row("opted_out", -500, line=None, channel=channel)]
    )

    texted, messaged = intake.take([text(sender="employee"), whatsapp])

    assert (texted["verdict"], messaged["verdict"]) == (
        ("blocked", "delivered") if channel == "text" else ("delivered", "blocked")
    )
