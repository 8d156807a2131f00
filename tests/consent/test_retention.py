"""Retention: nothing goes before its time or from under a hold, and what is gone leaves every proof and state whole."""

import json

import pytest

from consent.history import Question, consent_at, gate
from consent.holds import Cover, Covered, lift_hold, set_hold
from consent.kinds import Kind
from consent.ledger import append, read_range, seq_at
from consent.organizations import ForbiddenError, SettingError, create_organization, read_policies
from consent.replay import replay
from consent.retention import (
    DAY,
    DEFAULT_DAYS,
    KEPT,
    YEAR_DAYS,
    dispose,
    kept_until,
    ranges,
    read_period,
    read_periods,
    read_snapshot,
    set_periods,
    write_period,
)
from consent.tags import Tags
from consent.values import Record
from jobs.verifying import verify_ledgers
from sync.intake import Intake
from sync.migrate import tag_key
from tests.ledger.auditing import kept
from tests.sync.sync_world import NOON, deliver_all, destination, entries, found, owed_to, set_aside_for, text

YEAR = YEAR_DAYS * DAY
ANN, BO = "+14045550000", "+14045550001"


@pytest.fixture
def told(database):
    """A ledger: one contact stopped, one agreed and chatted, one never answered, and one revoked by mail."""
    found(database, "acme")
    take(
        database,
        text("Hello", contact=0), text("STOP", contact=0, at=30), text("STOP", contact=0, at=31),
        text("Hi", contact=1), text("YES", contact=1, at=60),
        text("Your statement", sender="employee", contact=1, at=90), text("Thanks", contact=1, at=91),
        text("Are you there?", sender="employee", contact=2, at=92),
        {"id": "e1", "org": "acme", "event": "revoked", "contact": "+14045550008", "note": "by mail"},
    )  # fmt: skip
    return database


@pytest.fixture
def tags(told):
    with told.read() as tx:
        return Tags(tag_key(tx))


@pytest.fixture
def recorded(told):
    """When the newest entry was recorded."""
    return entries(told, "acme")[-1].recorded_at


def take(database, *texts):
    intake = Intake(database)
    answers = intake.take(list(texts))
    intake.close()
    assert [one for one in answers if "error" in one] == []
    return answers


def lengthen(database, days, *kinds):
    with database.write() as tx:
        set_periods(tx, "acme", [Kind(kind) for kind in kinds], days, actor="u1", now=NOON)


def disposed(database):
    return [one.seq for one in entries(database, "acme") if one.body is None]


def hold(database, tags, *covered):
    with database.write() as tx:
        set_hold(tx, tags, "acme", "case-1", covered, actor="u1", note="subpoena", now=NOON)


def after(database, tags, at, **how):
    return dispose(database, tags, "acme", actor="job", now=at, **how)


def test_a_period_is_written_as_people_say_it():
    assert [read_period(one) for one in ("7y", " 10Y ", "2600d")] == [7 * 366, 10 * 366, 2600]
    assert [write_period(one) for one in (7 * 366, 2600)] == ["7y", "2600d"]
    for wrong in ("", "7", "y", "-7y", "7 years", "1e3d"):
        with pytest.raises(SettingError, match="7y or 2600d"):
            read_period(wrong)


def test_every_kind_is_kept_at_least_as_long_as_the_law_wants(told):
    with told.read() as tx:
        periods = read_periods(tx, "acme")

    assert periods.keys() | KEPT == set(Kind)
    assert set(periods.values()) == {DEFAULT_DAYS}
    assert DEFAULT_DAYS >= 6 * YEAR_DAYS


def test_retention_is_lengthened_and_never_shortened_and_says_who_did_it(told):
    lengthen(told, 10 * YEAR_DAYS, "message", "decision")

    entry = entries(told, "acme")[-1]
    assert (entry.kind, entry.facts()["setting"], entry.facts()["actor"]) == ("setting", "retention", "u1")
    assert entry.facts()["before"]["retention"]["message"] == DEFAULT_DAYS
    for days, kind in ((10 * YEAR_DAYS - 1, "decision"), (DEFAULT_DAYS - 1, "delivery"), (0, "message")):
        with pytest.raises(ForbiddenError, match=f"never shortened: {kind} is kept"):
            lengthen(told, days, kind)
    with pytest.raises(ForbiddenError, match="kept for good"):
        lengthen(told, 20 * YEAR_DAYS, "checkpoint")
    with told.read() as tx:
        periods = read_periods(tx, "acme")
    assert {kind.value: days for kind, days in periods.items() if days != DEFAULT_DAYS} == {
        "message": 10 * YEAR_DAYS, "decision": 10 * YEAR_DAYS,
    }  # fmt: skip


def test_it_is_set_at_the_main_organization_for_its_whole_ledger(told):
    with told.write() as tx:
        create_organization(tx, "acme-west", "West", parent="acme", actor="u1", now=NOON)
        with pytest.raises(ForbiddenError, match="main organization acme"):
            set_periods(tx, "acme-west", [Kind.MESSAGE], 20 * YEAR_DAYS, actor="u1", now=NOON)


