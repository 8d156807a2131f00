"""An opt-out reaches lines to come as far as its scope, and a number that changed hands begins anew."""

import pytest

from consent.canonical import parse_entry_id, timestamp
from consent.database import run
from consent.history import Question, consent_at, gate
from consent.imports import Imported
from consent.lines import set_line
from consent.organizations import create_organization, read_policies, set_mode, set_setting
from consent.replay import replay
from consent.reviews import Closing, Outcome
from consent.tags import Tags
from consent.values import Group, Mode
from sync.imports import Preview
from sync.migrate import tag_key, upgrade
from tests.ledger.auditing import assert_whole, kept
from tests.sync.sync_world import NOON, SECOND, text

CONTACT = "+14045550000"
EAST, WEST, MAIN = "acme-east", "acme-west", "acme"


@pytest.fixture
def tree(acme):
    """An organization with two sub-organizations, where an opt-out closes the sub-organization."""
    with acme.write() as tx:
        for name in (EAST, WEST):
            create_organization(tx, name, name, parent=MAIN, actor="test", now=NOON)
        set_setting(tx, MAIN, "opt_out_scope", "sub_org", actor="test", now=NOON)
    return acme


def event(name, happened, *, at=600, org=MAIN, **more):
    return {"id": name, "org": org, "event": happened, "at": timestamp(NOON + at * SECOND)} | more


def row(name, consent, at, *, org=MAIN, line=None):
    told = {"id": name, "org": org, "contact": CONTACT, "consent": consent, "at": NOON + at * SECOND, "evidence": "f"}
    of_line = {} if line is None else {"line": f"+1415555{line:04d}", "channel": "text"}
    return Imported(told | of_line, actor="cli-1", raw={})


def blocked(intake, org, *, line, at=5_000):
    """Whether an employee's first text from a line is blocked because the contact opted out."""
    [answer] = intake.take([text(sender="employee", org=org, line=line, at=at)])
    return answer["reason"] == "opted_out" and answer["auto_messages"] == []


def told_of(database, org, line, at):
    """What held at an instant (state, entry, what was known by then) and what the gate says now."""
    with database.read() as tx:
        tags, sub = Tags(tag_key(tx)), None if org == MAIN else org
        asked = Question(MAIN, CONTACT, sub, f"+1415555{line:04d}", Group.TEXT)
        [moment] = consent_at(tx, tags, asked, NOON + at * SECOND)
        said = gate(tx, tags, asked, read_policies(tx, MAIN)[org])
    return (moment.said.state, moment.said.entry), moment.known.state, (said.state, said.entry)


def assert_replayed(database):
    assert replay(assert_whole(database, MAIN)) == kept(database, MAIN)


@pytest.mark.parametrize("own", [EAST, MAIN])
def test_a_stop_of_a_sub_organization_closes_its_lines_to_come_and_nobody_elses(tree, intake, own):
    intake.take([text("STOP", org=own, at=60)])

    others = [one for one in (MAIN, EAST, WEST) if one != own]
    assert blocked(intake, own, line=1)
    assert not any(blocked(intake, one, line=line) for line, one in enumerate(others, 2))
    assert_replayed(tree)


def test_a_stop_of_a_sub_organization_is_its_own_proof_for_lines_to_come_at_any_instant(tree, intake):
    [stopped] = intake.take([text("STOP", org=EAST, at=60)])
    proof = ("opted_out", stopped["entries"][1])

    # Before its first text, and after it.
    assert told_of(tree, EAST, 1, 59) == (("none", None), "none", proof)
    assert told_of(tree, EAST, 1, 60)[0] == proof
    assert told_of(tree, WEST, 2, 60) == (("none", None), "none", ("none", None))
    assert blocked(intake, EAST, line=1)
    assert told_of(tree, EAST, 1, 9_000)[::2] == (proof, proof)
    assert_replayed(tree)


