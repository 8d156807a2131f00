"""What an export is asked for is what it holds, found by an index."""

import pytest

from consent.database import open_database
from consent.holds import Cover, Covered, set_hold
from consent.organizations import create_organization
from consent.tags import Tags
from jobs.asking import QuestionError
from jobs.exporting.selection import Filters, read, select
from sync.intake import Intake
from sync.migrate import tag_key
from tests.jobs.export_world import ANN, BO, CY, fill
from tests.sync.sync_world import entries, found, text


@pytest.fixture
def told(database, database_url):
    """The ledger of `fill`, and one of another organization with the same contact."""
    found(database, "acme", "globex")
    fill(database_url)
    intake = Intake(database)
    intake.take([text("Hi", contact=0, org="globex")])
    intake.close()
    return database


def chosen(database, **filters):
    with database.read() as tx:
        found_ = select(tx, Tags(tag_key(tx)), Filters(**filters))
    looked = []
    return list(read(database, found_, looked.append)), sum(looked), sum(one.most for one in found_)


def contacts(found_):
    return {one.revealed().get("contact") for one in found_}


def test_nothing_asked_is_everything_in_order(told):
    found_, looked, most = chosen(told)

    assert found_ == entries(told)
    assert looked == most == len(found_)


def test_a_contact_is_exported_with_every_line_channel_and_organization(told):
    found_, looked, _ = chosen(told, contact="(404) 555-0000", organization=None)

    assert contacts(found_) == {ANN}
    assert {one.organization for one in found_} == {"acme", "globex"}
    assert {one.revealed()["line"] for one in found_} == {"+14155550000", "+14155550001"}
    assert len({one.conversation for one in found_}) == 3
    assert found_ == [one for one in entries(told) if one.revealed().get("contact") == ANN]
    assert looked < len(entries(told))


def test_a_revocation_that_met_no_conversation_is_among_its_contacts_entries(told):
    found_, _, _ = chosen(told, contact=CY, organization="acme")

    assert [(one.kind, one.revealed()["note"]) for one in found_] == [("decision", "by mail, of 3 May")]


def test_a_line_an_employee_and_a_conversation_are_exported(told):
    of_line, _, _ = chosen(told, line="+14155550001", organization="acme")
    of_employee, _, _ = chosen(told, employee="e7", organization="acme")
    of_other, _, _ = chosen(told, employee="e0", organization="acme")
    of_conversation, _, _ = chosen(told, conversation=of_line[0].conversation)

    assert {one.revealed()["line"] for one in of_line} == {"+14155550001"}
    assert contacts(of_line) == {ANN, BO}
    assert {one.revealed()["employee_id"] for one in of_employee} == {"e7"}
    assert contacts(of_employee) == {ANN, BO}
    assert {one.revealed().get("employee_id") for one in of_other} <= {"e0", None}
    assert contacts(of_other) == {ANN}
    assert {one.conversation for one in of_conversation} == {of_line[0].conversation}
    assert chosen(told, employee="nobody")[0] == []


def test_an_employee_is_found_on_a_line_that_is_another_employees_now(told):
    intake = Intake(told)
    intake.take([
        text("I have this line now", sender="employee", contact=1, line=1, at=900, employee={"id": "e8", "name": "Di"}),
        # Came late: sent while another employee had the line.
        text("From before", sender="employee", contact=1, line=1, at=505, employee={"id": "e9", "name": "Ed"}),
    ])  # fmt: skip
    intake.close()

    assert {one.revealed()["employee_id"] for one in chosen(told, employee="e7")[0] if one.values} == {"e7"}
    assert "From before" in {one.revealed().get("text") for one in chosen(told, employee="e9")[0]}
    assert "I have this line now" in {one.revealed().get("text") for one in chosen(told, employee="e8")[0]}


