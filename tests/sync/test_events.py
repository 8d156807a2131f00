"""What happens beside the texts: hand-overs, requests that don't arrive, revocations by other means."""

import pytest

from consent.canonical import timestamp
from consent.ledger import read_entry
from consent.lines import set_line
from consent.organizations import create_organization, set_setting
from consent.tags import Tags
from sync.migrate import tag_key
from tests.sync.sync_world import NOON, SECOND, text

LINE, CONTACT = "+14155550000", "+14045550000"


def event(name, happened, *, at=600, **more):
    return {"id": name, "org": "acme", "event": happened, "at": timestamp(NOON + at * SECOND)} | more


def test_a_reassigned_number_begins_anew_and_the_evidence_is_kept(acme, intake):
    intake.take([text(sender="employee"), text("STOP", at=60)])

    answer = intake.take([event("r1", "number_reassigned", contact=CONTACT)])[0]
    asked = intake.take([text(sender="employee", at=700)])[0]

    assert answer["changed"] == [{"line": LINE, "contact": CONTACT, "channel": "text", "state": "none"}]
    assert asked["reason"] == "consent_requested"
    with acme.read() as tx:
        assert read_entry(tx, "acme", int(answer["entries"][0][-12:])).kind == "reassignment"


def test_a_reassignment_older_than_the_stop_changes_nothing(intake):
    intake.take([text(sender="employee"), text("STOP", at=900)])

    answer = intake.take([event("r1", "number_reassigned", contact=CONTACT, at=600)])[0]

    assert answer["changed"] == []
    assert intake.take([text(sender="employee", at=1_000)])[0]["reason"] == "opted_out"


def test_a_line_given_to_another_employee_begins_anew_and_a_stop_stays(intake):
    intake.take([text(sender="employee"), text("YES", at=60), text("STOP", at=60, contact=1)])

    given = event("l1", "line_reassigned", line=LINE, employee={"id": "e9", "name": "Bo Ray"})
    answer = intake.take([given])[0]
    asked, blocked = intake.take([text(sender="contact", at=700), text(sender="employee", at=700, contact=1)])

    assert [changed["state"] for changed in answer["changed"]] == ["none"]
    assert asked["auto_messages"][0]["text"].startswith("[Auto Message] You are trying to reach Bo Ray.")
    assert blocked["reason"] == "opted_out"


def test_another_employee_on_a_line_is_noticed_by_the_first_text(intake):
    intake.take([text(sender="employee"), text("YES", at=60)])

    answer = intake.take([text(sender="employee", at=120, employee={"id": "e9", "name": "Bo Ray"})])[0]

    assert (answer["verdict"], answer["reason"]) == ("blocked", "consent_requested")
    assert "Bo Ray" in answer["auto_messages"][0]["text"]


def test_a_request_that_cannot_arrive_leaves_the_contact_unasked_and_tells_the_employee(intake):
    asked, status = intake.take([
        first := text(sender="employee"),
        event("d0", "delivery_status", entry="acme-000000000099", status="delivered"),
    ])  # fmt: skip
    entry = asked["auto_messages"][0]["entry"]

    answer = intake.take([event("d1", "delivery_status", entry=entry, status="undeliverable", reason="landline")])[0]

    assert status["error"]["code"] == "invalid_message"
    assert [changed["state"] for changed in answer["changed"]] == ["none"]
    assert [sent["text"] for sent in answer["auto_messages"]] == [
        "[Auto Message] Your contact could not be sent the request to opt in: landline."
    ]
    assert intake.take([first])[0] == asked


def test_a_delivery_status_in_the_same_file_finds_its_entry(intake):
    asked = intake.take([text(sender="employee")])[0]
    entry = f"acme-{int(asked['entries'][-1][-12:]) + 2:012d}"

    answers = intake.take([
        text(sender="employee", contact=5), event("d1", "delivery_status", entry=entry, status="delivered")
    ])  # fmt: skip

    assert answers[0]["auto_messages"][0]["entry"] == entry
    assert answers[1]["changed"] == []
    assert len(answers[1]["entries"]) == 1


