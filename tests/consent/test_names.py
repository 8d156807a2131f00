"""Contacts are found by what they are called, and no longer once they were erased."""

import pytest

from consent.erasure import erase
from consent.names import find_contacts, fold
from consent.organizations import create_organization
from consent.searching import by_name, by_number, met
from consent.tags import Tags
from sync.intake import Intake
from sync.migrate import tag_key
from sync.schema import metadata


@pytest.fixture
def taken(database):
    """An organization with three contacts, one of whom is called two names."""
    with database.write() as tx:
        create_organization(tx, "acme", "Acme", parent=None, actor="test", now=1)
    intake = Intake(database)
    said = [
        ("+14045550123", "Grace Kim"), ("+14045550124", "José-María d'Été"), ("+14045550125", "Kimberly Ång"),
        ("+14045550123", "G. Kim"),
    ]  # fmt: skip
    for at, (contact, name) in enumerate(said):
        [answer] = intake.take([{
            "id": f"m{at}", "org": "acme", "channel": "sms", "sender": "contact", "line": "+14155550100",
            "employee": {"id": "e1", "name": "Ann Lee"}, "contact": contact, "contact_name": name, "text": f"Hi {at}",
            "sent_at": f"2026-11-23T10:0{at}:00Z",
        }])  # fmt: skip
        assert "error" not in answer
    intake.close()
    return database


def numbers(database, name):
    with database.read() as tx:
        return sorted({one.conversation.contact[-3:] for one in by_name(tx, "acme", name)})


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("grace", ["123"]), ("KIM", ["123", "125"]), ("kim g", []), ("g kim", ["123"]), ("jose", ["124"]),
        ("maria d ete", ["124"]), ("ang", ["125"]), ("ann", ["123", "124", "125"]), ("race", []), ("%", []), ("", []),
    ],
)  # fmt: skip
def test_a_contact_is_found_by_the_beginning_of_any_word(taken, typed, found):
    assert numbers(taken, typed) == found


def test_a_contact_is_called_by_its_newest_name(taken):
    with taken.read() as tx:
        [one] = met(tx, "acme", by_number(tx, Tags(tag_key(tx)), "acme", "+14045550123"))

    assert (one.contact_name, one.employee_name) == ("G. Kim", "Ann Lee")


def test_who_was_erased_is_found_by_no_name_until_they_write_again(taken):
    with taken.read() as tx:
        tags = Tags(tag_key(tx))
    erase(taken, metadata, tags, "acme", "+14045550123", actor="test", note="asked for", now=2)

    with taken.read() as tx:
        assert find_contacts(tx, ["acme"], "grace", 10) == find_contacts(tx, ["acme"], "g kim", 10) == []
        assert tx.exec_driver_sql("SELECT count(*) FROM contact_name WHERE name LIKE '%%Kim'").scalar_one() == 0
    assert numbers(taken, "kimb") == ["125"]


def test_names_fold_alike_whatever_their_case_marks_and_punctuation():
    assert fold("  José-María  d'ÉTÉ ") == b"jose maria d ete"
    assert fold("<script>") == b"script"
    assert fold("🙂") == b""
