"""What stands in Salesforce of an entry, and that what is read back compares as what was sent."""

import hashlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.salesforce.fields import ENTRY_FIELDS, FACT_FIELDS, PERSONAL_FIELDS
from connectors.salesforce.mapping import digest_of, row_of, run_records
from connectors.salesforce.normalize import FieldType, line, moment, normalized, paragraph, sendable
from consent.entry import Record, leaf_of, seal
from consent.kinds import Kind
from sync.port import Statement

NOON = 1_795_428_000_000_000
BODY = {
    "verdict": "consumed", "reason": "opt_out", "decision": "opted_out", "before": "opted_in", "after": "opted_out",
    "origin": "mo", "word": "STOP", "tier": "keyword", "template": "mo.rejected.contact", "template_version": 2,
    "template_sha256": "ab" * 32, "language": "en", "channel": "sms", "source": "contact", "actor": "token-1",
    "answers": "acme-000000000001", "flags": ["duplicate", "clock_ahead"], "scope": "pair", "sender": "contact",
    "sub_organization": "acme-west", "to": "contact", "status": "delivered",
}  # fmt: skip
VALUES = {
    "contact": "+14045550123", "contact_name": "Bob", "line": "+14155550100", "employee_id": "e1",
    "employee_name": "Ann Lee", "message_id": "SM1", "text": "STOP", "note": "by telephone",
    "media": [{"name": "a.png", "content_type": "image/png", "sha256": "00"}],
}  # fmt: skip


def record_of(entry, *given):
    """Return an entry's record as it is sent, and its digest."""
    row = row_of(entry, *given)
    return orjson.loads(row.json), row.digest


def entry_of(body=BODY, values=VALUES, kind=Kind.DECISION, seq=7):
    record = Record(kind, NOON + 412_345, body, values, "conversation-1", 3)
    return seal(record, "acme", seq, seq, NOON + 999_999, bytes(16 * len(values)))


def read_back(record):
    """Return a record as an org answers it: numbers as doubles, times its own way, empty fields as null."""
    row = {"Id": "a0X000000000001AAA", **{field.name: record.get(field.name) for field in ENTRY_FIELDS}}
    for field in ENTRY_FIELDS:
        value = row[field.name]
        if field.type is FieldType.NUMBER and value is not None:
            row[field.name] = float(value)
        if field.type is FieldType.MOMENT:
            row[field.name] = value.replace("Z", "+0000")
        if field.type is FieldType.PARAGRAPH and value is not None:
            row[field.name] = value.strip().replace("\r\n", "\n").replace("\n", "\r\n").replace("\0", "") or None
    return row


def test_every_fact_and_value_of_an_entry_stands_in_its_field():
    record, _ = record_of(entry_of())

    assert record["Entry_Id__c"] == "acme-000000000007"
    assert record["Occurred_At__c"] == "2026-11-23T10:00:00.000Z"
    assert record["Occurred_At_Exact__c"] == "2026-11-23T10:00:00.412345Z"
    assert record["Flags__c"] == "duplicate clock_ahead"
    assert record["Template_Version__c"] == "2"
    assert record["Contact_Number__c"] == "+14045550123"
    assert orjson.loads(record["Media__c"])[0]["name"] == "a.png"
    assert {field.name for field in (*FACT_FIELDS, *PERSONAL_FIELDS)} <= set(record)
    assert set(record) <= {"attributes", *(field.name for field in ENTRY_FIELDS)}


def test_the_leaf_hash_can_be_made_again_from_the_record_alone():
    entry = entry_of()
    record, _ = record_of(entry)

    members = (
        f'{{"body":{record["Facts__c"]},"conversation":"{record["Conversation__c"]}","kind":"{record["Kind__c"]}",'
        f'"lane":"{record["Lane__c"]}","occurred_at":"{record["Occurred_At_Exact__c"]}",'
        f'"organization":"{record["Organization__c"]}","pos":{record["Pos__c"]},'
        f'"recorded_at":"{record["Recorded_At_Exact__c"]}","seq":{record["Seq__c"]},"version":{record["Version__c"]}}}'
    )

    assert hashlib.sha256(b"\0" + members.encode()).hexdigest() == record["Leaf_Hash__c"] == leaf_of(entry).hex()


@pytest.mark.parametrize("kind", list(Kind))
def test_an_entry_of_every_kind_has_a_record_that_reads_back_alike(kind):
    change = {"setting": "languages", "before": ["en"], "after": {"languages": ["en", "fr"]}, "actor": "host:1", "n": 4}

    record, digest = record_of(entry_of(change, {}, kind))

    assert record["Kind__c"] == kind.value
    assert digest_of(read_back(record)) == digest


def test_a_fact_that_does_not_fit_its_column_stands_whole_among_the_facts():
    long = "word " * 100

    record, digest = record_of(entry_of({"before": long, "after": "off"}, {}, Kind.SETTING))

    assert "Before__c" not in record
    assert orjson.loads(record["Facts__c"])["before"] == long
    assert digest_of(read_back(record)) == digest


def test_an_erased_entry_clears_what_it_left_in_salesforce():
    values = {**VALUES, "before": "Ann Lee", "after": "Ann Smith"}
    entry = entry_of({"decision": "opted_out"}, values)

    record, digest = record_of(entry._replace(values=None))

    assert {name for name, value in record.items() if value is None} == {
        "Before__c", "After__c", *(field.name for field in PERSONAL_FIELDS)
    }  # fmt: skip
    assert record["Decision__c"] == "opted_out"
    assert digest_of(read_back(record)) == digest
    assert record_of(entry)[0]["Before__c"] == "Ann Lee"


