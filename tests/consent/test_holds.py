"""Legal holds: who set them, what they cover, and that nothing under one is lost."""

import pytest

from consent.conversations import find_standings
from consent.holds import Cover, Covered, HeldError, Holds, is_any_held, lift_hold, list_holds, set_hold
from consent.kinds import Lane
from consent.organizations import SettingError
from consent.tags import Tags
from sync.intake import Intake
from sync.migrate import tag_key
from tests.sync.sync_world import NOON, entries, found, text

ANN, BO = "+14045550000", "+14045550001"


@pytest.fixture
def told(database):
    """A ledger in which two contacts wrote."""
    found(database, "acme")
    intake = Intake(database)
    intake.take([text("Hello", contact=0), text("Hi", contact=1), text("YES", contact=0, at=60)])
    intake.close()
    return database


@pytest.fixture
def tags(told):
    with told.read() as tx:
        return Tags(tag_key(tx))


def hold(database, tags, *covered, name="SEC-2026-17", note="subpoena of 3 November"):
    with database.write() as tx:
        return set_hold(tx, tags, "acme", name, covered, actor="u1", note=note, now=NOON)


def lift(database, tags, *covered, name="SEC-2026-17"):
    with database.write() as tx:
        return lift_hold(tx, tags, "acme", name, covered or None, actor="u2", note="case closed", now=NOON)


def conversation_of(database, tags, contact):
    with database.read() as tx:
        return find_standings(tx, tags, "acme", contact)[0].conversation.id


def held_by(database, tags, name=None):
    with database.read() as tx:
        holds = Holds(tx, tags, "acme", name=name)
    return {one.revealed().get("contact") for one in entries(database, "acme") if holds.cover(one)}


def test_a_hold_and_its_end_are_entries_with_actor_and_reason_that_name_the_contact_in_no_body(told, tags):
    [set_] = hold(told, tags, Covered(Cover.CONTACT, ANN))
    [lifted] = lift(told, tags)

    assert set_.facts() | {"note": 0, "contact": 0} == {
        "retention": "hold", "hold": "SEC-2026-17", "cover": "contact", "actor": "u1", "note": 0, "contact": 0,
    }  # fmt: skip
    assert set_.revealed() == {"note": "subpoena of 3 November", "contact": ANN}
    assert b"1404" not in set_.body
    assert (lifted.facts()["actor"], lifted.facts()["set_by"]) == ("u2", set_.seq)
    assert lifted.revealed() == {"note": "case closed"}
    assert (set_.kind, set_.lane) == ("retention", "audit")


def test_a_contact_a_conversation_or_the_whole_ledger_is_held(told, tags):
    assert held_by(told, tags) == set()

    hold(told, tags, Covered(Cover.CONTACT, ANN), name="contact")
    hold(told, tags, Covered(Cover.CONVERSATION, conversation_of(told, tags, BO)), name="conversation")
    hold(told, tags, Covered(Cover.ALL), name="all")

    assert held_by(told, tags, "contact") == {ANN}
    assert held_by(told, tags, "conversation") == {BO}
    assert held_by(told, tags, "all") == held_by(told, tags) == {ANN, BO, None}


def test_a_held_contacts_conversation_to_come_is_held_too(told, tags):
    hold(told, tags, Covered(Cover.CONTACT, "+14045550009"))

    intake = Intake(told)
    intake.take([text("I am new", contact=9, line=7)])
    intake.close()

    assert held_by(told, tags) == {"+14045550009"}


def test_a_revocation_that_met_no_conversation_is_held_with_its_contact(told, tags):
    intake = Intake(told)
    intake.take([{"id": "e1", "org": "acme", "event": "revoked", "contact": "+14045550008", "note": "by mail"}])
    intake.close()

    hold(told, tags, Covered(Cover.CONTACT, "+14045550008"))

    with told.read() as tx:
        holds = Holds(tx, tags, "acme")
    assert [one.kind for one in entries(told, "acme") if holds.cover(one)] == ["decision", "retention"]


def test_what_a_hold_covers_already_is_not_written_again(told, tags):
    hold(told, tags, Covered(Cover.CONTACT, ANN))

    again = hold(told, tags, Covered(Cover.CONTACT, ANN), Covered(Cover.CONTACT, BO), Covered(Cover.CONTACT, BO))

    assert [one.revealed()["contact"] for one in again] == [BO]


def test_a_part_of_a_hold_is_lifted_and_another_hold_still_holds(told, tags):
    hold(told, tags, Covered(Cover.CONTACT, ANN), Covered(Cover.CONTACT, BO))
    hold(told, tags, Covered(Cover.CONTACT, BO), name="other")

    lift(told, tags, Covered(Cover.CONTACT, ANN))
    assert held_by(told, tags) == {BO}
    lift(told, tags)

    assert held_by(told, tags) == {BO}
    with told.read() as tx:
        assert [one.name for one in list_holds(tx)] == ["other"]


@pytest.mark.parametrize(
    ("name", "covered", "note", "why"),
    [
        ("Doe v. Bank", Covered(Cover.ALL), "why", "a case's number, no person's"),
        ("x", Covered(Cover.ALL), " ", "needs a reason"),
        ("x", Covered(Cover.CONVERSATION, "nowhere"), "why", "no conversation of this id"),
    ],
)
def test_a_hold_that_cannot_be_is_refused_and_leaves_nothing(told, tags, name, covered, note, why):
    before = len(entries(told, "acme"))

    with pytest.raises(SettingError, match=why):
        hold(told, tags, covered, name=name, note=note)

    assert len(entries(told, "acme")) == before
    with pytest.raises(SettingError, match="covers no such thing"):
        lift(told, tags)


def test_a_store_can_ask_whether_any_of_a_range_of_a_lane_is_held(told, tags):
    mine = [one for one in entries(told, "acme") if one.lane == Lane.MESSAGES]

    def held(first, last):
        with told.read() as tx:
            return is_any_held(tx, Holds(tx, tags, "acme"), "acme", "messages", first, last)

    assert not held(0, len(mine) - 1)
    hold(told, tags, Covered(Cover.CONTACT, BO))
    assert [held(one.pos, one.pos) for one in mine] == [one.revealed()["contact"] == BO for one in mine]
    assert held(0, len(mine) - 1)
    hold(told, tags, Covered(Cover.ALL), name="all")
    assert held(0, 0)
    assert issubclass(HeldError, SettingError)