def test_a_revocation_on_the_telephone_is_a_stop_and_the_contact_is_told(intake):
    intake.take([text(sender="employee"), text("YES", at=60)])
    revoked = event("v1", "revoked", contact=CONTACT, line=LINE, channel="sms", scope="pair", note="called us")

    answer, again = intake.take([revoked, dict(revoked)])

    assert [sent["template"] for sent in answer["auto_messages"]] == ["mo.rejected.contact", "mo.rejected.employee"]
    assert again == answer
    assert intake.take([revoked])[0] == answer
    assert intake.take([{**revoked, "note": "wrote us"}])[0]["error"]["code"] == "id_conflict"
    assert intake.take([text(sender="employee", at=900)])[0]["reason"] == "opted_out"


def test_a_revocation_by_someone_nobody_has_texted_yet_holds_for_every_line(intake):
    answer = intake.take([event("v1", "revoked", contact=CONTACT, note="letter")])[0]

    assert len(answer["entries"]) == 1
    assert intake.take([text(sender="employee", at=900)])[0]["reason"] == "opted_out"
    assert intake.take([text(sender="employee", at=900, line=7)])[0]["reason"] == "opted_out"


def test_a_revocation_for_a_line_without_a_conversation_is_not_lost_beside_others(intake):
    intake.take([text(sender="employee"), text("YES", at=60)])

    answer = intake.take([event("v1", "revoked", contact=CONTACT, line="+14155550007", note="at the counter")])[0]

    kept, blocked = intake.take([text(sender="employee", at=900), text(sender="employee", at=900, line=7)])
    assert answer["changed"] == [{"line": "+14155550007", "contact": CONTACT, "channel": "text", "state": "opted_out"}]
    assert (kept["verdict"], blocked["reason"]) == ("delivered", "opted_out")


def decisions(database, answer):
    with database.read() as tx:
        entries = [read_entry(tx, "acme", int(one[-12:])) for one in answer["entries"]]
    return [entry.facts() for entry in entries if entry.kind == "decision"]


def test_a_revocation_of_everything_tells_the_contact_once_and_lists_all_that_it_closed(acme, intake):
    for line in (0, 1):
        intake.take([text(sender="employee", line=line), text("YES", at=60, line=line)])

    answer = intake.take([event("v1", "revoked", contact=CONTACT, note="letter")])[0]

    assert [(sent["to"], sent["line"]) for sent in answer["auto_messages"]] == [
        ("contact", LINE), ("employee", LINE), ("employee", "+14155550001"),
    ]  # fmt: skip
    first, second = decisions(acme, answer)
    assert len(first["closed"]) == 1
    assert second["elsewhere"]
    assert (first["scope"], second["scope"]) == ("org", "org")
    assert intake.take([text(sender="employee", at=900, line=2)])[0]["reason"] == "opted_out"


def test_a_revocation_reaches_as_far_as_the_organization_says(acme, intake):
    with acme.write() as tx:
        set_setting(tx, "acme", "opt_out_scope", "org", actor="test", now=NOON)
    for line in (0, 1):
        intake.take([text(sender="employee", line=line), text("YES", at=60, line=line)])

    answer = intake.take([event("v1", "revoked", contact=CONTACT, line=LINE, note="called")])[0]

    assert [one["line"] for one in answer["changed"]] == [LINE, "+14155550001"]
    assert [sent["to"] for sent in answer["auto_messages"]] == ["contact", "employee", "employee"]


def test_a_revocation_older_than_the_yes_in_force_is_written_down_and_changes_nothing(acme, intake):
    intake.take([text(sender="employee"), text("YES", at=900)])

    answer = intake.take([event("v1", "revoked", contact=CONTACT, line=LINE, note="called", at=600)])[0]

    assert (answer["changed"], answer["auto_messages"]) == ([], [])
    assert [(one["before"], one["after"], one["reason"]) for one in decisions(acme, answer)] == [
        ("opted_in", "opted_in", "late")
    ]
    assert intake.take([text(sender="employee", at=1_000)])[0]["verdict"] == "delivered"