def test_a_line_that_is_registered_below_is_asked_about_as_one_below(tree, intake):
    with tree.write() as tx:
        set_line(tx, Tags(tag_key(tx)), MAIN, "+14155550001", "e1", "Eve Sun", sub_organization=EAST, actor="test",
                 now=NOON)  # fmt: skip
    [stopped] = intake.take([text("STOP", org=EAST, at=60)])

    assert told_of(tree, MAIN, 1, 60)[::2] == (("opted_out", stopped["entries"][1]),) * 2
    assert told_of(tree, MAIN, 2, 60)[0] == ("none", None)
    assert blocked(intake, MAIN, line=1)


def test_a_revocation_of_a_sub_organization_holds_for_lines_to_come_with_or_without_a_conversation(tree, intake):
    intake.take([event("v1", "revoked", org=EAST, contact=CONTACT, scope="sub_org", note="letter")])
    intake.take([event("v2", "revoked", org=WEST, contact="+14045550009", line="+14155550005", note="called")])

    assert blocked(intake, EAST, line=1)
    assert not blocked(intake, WEST, line=2)
    assert not blocked(intake, MAIN, line=3)
    [answer] = intake.take([text(sender="employee", org=WEST, line=6, contact=9, at=900)])
    assert answer["reason"] == "opted_out"
    assert_replayed(tree)


def test_a_review_closed_as_a_revocation_closes_the_lines_of_its_sub_organization_to_come(tree, intake):
    intake.take([text(sender="employee", org=EAST), text("YES", org=EAST, at=60)])
    [asked] = intake.take([text("How do I stop these?", org=EAST, at=120)])

    review = parse_entry_id(asked["entries"][1])
    intake.close_review(Closing(review, Outcome.OPTED_OUT, "she meant it", "ann", NOON + 200 * SECOND))

    assert blocked(intake, EAST, line=1)
    assert not blocked(intake, WEST, line=2)
    assert_replayed(tree)


def test_an_imported_opt_out_closes_the_lines_of_its_sub_organization_and_the_preview_says_so(tree, intake):
    rows = [row("i1", "opted_out", -500, org=EAST, line=0), row("i2", "opted_in", -900, org=EAST, line=1),
            row("i3", "opted_in", -100, org=EAST, line=2), row("i4", "opted_in", -900, org=WEST, line=3)]  # fmt: skip

    previewed = Preview(tree).take(rows)
    answers = intake.take(rows)

    wanted = ["opted_out", "superseded", "opted_in", "opted_in"]
    assert [one["outcome"] for one in previewed] == [one["outcome"] for one in answers] == wanted
    assert blocked(intake, EAST, line=4)
    assert_replayed(tree)


def test_a_yes_of_one_line_leaves_the_others_to_come_closed(tree, intake):
    intake.take([text(sender="employee", org=EAST), text("STOP", org=EAST, at=60), text("YES", org=EAST, at=120)])

    assert not blocked(intake, EAST, line=0)
    assert blocked(intake, EAST, line=1)


def test_a_yes_sent_before_a_stop_of_another_line_of_its_sub_organization_comes_too_late(tree, intake):
    for line in (0, 1):
        intake.take([text(sender="employee", org=EAST, line=line), text("STOP", org=EAST, line=line, at=60)])
    intake.take([text("YES", org=EAST, line=1, at=100), text("STOP", org=EAST, line=1, at=300)])

    [late] = intake.take([text("YES", org=EAST, at=200)])

    assert (late["reason"], late["state"]) == ("late", "opted_out")
    assert_replayed(tree)


def test_a_stop_said_again_reaches_as_far_as_the_first(tree, intake):
    for line in (0, 1):
        intake.take([text(sender="employee", org=EAST, line=line)])
    intake.take([text("STOP", org=EAST, at=60), text("YES", org=EAST, line=1, at=120)])

    [answer] = intake.take([text("STOP", org=EAST, at=180)])

    assert (answer["reason"], [one["to"] for one in answer["auto_messages"]]) == ("duplicate", ["employee"])
    assert blocked(intake, EAST, line=1)
    assert_replayed(tree)