def test_a_hold_is_exported_with_what_it_covers_and_what_set_it(told):
    with told.write() as tx:
        tags = Tags(tag_key(tx))
        covered = [Covered(Cover.CONTACT, BO), Covered(Cover.CONTACT, CY)]
        set_hold(tx, tags, "acme", "case-7", covered, actor="u1", note="subpoena", now=2)

    found_, _, _ = chosen(told, hold="case-7")

    assert {one.organization for one in found_} == {"acme"}
    assert contacts(found_) == {BO, CY}
    assert [one.facts()["hold"] for one in found_ if one.kind == "retention"] == ["case-7", "case-7"]
    mine = [one for one in entries(told, "acme") if one.revealed().get("contact") in (BO, CY)]
    assert found_ == mine


def test_lane_kind_and_time_are_looked_up_and_not_read_through(told):
    every = entries(told, "acme")
    middle = every[len(every) // 2].recorded_at

    audit, looked, _ = chosen(told, organization="acme", lane="audit")
    decisions, looked_too, _ = chosen(told, organization="acme", kind="decision")
    window, at_most, _ = chosen(told, organization="acme", since=middle, until=every[-1].recorded_at)
    both, _, _ = chosen(told, organization="acme", since=middle, kind="message")

    assert audit == [one for one in every if one.lane == "audit"]
    assert decisions == [one for one in every if one.kind == "decision"]
    assert (looked, looked_too) == (len(audit), sum(one.lane == "consent" for one in every))
    assert window == [one for one in every if middle <= one.recorded_at < every[-1].recorded_at]
    assert at_most == len(window)
    assert both == [one for one in every if one.kind == "message" and one.recorded_at >= middle]
    assert chosen(told, organization="acme", since=every[-1].recorded_at + 1)[0] == []
    assert chosen(told, organization="acme", until=0, lane="consent")[0] == []


def test_filters_meet(told):
    found_, _, _ = chosen(told, organization="acme", contact=ANN, line="+14155550001", kind="message")

    assert [(one.revealed()["text"], one.facts()["channel"]) for one in found_] == [("Hi", "whatsapp")]


def test_a_sub_organization_has_its_own_entries(told):
    with told.write() as tx:
        create_organization(tx, "acme-west", "West", parent="acme", actor="test", now=1)
    intake = Intake(told)
    intake.take([text("Hi from the west", contact=4, line=4, org="acme-west")])
    intake.close()

    found_, _, _ = chosen(told, organization="acme-west")

    assert {one.facts().get("sub_organization") or one.facts().get("id") for one in found_} == {"acme-west"}
    assert "Hi from the west" in {one.revealed().get("text") for one in found_}


@pytest.mark.parametrize(
    ("filters", "why"),
    [
        ({"organization": "nobody"}, "assent org list"),
        ({"hold": "case"}, "assent hold list"),
        ({"contact": "12"}, "contact"),
    ],
)
def test_what_is_not_known_is_said(told, filters, why):
    with pytest.raises(QuestionError, match=why):
        chosen(told, **filters)


def test_no_filter_makes_a_plan_that_reads_the_whole_ledger(make_sqlite_url, open_databases):
    url = make_sqlite_url()
    database = open_databases(url)
    found(database, "acme")
    fill(url)
    statements = []
    database.engine.echo = False
    from sqlalchemy import event

    seen = []
    event.listen(database.engine, "connect", lambda connection, _: connection.set_trace_callback(seen.append))
    database.engine.dispose()
    for filters in (
        {"contact": ANN}, {"line": "+14155550001"}, {"employee": "e7"}, {"lane": "audit"}, {"kind": "decision"},
        {"since": 10, "until": 20}, {"organization": "acme", "contact": ANN, "since": 5},
    ):  # fmt: skip
        chosen(database, **filters)
    statements = {one for one in seen if one.lstrip().startswith("SELECT") and " entry " in one}

    with open_database(url).read() as tx:
        plans = [str(row[3]) for one in statements for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {one}")]

    assert len(statements) > 8
    assert [plan for plan in plans if plan.startswith("SCAN entry")] == []