@pytest.mark.parametrize("again", ["text", "event", "carrier", "elsewhere"])
def test_a_yes_sent_before_the_newest_stop_comes_too_late_however_that_came(intake, again):
    asked = intake.take([text(sender="employee"), text("STOP", at=60)])[0]
    intake.take([text(sender="employee", line=1), text("YES", at=60, line=1)])
    intake.take([{
        "text": text("STOP", at=900),
        "event": event("v1", "revoked", contact=CONTACT, line=LINE, at=900),
        "carrier": event("d1", "delivery_status", entry=asked["entries"][1], status="opted_out", at=900),
        "elsewhere": text("stop all", at=900, line=1),
    }[again]])  # fmt: skip

    late, text_late = intake.take([text("YES", at=600), text("I am back", at=650)])
    timely = intake.take([text("YES", at=1_000)])[0]

    assert (late["verdict"], late["reason"], late["state"]) == ("consumed", "late", "opted_out")
    assert (text_late["verdict"], text_late["auto_messages"]) == ("held", [])
    assert (timely["state"], timely["released"]) == ("opted_in", [text_late["id"]])


def test_a_line_that_stays_with_its_employee_changes_nothing(intake):
    intake.take([text(sender="employee"), text("YES", at=60)])

    same = intake.take([event("l1", "line_reassigned", line=LINE, employee={"id": "e0", "name": "Ann Lee"})])[0]
    older = intake.take([event("l2", "line_reassigned", line=LINE, employee={"id": "e9", "name": "Bo"}, at=-60)])[0]

    assert (same["changed"], older["changed"]) == ([], [])
    assert intake.take([text(sender="employee", at=900)])[0]["verdict"] == "delivered"


def test_a_text_of_another_employee_that_is_older_than_the_last_one_hands_nothing_over(intake):
    intake.take([text(sender="employee"), text("YES", at=60), text(sender="employee", at=300)])

    older = intake.take([text(sender="employee", at=200, employee={"id": "e9", "name": "Bo Ray"})])[0]
    newer = intake.take([text(sender="employee", at=300, employee={"id": "e9", "name": "Bo Ray"})])[0]

    assert older["verdict"] == "delivered"
    assert newer["reason"] == "consent_requested"


def test_a_reassignment_that_meets_no_conversation_is_written_down_with_its_actor(acme, intake):
    intake.take([event("v1", "revoked", contact=CONTACT, note="letter")])

    answer = intake.take([event("r1", "number_reassigned", contact=CONTACT, at=700, actor="ops")])[0]

    assert (answer["changed"], len(answer["entries"])) == ([], 1)
    with acme.read() as tx:
        entry = read_entry(tx, "acme", int(answer["entries"][0][-12:]))
    assert (entry.kind, entry.facts()["actor"], entry.revealed()["contact"]) == ("reassignment", "ops", CONTACT)
    assert intake.take([text(sender="employee", at=900)])[0]["reason"] == "consent_requested"


def test_a_reassignment_older_than_the_request_leaves_who_was_asked_by_it(intake):
    intake.take([text(sender="employee"), text("STOP", at=60), text("Hello, who is this?", at=900)])

    answer = intake.take([event("r1", "number_reassigned", contact=CONTACT, at=600)])[0]

    assert answer["changed"] == []
    assert intake.take([text("YES", at=1_000)])[0]["state"] == "opted_in"