def test_nothing_is_disposed_of_a_day_too_soon(told, tags, recorded):
    done = after(told, tags, recorded + 7 * YEAR - 1_000_000 - DAY)

    assert (done.entries, disposed(told)) == (0, [])
    with told.read() as tx:
        assert read_snapshot(tx, "acme") is None


def test_what_is_past_its_retention_is_disposed_of_and_an_entry_says_so(told, tags, recorded):
    before = entries(told, "acme")

    done = after(told, tags, recorded + 7 * YEAR)

    now = entries(told, "acme")
    gone = disposed(told)
    facts = now[-1].facts()
    assert (now[-1].kind, facts["retention"], facts["actor"]) == ("retention", "disposal", "job")
    assert facts["entries"] == done.entries == len(gone) > 5
    assert [seq for first, last in facts["seqs"] for seq in range(first, last + 1)] == gone
    assert sum(facts["kinds"].values()) == len(gone)
    for old, new in zip(before, now, strict=False):
        assert (new.id, new.seq, new.pos, new.leaf) == (old.id, old.seq, old.pos, old.leaf)
        assert new in (old, old._replace(body=None, values=None))
    assert [one.problem for one in verify_ledgers(told)] == ["", ""]


def test_what_rules_now_what_was_signed_and_what_proves_a_state_in_force_stays(told, tags, recorded):
    after(told, tags, recorded + 50 * YEAR)

    left = [one for one in entries(told, "acme") if one.body is not None]

    assert {one.kind for one in left} == {"setting", "retention", "decision", "auto_message"}
    decisions = [one.facts() for one in left if one.kind == "decision"]
    assert sorted(one["decision"] for one in decisions) == ["opted_in", "opted_out", "opted_out"]
    # Each decision with the request that it answers, and the request that still waits.
    answered = {one["answers"] for one in decisions if one.get("answers")}
    requests = [one for one in left if one.kind == "auto_message"]
    assert {one.id for one in requests if one.facts()["template"] == "mt.request.contact"} == answered
    assert [one.facts()["template"] for one in requests if one.id not in answered] == ["mo.request.contact"]


def test_every_answer_of_the_gate_still_names_an_entry_that_is_there(told, tags, recorded):
    def asked():
        with told.read() as tx:
            policy = read_policies(tx, "acme")["acme"]
            return [
                (gate(tx, tags, Question("acme", contact, line=line), policy),
                 [one.said for one in consent_at(tx, tags, Question("acme", contact, line=line), NOON + DAY)])
                for contact in (ANN, BO, "+14045550002", "+14045550008") for line in ("+14155550000", "+14155550077")
            ]  # fmt: skip

    before = asked()
    after(told, tags, recorded + 50 * YEAR)

    assert asked() == before
    there = {one.id for one in entries(told, "acme") if one.body is not None}
    assert {said.entry for said, _ in before if said.entry} <= there


def test_consent_is_kept_while_it_is_relied_upon_and_its_texts_are_not(told, tags, recorded):
    later = recorded + 7 * YEAR
    with told.write() as tx:  # a text seven years later, as the ledger's clock has it then
        old = next(one for one in read_range(tx, "acme", 0, 100) if one.revealed().get("text") == "Thanks")
        append(tx, "acme", [Record(Kind.MESSAGE, later, old.facts() | {"text": 0}, {"text": "Still here"},
                                   old.conversation, old.version + 1)], later)  # fmt: skip

    after(told, tags, later + DAY)

    mine = [one for one in entries(told, "acme") if one.conversation == old.conversation]
    assert {one.kind for one in mine if one.body is None} == {"message"}
    assert {one.kind for one in mine if one.body is not None} == {"auto_message", "decision", "message"}
    after(told, tags, later + 7 * YEAR + DAY)
    mine = [one for one in entries(told, "acme") if one.conversation == old.conversation and one.body is not None]
    assert sorted(one.kind for one in mine) == ["auto_message", "decision"]


def test_nothing_under_a_hold_is_disposed_of_until_it_is_lifted(told, tags, recorded):
    hold(told, tags, Covered(Cover.CONTACT, BO))

    done = after(told, tags, recorded + 50 * YEAR)

    assert done.held > 3
    assert [one for one in entries(told, "acme") if one.revealed().get("contact") == BO and one.body is None] == []
    assert len([one for one in entries(told, "acme") if one.revealed().get("text") == "Your statement"]) == 1
    with told.write() as tx:
        lift_hold(tx, tags, "acme", "case-1", None, actor="u1", note="over", now=recorded + 50 * YEAR)
    assert after(told, tags, recorded + 50 * YEAR).entries == done.held
    assert "Your statement" not in {one.revealed().get("text") for one in entries(told, "acme")}


def test_a_held_ledger_loses_nothing(told, tags, recorded):
    hold(told, tags, Covered(Cover.ALL))
    before = entries(told, "acme")

    done = after(told, tags, recorded + 50 * YEAR)

    assert (done.entries, entries(told, "acme")) == (0, before)


