"""Lawful erasure: the values are gone from every byte, the proofs hold, and an opt-out is still honored."""

import json
import sqlite3
from pathlib import Path

import pytest

from consent.erasure import erase
from consent.holds import Cover, Covered, HeldError, lift_hold, set_hold
from consent.kinds import Kind
from consent.replay import replay
from consent.tags import Tags
from jobs.verifying import verify_ledgers
from sync.intake import Intake
from sync.migrate import tag_key
from sync.schema import metadata
from tests.ledger.auditing import assert_whole, kept
from tests.sync.sync_world import (
    NOON,
    deliver_all,
    destination,
    entries,
    found,
    ids,
    owed_to,
    promised,
    set_aside_for,
    text,
)

ANN, BO = "+14045550000", "+14045550001"


@pytest.fixture
def told(database):
    """A ledger in which one contact stopped on two lines, another agreed, and a group text named both."""
    found(database, "acme")
    take(
        database,
        text("Hello, it is Ann Doe", contact=0, contact_name="Ann Doe"), text("STOP", contact=0, at=30),
        text("Hi", contact=0, line=1, at=31, channel="whatsapp"), text("Hi", contact=1), text("YES", contact=1, at=60),
        text("All of you", sender="employee", contact=1, at=90, group=[ANN, BO]),
        {"id": "e1", "org": "acme", "event": "revoked", "contact": "+14045550008", "note": "by mail"},
    )  # fmt: skip
    return database


@pytest.fixture
def tags(told):
    with told.read() as tx:
        return Tags(tag_key(tx))


def take(database, *texts):
    intake = Intake(database)
    answers = intake.take(list(texts))
    intake.close()
    assert [one for one in answers if "error" in one] == []
    return answers


def erased(database, tags, contact=ANN, note="request 12 under the CCPA"):
    return erase(database, metadata, tags, "acme", contact, actor="u1", note=note, now=NOON)


def said(entry):
    return json.dumps(entry.revealed(), ensure_ascii=False)


def test_an_erased_contacts_values_are_gone_and_every_proof_still_holds(told, tags):
    before = assert_whole(told, "acme")

    done = erased(told, tags)

    after = assert_whole(told, "acme")
    assert [one.leaf for one in after[:-1]] == [one.leaf for one in before]
    assert [one.body for one in after[:-1]] == [one.body for one in before]
    assert not any(ANN in said(one) or "Ann Doe" in said(one) for one in after)
    assert done.entries == sum(ANN in said(one) for one in before) > 5
    assert [one.problem for one in verify_ledgers(told)] == ["", ""]


def test_an_entry_says_what_was_erased_and_names_nobody(told, tags):
    done = erased(told, tags)

    facts = done.told.facts()
    assert (done.told.kind, facts["retention"], facts["actor"]) == (Kind.RETENTION, "erasure", "u1")
    assert len(facts["conversations"]) == done.conversations == 2
    assert done.told.revealed() == {"note": "request 12 under the CCPA"}
    assert b"1404" not in done.told.body


def test_others_keep_their_values_also_in_a_text_that_named_the_erased(told, tags):
    before = {one.id: one.revealed() for one in entries(told, "acme") if one.revealed().get("contact") == BO}
    [group] = [id for id, values in before.items() if "group" in values]

    erased(told, tags)

    after = {one.id: one.revealed() for one in entries(told, "acme") if one.id in before}
    assert "group" not in after[group]
    assert after == {id: {name: v for name, v in values.items() if name != "group"} for id, values in before.items()}


def test_no_table_beside_the_ledger_still_says_whose_it_was(told, tags):
    erased(told, tags)

    with told.read() as tx:
        rows = [row for table in metadata.sorted_tables for row in tx.exec_driver_sql(f"SELECT * FROM {table.name}")]
    cells = [cell if isinstance(cell, str) else bytes(cell).decode("utf-8", "replace")
             for row in rows for cell in row if isinstance(cell, str | bytes | memoryview)]  # fmt: skip
    assert len(cells) > 100
    assert [cell for cell in cells if ANN in cell] == []