def test_stop_all_tells_each_employee_once_whatever_the_channel(intake):
    for line, channel in ((0, "sms"), (0, "whatsapp"), (1, "whatsapp")):
        intake.take([text(sender="employee", line=line, channel=channel),
                     text("YES", at=60, line=line, channel=channel)])  # fmt: skip

    answer = intake.take([text("STOPALL", at=120)])[0]

    assert [(sent["to"], sent.get("line"), sent.get("channel")) for sent in answer["auto_messages"]] == [
        ("contact", None, None), ("employee", None, None), ("employee", "+14155550001", "whatsapp"),
    ]  # fmt: skip
    blocked = [text(sender="employee", at=200, line=line, channel="whatsapp") for line in (0, 1)]
    assert [one["reason"] for one in intake.take(blocked)] == ["opted_out", "opted_out"]


def test_a_group_that_names_one_contact_in_two_forms_is_no_group(intake):
    intake.take([text(sender="employee"), text("YES", at=60)])

    one, two = intake.take([
        text(sender="employee", at=100, group=[CONTACT, "(404) 555-0000"]),
        text(sender="employee", at=200, group=["+14045550009"]),
    ])  # fmt: skip

    assert one["verdict"] == "delivered"
    assert (two["verdict"], two["reason"]) == ("blocked", "group")


def test_a_text_to_the_main_organization_finds_the_sub_organization_of_its_line(acme, intake):
    with acme.write() as tx:
        create_organization(tx, "acme-east", "East", parent="acme", actor="test", now=NOON)
        set_line(tx, Tags(tag_key(tx)), "acme", LINE, "e7", "Eve Sun", sub_organization="acme-east", actor="test",
                 now=NOON)  # fmt: skip

    answer = intake.take([text("Hello", employee=None)])[0]

    assert answer["auto_messages"][0]["text"].startswith("[Auto Message] You are trying to reach Eve Sun.")
    with acme.read() as tx:
        facts = read_entry(tx, "acme", int(answer["entries"][0][-12:])).facts()
    assert facts["sub_organization"] == "acme-east"


def test_stop_all_closes_every_line_and_the_lines_to_come(intake):
    for line in (0, 1):
        intake.take([text(sender="employee", line=line), text("YES", at=60, line=line)])

    answer = intake.take([text("stop all", at=120)])[0]

    assert [(sent["to"], sent.get("line")) for sent in answer["auto_messages"]] == [
        ("contact", None), ("employee", None), ("employee", "+14155550001"),
    ]  # fmt: skip
    blocked = intake.take([text(sender="employee", at=200, line=line) for line in (0, 1, 2)])
    assert [one["reason"] for one in blocked] == ["opted_out"] * 3
    assert all(one["auto_messages"] == [] for one in blocked)


def test_an_event_that_is_none_is_answered_in_its_place(intake):
    answers = intake.take([
        event("x1", "vanished"),
        event("x2", "number_reassigned"),
        event("x3", "number_reassigned", contact="nobody"),
        event("x4", "delivery_status", entry="acme-1", status="delivered"),
        event("x5", "revoked", contact=CONTACT, scope="planet"),
        text("Hi"),
    ])  # fmt: skip

    assert [one.get("error", {}).get("code") for one in answers] == [
        "invalid_message", "invalid_number", "invalid_number", "invalid_message", "invalid_message", None,
    ]  # fmt: skip


def test_a_name_that_no_column_can_hold_is_mended_and_the_event_is_taken(intake):
    intake.take([text(sender="employee"), text("YES", at=60)])
    given = event("l1", "line_reassigned", line=LINE, employee={"id": "e\x009", "name": "B\x00o \ud83d"})

    answer = intake.take([given])[0]

    assert [changed["state"] for changed in answer["changed"]] == ["none"]


def test_a_confirmation_names_the_decision_that_it_confirms(acme, intake):
    answers = intake.take([text(sender="employee"), text("YES", at=60), text("STOP", at=120)])

    for answer in answers[1:]:
        _, decision, confirmation, notice = answer["entries"]
        with acme.read() as tx:
            facts, told = (read_entry(tx, "acme", int(one[-12:])).facts() for one in (confirmation, notice))
        assert (facts["confirms"], facts["seconds_after"]) == (decision, 0)
        assert "confirms" not in told