def test_a_disposed_entry_still_has_a_record():
    record, digest = record_of(entry_of()._replace(values=None, body=None))

    assert record["Leaf_Hash__c"]
    assert digest_of(read_back(record)) == digest


@pytest.mark.parametrize("field", [f.name for f in ENTRY_FIELDS if f.compared])
def test_a_change_of_any_field_in_salesforce_changes_the_digest(field):
    record, digest = record_of(entry_of())
    row = read_back(record)

    row[field] = 8 if isinstance(row[field], float) else ("2027" + row[field][4:] if "_At" in field else "other")

    assert digest_of(row) != digest


@given(
    text=st.sampled_from(["Hi", "a|b", "100 %s", "é", "👋🏽", " a", "a ", "", '"', "\\", "\n", "\x7f", "\u2028", '"}'])
    | st.text(max_size=20),
    verdict=st.sampled_from(["x", "y" * 43, "z" * 42 + '"', "%s", 'text":{"commit":"' + "z" * 43 + '"}', 0]),
    at=st.integers(10**13, 2**53 - 1),
)
def test_an_entry_like_many_others_has_the_record_that_it_would_have_alone(text, verdict, at):
    values = {"contact": "+14045550123", "employee_name": "Ann Lee", "text": text}
    body = {"before": "none", "sent_at": at, "verdict": verdict}
    row_of(entry_of({**body, "sent_at": NOON}, {**values, "text": "one before"}))

    remembered = row_of(entry_of(body, values))

    # A second long text keeps an entry from having a form.
    alone, digest = record_of(entry_of(body, {**values, "media": "m"}))
    record = orjson.loads(remembered.json)
    told_otherwise = {"Media__c", "Facts__c", "Leaf_Hash__c"}
    assert {k: v for k, v in record.items() if k not in told_otherwise} == {
        k: v for k, v in alone.items() if k not in told_otherwise
    }
    assert digest_of(read_back(record)) == remembered.digest != digest


@given(
    texts=st.dictionaries(
        st.sampled_from([str(field.source) for field in PERSONAL_FIELDS]),
        st.sampled_from(['"', "\\", "a\nb", "\x7f", " a", "a ", "", "|", "| a", "%s", "é", "a\u2028b"])
        | st.text(max_size=20),
        max_size=3,
    ),
    before=st.sampled_from(['a\\"b', '":123456789012345678', '{"commit":"x"}', "{}"]) | st.text(max_size=20),
    scope=st.sampled_from([True, 1, NOON, ["a"], [{"commit": "x"}], {"sent_at": NOON}, {"then": {"commit": "x"}}]),
)
def test_every_fact_and_text_stands_in_its_field_whatever_stands_beside_it(texts, before, scope):
    entry = entry_of({"before": before, "scope": scope, "received_at": NOON, "answers": "acme-000000000001"}, texts)

    record, digest = record_of(entry)

    for field in PERSONAL_FIELDS:
        text = texts.get(field.source)
        kept = None if text is None else normalized(text, field.type)
        # Of a long text, what Salesforce itself would change is left to it.
        is_kept = kept == text or field.type is FieldType.LINE
        assert record.get(field.name) == (kept if is_kept else sendable(text))
    assert record.get("Before__c") == line(before)
    assert record["Scope__c"] == ("a" if scope == ["a"] else orjson.dumps(scope).decode())
    assert record["Answers__c"] == "acme-000000000001"
    assert digest_of(read_back(record)) == digest


def test_the_portal_link_is_sent_and_not_compared():
    with_link, digest = record_of(entry_of(), "https://assent.example.com")

    assert with_link["Portal_Link__c"] == "https://assent.example.com/portal/entries/acme-000000000007"
    assert digest_of(read_back(with_link)) == digest == record_of(entry_of())[1]


def test_a_text_is_sent_as_it_is_but_for_what_no_record_can_carry():
    text = '  Hi 👋🏽\r\nשלום "quoted"\t\0\x07 '

    record, digest = record_of(entry_of(values={"text": text}))

    assert record["Text__c"] == text.replace("\0", "").replace("\x07", "")
    assert digest_of(read_back(record)) == digest


@given(st.text())
def test_any_text_normalizes_the_same_twice_and_after_what_an_org_does_to_it(text):
    for normal in (line, paragraph):
        once = normal(text)
        assert once is None or normal(once) == once
    kept = text.strip().replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").replace("\n", "\r\n").strip()
    assert paragraph(kept) == paragraph(text)


@pytest.mark.parametrize(
    "text", ["2026-11-23T10:00:00.000+0000", "2026-11-23T10:00:00.000Z", "2026-11-23T12:00:00.000+0200"]
)
def test_times_are_compared_in_utc_and_whole_seconds(text):
    assert moment(text) == "2026-11-23T10:00:00.000Z"


def test_a_value_of_an_unexpected_type_is_a_drift_and_no_fault():
    assert normalized("five", FieldType.NUMBER) == "five"
    assert normalized(5, FieldType.MOMENT) == 5


def test_a_statement_becomes_one_sync_run_for_each_lane():
    statement = Statement("acme", 9, bytes(32), {"consent": (6, 5), "audit": (3, 3)}, NOON, "signed")

    records = run_records(statement)

    assert [(r["Run_Key__c"], r["Lane_Size__c"], r["Settled__c"]) for r in records] == [
        ("acme-consent", 6, 5), ("acme-audit", 3, 3)
    ]  # fmt: skip
    assert records[0]["Closed_At__c"] == "2026-11-23T10:00:00.000Z"
    assert records[0]["Root__c"] == "00" * 32
