"""Texts that wait for a YES, group sends while nobody is asked, and notices to the employees of other lines."""

import pytest

from consent.kinds import Kind
from consent.ledger import walk
from consent.organizations import set_feature, set_mode, set_setting
from consent.replay import replay
from consent.values import Mode
from sync.intake import Intake
from tests.sync.sync_world import NOON, SECOND, found, text

LATER = NOON + 3_600 * SECOND


@pytest.fixture
def acme(database):
    found(database, "acme")
    return database


@pytest.fixture
def intake(acme):
    taking = Intake(acme, now=lambda: NOON)
    yield taking
    taking.close()


def states(database):
    """The states kept beside the ledger, by conversation."""
    from consent.conversations import conversation_table, standing_of

    with database.read() as tx:
        standings = [standing_of(row) for row in tx.execute(conversation_table.select())]
    return {one.conversation.id: one.conversation.state() for one in standings}


def replayed(database):
    with database.read() as tx:
        return {name: told.state() for name, told in replay(walk(tx, "acme")).items()}


def test_switching_the_mode_off_releases_what_waited_for_a_yes_and_unblocks_nobody(acme, intake):
    texts = [text("one", contact=0), text("two", contact=0, at=1), text("three", contact=1), text("four", contact=2)]
    intake.take(
        [*texts, text("STOP", contact=2, at=10), text("five", contact=2, at=20), text("STOP", contact=2, at=30)]
    )

    with acme.write() as tx:
        released = set_mode(tx, "acme", Mode.OFF, actor="test", now=LATER)
    answers = intake.take([
        text(sender="employee", contact=contact, at=100, employee={"id": "e0", "name": "Ann"}) for contact in (0, 1, 2)
    ])  # fmt: skip

    assert sorted(released) == sorted(one["id"] for one in texts[:3])
    assert [answer["verdict"] for answer in answers] == ["delivered", "delivered", "blocked"]
    assert replayed(acme) == states(acme)


def test_what_was_released_is_released_once(acme, intake):
    intake.take([waited := text("one")])

    with acme.write() as tx:
        first = set_feature(tx, "acme", "sms_opt_in", False, actor="test", now=LATER)
        again = set_feature(tx, "acme", "sms_opt_in", False, actor="test", now=LATER)
        set_mode(tx, "acme", Mode.CONSENT, actor="test", now=LATER)
    [answer] = intake.take([text("YES", at=100)])

    assert (first, again, answer["released"]) == ([waited["id"]], [], [])
    with acme.read() as tx:
        told = [entry.facts() for entry in walk(tx, "acme") if entry.kind == Kind.SETTING and entry.conversation]
    assert [(one["setting"], one["actor"]) for one in told] == [("held_texts", "test")]


def test_switching_the_mode_on_again_grants_nothing_to_who_was_asked_before(acme, intake):
    intake.take([text("one")])
    with acme.write() as tx:
        set_mode(tx, "acme", Mode.OFF, actor="test", now=LATER)
        set_mode(tx, "acme", Mode.CONSENT, actor="test", now=LATER)

    [answer] = intake.take([text(sender="employee", at=60)])

    assert (answer["verdict"], answer["state"]) == ("blocked", "pending")


def test_an_employees_text_that_waited_is_named_in_the_answer_to_the_yes(acme, intake):
    with acme.write() as tx:
        set_setting(tx, "acme", "blocked_outbound", "release", actor="test", now=NOON)
    first, second = text(sender="employee"), text("who is this?", at=10)

    [*_, answer] = intake.take([first, second, yes := text("YES", at=20)])

    assert answer["released"] == [first["id"], second["id"]]
    assert intake.take([yes]) == [answer]
    assert replayed(acme) == states(acme)


@pytest.mark.parametrize("stopped", ["STOP", "STOPALL"])
def test_while_nobody_is_asked_a_group_with_somebody_who_stopped_gets_nothing(database, stopped):
    found(database, "acme", mode=Mode.OFF)
    intake = Intake(database, now=lambda: NOON)
    group = ["+14045550000", "+14045550001", "+14045550002"]
    line = 0 if stopped == "STOP" else 7  # everything: also where this line never met the contact

    open_to_all, _, closed, alone = intake.take([
        text(sender="employee", contact=0, group=group),
        text(stopped, contact=2, line=line, at=10),
        text(sender="employee", contact=0, group=group, at=20),
        text(sender="employee", contact=0, at=30),
    ])  # fmt: skip

    assert open_to_all["verdict"] == "delivered"
    assert (closed["verdict"], closed["reason"], closed["state"]) == ("blocked", "opted_out", "none")
    assert alone["verdict"] == "delivered"


def test_the_same_text_for_the_third_time_is_known_again_across_transactions(intake):
    answers = [intake.take([text("We are closed today", at=3_600 * count)])[0] for count in range(3)]

    assert [answer["reason"] for answer in answers] == ["consent_requested", "pending", "automatic"]
    assert answers[2]["auto_messages"] == []


def test_the_notice_to_another_lines_employee_names_that_employee(acme, intake):
    from consent.wording import set_template

    with acme.write() as tx:
        set_template(
            tx, "acme", "mo.rejected.employee", "<Employee Name>, your contact opted out.", language="en",
            actor="test", now=NOON,
        )  # fmt: skip
    bo = {"id": "e1", "name": "Bo Ray"}
    intake.take([text(sender="employee"), text(sender="employee", line=1, employee=bo), text("YES", at=10)])

    [answer] = intake.take([text("STOPALL", at=20)])

    assert [one["text"] for one in answer["auto_messages"] if one["to"] == "employee"] == [
        "Ann Lee, your contact opted out.", "Bo Ray, your contact opted out.",
    ]  # fmt: skip