def test_replay_begins_at_the_states_of_the_disposal_and_ends_at_those_that_are_kept(told, tags, recorded):
    after(told, tags, recorded + 50 * YEAR)
    take(told, text("Hello again", contact=0, at=900), text("STOP", contact=1, at=901))

    with told.read() as tx:
        start = read_snapshot(tx, "acme")
    states = replay(entries(told, "acme")[start.size :], start)

    assert start.size == entries(told, "acme")[-1].seq or start.size > 10
    assert {id: one._replace(line="", contact="") for id, one in states.items()} == {
        id: one._replace(line="", contact="") for id, one in kept(told, "acme").items()
    }


def test_a_run_again_disposes_of_nothing_twice_and_leaves_one_snapshot(told, tags, recorded):
    after(told, tags, recorded + 50 * YEAR)
    before = entries(told, "acme")

    again = after(told, tags, recorded + 51 * YEAR)

    assert (again.entries, entries(told, "acme")) == (0, before)
    with told.read() as tx:
        [(sizes,)] = tx.exec_driver_sql("SELECT count(DISTINCT size) FROM snapshot").fetchall()
    assert sizes == 1


def test_a_dry_run_says_how_many_and_changes_nothing(told, tags, recorded):
    before = entries(told, "acme")

    would = after(told, tags, recorded + 50 * YEAR, dry_run=True)

    assert entries(told, "acme") == before
    assert would.entries == after(told, tags, recorded + 50 * YEAR).entries > 5


def test_a_body_that_is_gone_with_no_disposal_of_it_is_found(told, tags, recorded):
    after(told, tags, recorded + 7 * YEAR)
    gone = disposed(told)
    spared = next(one.seq for one in entries(told, "acme") if one.body is not None and one.kind == "decision")
    with told.write() as tx:
        tx.exec_driver_sql(
            f"UPDATE entry SET body = NULL, personal = NULL WHERE organization = 'acme' AND seq = {spared}"
        )

    [acme, _] = verify_ledgers(told)

    assert spared not in gone
    assert acme.problem == f"ledger acme has entry acme-{spared:012d} without its body, and no disposal of it"


def test_values_that_are_gone_with_no_erasure_of_them_are_found(told):
    seq = next(one.seq for one in entries(told, "acme") if one.kind == "message")
    with told.write() as tx:
        tx.exec_driver_sql(f"UPDATE entry SET personal = NULL WHERE organization = 'acme' AND seq = {seq}")

    [acme, _] = verify_ledgers(told)

    assert acme.problem == f"ledger acme has entry acme-{seq:012d} without its values, and no erasure of it"


def test_a_destination_that_comes_later_takes_what_is_left(told, tags, recorded):
    after(told, tags, recorded + 50 * YEAR)
    to = destination()

    deliver_all(told, to)

    assert (owed_to(told, to), set_aside_for(told, to)) == (0, [])


def test_a_message_whose_record_was_disposed_of_is_not_taken_a_second_time(told, tags, recorded):
    hello = text("Good morning", contact=5, at=100)
    take(told, hello)
    after(told, tags, recorded + 50 * YEAR)
    before = entries(told, "acme")
    intake = Intake(told)

    [answer] = intake.take([hello])

    intake.close()
    assert answer["error"]["code"] == "id_conflict"
    assert "disposed of" in answer["error"]["detail"]
    assert entries(told, "acme") == before


def test_a_time_is_found_in_a_ledger_without_reading_it(told):
    stored = entries(told, "acme")
    times = sorted({one.recorded_at for one in stored})

    with told.read() as tx:
        for at in (0, *times, times[-1] + 1, *(one + 1 for one in times)):
            assert seq_at(tx, "acme", at) == sum(one.recorded_at < at for one in stored)


def test_numbers_are_told_as_ranges():
    assert ranges([]) == []
    assert ranges([0, 1, 2, 4, 7, 8]) == [(0, 2), (4, 4), (7, 8)]
    assert json.loads(json.dumps(ranges([3]))) == [[3, 3]]


def test_a_store_that_locks_is_told_until_when_and_the_clock_runs_from_the_last_text(told):
    every = [one for one in entries(told, "acme") if one.lane == "consent"]
    chatty = [one for one in every if one.revealed().get("contact") == BO]
    last_text = max(
        one.recorded_at for one in entries(told, "acme")
        if one.conversation == chatty[0].conversation and one.kind in ("message", "auto_message")
    )  # fmt: skip

    with told.read() as tx:
        of_bo = kept_until(tx, "acme", "consent", chatty[0].pos, chatty[0].pos)
        of_messages = kept_until(tx, "acme", "messages", 0, 0)
        of_settings = kept_until(tx, "acme", "audit", 0, 0)
        first = next(one for one in entries(told, "acme") if one.lane == "messages")

    assert chatty[0].recorded_at <= last_text
    assert of_bo == last_text + DEFAULT_DAYS * DAY
    assert of_messages == first.recorded_at + DEFAULT_DAYS * DAY  # a text is kept from its own record on
    assert of_settings == entries(told, "acme")[-1].recorded_at + DEFAULT_DAYS * DAY
    take(told, text("Are you still there?", sender="employee", contact=1, at=900))
    with told.read() as tx:
        assert kept_until(tx, "acme", "consent", chatty[0].pos, chatty[0].pos) > of_bo