def test_a_group_send_stops_at_a_contact_who_stopped_the_sub_organization(tree, intake):
    with tree.write() as tx:
        set_mode(tx, MAIN, Mode.OFF, actor="test", now=NOON)
    intake.take([text("STOP", org=EAST, at=60)])

    group = [CONTACT, "+14045550001"]
    east, west = intake.take([
        text(sender="employee", org=org, line=line, contact=1, group=group, at=120)
        for line, org in ((1, EAST), (2, WEST))
    ])  # fmt: skip

    assert (east["verdict"], east["reason"], west["verdict"]) == ("blocked", "opted_out", "delivered")


@pytest.mark.parametrize("met", [(), ("employee",)])
def test_a_number_that_changed_hands_takes_no_older_consent_whether_it_was_ever_texted_or_not(acme, intake, met):
    intake.take([text(sender=sender) for sender in met])
    intake.take([event("r1", "number_reassigned", contact=CONTACT)])
    rows = [row("i1", "opted_in", 500, line=0), row("i2", "opted_in", 500, line=1), row("i3", "opted_in", 600, line=2),
            row("i4", "opted_out", 500), row("i5", "opted_in", 700, line=3)]  # fmt: skip

    previewed = Preview(acme).take(rows)
    answers = intake.take(rows)

    wanted = ["superseded"] * 4 + ["opted_in"]
    assert [one["outcome"] for one in previewed] == [one["outcome"] for one in answers] == wanted
    sent = intake.take([text(sender="employee", line=line, at=900) for line in range(4)])
    assert [one["verdict"] for one in sent] == ["blocked", "blocked", "blocked", "delivered"]
    assert_replayed(acme)


def test_a_number_that_changed_hands_before_a_later_decision_still_takes_no_older_consent(intake):
    intake.take([text(sender="employee"), text("YES", at=900)])

    [noted] = intake.take([event("r1", "number_reassigned", contact=CONTACT)])
    [older] = intake.take([row("i1", "opted_in", 500, line=1)])

    assert (noted["changed"], older["outcome"]) == ([], "superseded")


def test_a_number_that_changed_hands_opens_what_its_former_owner_stopped(tree, intake):
    intake.take([event("v1", "revoked", org=EAST, contact=CONTACT, scope="sub_org", note="letter", at=100)])
    intake.take([event("v2", "revoked", org=WEST, contact=CONTACT, scope="sub_org", note="letter", at=900)])

    intake.take([event("r1", "number_reassigned", contact=CONTACT, at=600)])

    assert not blocked(intake, EAST, line=1)
    assert blocked(intake, WEST, line=2)


def test_an_upgrade_counts_what_was_said_before_it(tree, intake):
    intake.take([text("STOP", org=EAST, at=60), text("STOP", org=WEST, contact=1, at=60)])
    intake.take([event("r1", "number_reassigned", contact="+14045550001"),
                 event("r2", "number_reassigned", contact="+14045550002")])  # fmt: skip
    before = beside(tree)
    with tree.write() as tx:
        run(tx, "DROP TABLE sub_organization_stop")
        run(tx, "DROP TABLE reassigned_number")
        run(tx, "DROP INDEX entry_checkpoint_ix")
        run(tx, "UPDATE alembic_version SET version_num = '0007'")

    upgrade(tree)

    assert len(before["sub_organization_stop"]) == 1
    assert len(before["reassigned_number"]) == 2
    assert beside(tree) == before


def beside(database):
    """What is kept of contacts for lines to come; which entry of a step proves a stop is nobody's business."""
    with database.read() as tx:
        return {
            table: {tuple(one)[:4] for one in run(tx, f"SELECT * FROM {table}")}
            for table in ("sub_organization_stop", "reassigned_number")
        }