def test_the_bytes_are_gone_from_the_database_file_too(make_sqlite_url, open_databases):
    url = make_sqlite_url()
    database = open_databases(url)
    found(database, "acme")
    take(database, *[text(f"Long secret {at} " * 40, contact=0, at=at) for at in range(60)], text("Hi", contact=1))
    path = Path(url.removeprefix("sqlite:///"))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert b"Long secret" in path.read_bytes()
    with database.read() as tx:
        tags = Tags(tag_key(tx))

    erased(database, tags)

    left = b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*") if file.suffix != ".db-shm")
    assert b"Long secret" not in left
    assert ANN.encode() not in left


def test_an_erased_contact_who_opted_out_stays_blocked(told, tags):
    erased(told, tags)

    [answer, other] = take(
        told, text("Ann, about your loan", sender="employee", contact=0, at=120),
        text("Another line", sender="employee", contact=8, line=5, at=121),
    )  # fmt: skip

    assert (answer["verdict"], answer["reason"]) == ("blocked", "opted_out")
    assert (other["verdict"], other["reason"]) == ("blocked", "opted_out")
    erased(told, tags, "+14045550008")
    [again] = take(told, text("Still?", sender="employee", contact=8, line=6, at=122))
    assert (again["verdict"], again["reason"]) == ("blocked", "opted_out")


def test_who_writes_again_after_the_erasure_is_recorded_with_the_number_again(told, tags):
    erased(told, tags)
    take(told, text("I am back", contact=0, at=200), text("YES", contact=0, at=260))

    newest = [one for one in entries(told, "acme") if one.kind in ("message", "auto_message", "decision")][-3:]

    assert {one.revealed()["contact"] for one in newest} == {ANN}
    assert erased(told, tags).entries >= 5
    assert not any(ANN in said(one) for one in entries(told, "acme"))


def test_the_states_replay_as_before(told, tags):
    before = {id: told_._replace(line="", contact="") for id, told_ in kept(told, "acme").items()}

    erased(told, tags)

    states = replay(entries(told, "acme"))
    assert {id: one._replace(line="", contact="") for id, one in states.items()} == before


def test_nothing_under_a_hold_is_erased_until_the_hold_is_lifted(told, tags):
    def set_(*covered, name):
        with told.write() as tx:
            set_hold(tx, tags, "acme", name, covered, actor="u1", note="subpoena", now=NOON)

    [id_] = [id for id, one in kept(told, "acme").items() if one.contact == ANN and one.group == "whatsapp"]
    [of_bo] = [id for id, one in kept(told, "acme").items() if one.contact == BO]
    for name, covered in {
        "contact": Covered(Cover.CONTACT, ANN), "conversation": Covered(Cover.CONVERSATION, id_),
        "all": Covered(Cover.ALL), "named-by-another": Covered(Cover.CONVERSATION, of_bo),
    }.items():  # fmt: skip
        set_(covered, name=name)
        before = entries(told, "acme")

        with pytest.raises(HeldError, match="legal hold"):
            erased(told, tags)

        assert entries(told, "acme") == before
        with told.write() as tx:
            lift_hold(tx, tags, "acme", name, None, actor="u1", note="over", now=NOON)
    assert erased(told, tags).entries > 5
    assert not any(ANN in said(one) for one in entries(told, "acme"))


def test_an_erasure_again_and_of_a_stranger_write_nothing(told, tags):
    erased(told, tags)
    before = entries(told, "acme")

    again, stranger = erased(told, tags), erased(told, tags, "+14045559999")

    assert (again.entries, again.told, stranger.entries, stranger.told) == (0, None, 0, None)
    assert entries(told, "acme") == before


def test_a_message_that_comes_again_is_answered_without_what_was_erased(told, tags):
    hello = text("Who is this?", contact=0, line=3, at=400)
    [first] = take(told, hello)
    erased(told, tags)

    [again] = take(told, hello)

    assert (again["verdict"], again["entries"]) == (first["verdict"], first["entries"])
    assert [one["text"] for one in again["auto_messages"]] == [None] * len(first["auto_messages"])


def test_what_is_owed_when_it_is_erased_arrives_without_values(told, tags):
    to = destination()
    erased(told, tags)

    tenure = deliver_all(told, to)

    assert tenure.refused == 0
    assert set_aside_for(told, to) == []
    assert owed_to(told, to) == 0
    assert promised(told, to) >= set(ids(told, "acme"))
