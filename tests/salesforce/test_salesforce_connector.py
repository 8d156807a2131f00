"""Delivery to an org, its faults, and reading back, over TLS sockets to a process of its own."""

import time
import traceback

import pytest

from sync.port import Delay, Receipt, Refusal, Statement, StatementRefusedError, SuspendedError, TransientError

OBJECT = "Assent_Entry__c"
NASTY = [
    "STOP", "Hi 👋🏽👩‍👩‍👧‍👦 ok?", "first\nsecond\r\nthird\rfourth", "she said \"no\" and 'yes' \\ {x} <b>&amp;</b>",
    "long " * 320, "שלום עולם مرحبا \u202eabc\u202c", "nul\0inside", "  leading and trailing  ", "\n\n", "", " ",
    "\ttab\there", "\x07bell\x1b[31m", "e\u0301 é ﬁ", "\u2028line\u2029para\x85next", "𝕊𝕋𝕆ℙ", "'); DROP TABLE x; --",
]  # fmt: skip


def held_of(connector, last=1000):
    return list(connector.find("acme", "consent", 0, last))


def test_every_nasty_text_arrives_and_reads_back_with_the_digest_of_its_receipt(
    org, salesforce, make_entries, batch_of
):
    entries = make_entries(NASTY, contact_name="  Bob\t O'Neil\n", employee_name="Ann 👩 Lee")

    receipts = salesforce.push(batch_of(entries))

    held = held_of(salesforce)
    assert [type(each) for each in receipts] == [Receipt] * len(NASTY)
    assert [(each.seq, each.pos, each.remote_id, each.digest) for each in held] == [
        (entry.seq, entry.pos, receipt.remote_id, receipt.digest)
        for entry, receipt in zip(entries, receipts, strict=True)
    ]
    stored = {row["Entry_Id__c"]: row["Text__c"] for row in org.rows(OBJECT)}
    assert stored["acme-000000000001"] == NASTY[1]
    assert stored["acme-000000000003"] == NASTY[3]
    assert stored["acme-000000000004"] == NASTY[4].strip()
    assert stored["acme-000000000005"] == NASTY[5]


def test_an_org_with_other_line_ends_reads_back_the_same(org, salesforce, make_entries, batch_of):
    org.settings(line_end="\r\n")

    receipts = salesforce.push(batch_of(make_entries(NASTY)))

    assert [each.digest for each in held_of(salesforce)] == [each.digest for each in receipts]


def test_pushing_the_same_entries_again_leaves_one_record_each(org, salesforce, make_entries, batch_of):
    batch = batch_of(make_entries(NASTY))

    first, second = salesforce.push(batch), salesforce.push(batch)

    assert first == second
    assert org.counts()[OBJECT] == len(NASTY)


def test_an_entry_that_stands_twice_in_a_batch_gets_one_record_and_two_receipts(
    org, salesforce, make_entries, batch_of
):
    entries = make_entries(["a", "b"])

    outcomes = salesforce.push(batch_of([*entries, entries[0]]))

    assert outcomes[0] == outcomes[2] != outcomes[1]
    assert org.counts()[OBJECT] == 2


def test_ten_thousand_entries_take_fifty_calls_and_one_login(org, salesforce, make_entries, batch_of):
    entries = make_entries(["text"] * 400)

    for start in (0, 200):
        salesforce.push(batch_of(entries[start : start + 200]))

    routes = [each["route"] for each in org.journal()["requests"]]
    assert routes == ["token", "collections", "collections"]


def test_a_lost_answer_leaves_one_record(org, salesforce, make_entries, batch_of):
    fault = org.arm(route="collections", cut="after")

    outcomes = salesforce.push(batch_of(make_entries(["a", "b"])))

    assert org.struck(fault) == 1
    assert all(isinstance(each, Receipt) for each in outcomes)
    assert org.counts()[OBJECT] == 2


@pytest.mark.parametrize(
    "fault",
    [{"cut": "before"}, {"half": True}, {"gzip_broken": True}, {"status": 503, "html": True},
     {"status": 420, "html": True}, {"status": 500, "errorCode": "UNKNOWN_EXCEPTION", "message": "ErrorId"},
     {"status": 502}, {"status": 429}],
    ids=str,
)  # fmt: skip
def test_a_passing_trouble_is_ridden_out_in_the_push_and_a_lasting_one_is_transient(
    org, salesforce, make_entries, batch_of, fault
):
    batch = batch_of(make_entries(["a"]))

    org.arm(route="collections", **fault)
    outcomes = salesforce.push(batch)
    assert isinstance(outcomes[0], Receipt)

    org.arm(route="collections", times=0, **fault)
    with pytest.raises(TransientError) as caught:
        salesforce.push(batch)
    assert "ErrorId" not in str(caught.value)
    assert org.counts()[OBJECT] == 1


def test_a_wait_that_salesforce_asks_for_is_handed_on(org, salesforce, make_entries, batch_of):
    fault = org.arm(route="collections", status=503, headers={"Retry-After": "120"}, times=0)

    with pytest.raises(TransientError) as caught:
        salesforce.push(batch_of(make_entries(["a"])))

    assert caught.value.retry_after == 120.0
    assert org.struck(fault) == 1


@pytest.mark.parametrize("route", ["token", "collections"])
def test_a_mute_server_is_given_up_after_the_timeout(org, connect, make_entries, batch_of, route):
    fault = org.arm(route=route, mute="before", times=0)

    with pytest.raises(TransientError) as caught:
        connect(read_timeout=0.2).push(batch_of(make_entries(["a"])))

    assert caught.value.code == "timeout"
    assert org.struck(fault) >= 1


@pytest.mark.parametrize("status", [400, 403, 500])
def test_no_number_name_or_text_reaches_an_error_or_a_log(org, connect, make_entries, batch_of, capfd, status):
    quoted = "Ann Lee +14045550123 wrote STOP IT NOW"
    org.arm(route="collections", status=status, errorCode=quoted, message=quoted, times=0)
    org.arm(route="describe", status=status, errorCode=quoted, message=quoted, times=0)
    connector = connect()
    batch = batch_of(make_entries(["STOP IT NOW", "b"], employee_name="Ann Lee"))

    said, causes = [], []
    try:
        said.append(repr(connector.push(batch)))
    except (SuspendedError, TransientError) as error:
        said += traceback.format_exception(error)
        causes = [error.__cause__, error.__context__]
    said.append(repr(connector.check()))

    assert set(causes) <= {None}
    heard = "".join([*said, *capfd.readouterr()])
    assert heard
    assert not [word for word in ("Ann", "404555", "STOP IT") if word in heard]


def test_an_outage_is_transient(org, connect, make_entries, batch_of):
    with pytest.raises(TransientError) as caught:
        connect(login_url="https://127.0.0.1:1").push(batch_of(make_entries(["a"])))

    assert caught.value.code == "connection"


LOCKED = {"key": "acme-000000000001", "statusCode": "UNABLE_TO_LOCK_ROW",
          "message": "unable to obtain exclusive access to this record or 1 records: 001"}  # fmt: skip


def rows_of_calls(org):
    return [each["rows"] for each in org.journal()["requests"] if each["route"] == "collections"]


def test_a_locked_row_goes_once_more_alone(org, salesforce, make_entries, batch_of):
    fault = org.arm(row=LOCKED)

    outcomes = salesforce.push(batch_of(make_entries(["a", "b", "c"])))

    assert org.struck(fault) == 1
    assert [type(each) for each in outcomes] == [Receipt, Receipt, Receipt]
    assert rows_of_calls(org) == [3, 1]


def test_a_row_that_stays_locked_is_delayed_and_the_others_are_settled(org, salesforce, make_entries, batch_of):
    fault = org.arm(row=LOCKED, times=0)

    outcomes = salesforce.push(batch_of(make_entries(["a", "b", "c"])))

    assert org.struck(fault) == 3
    assert [type(each) for each in outcomes] == [Receipt, Delay, Receipt]
    assert outcomes[1].code == "UNABLE_TO_LOCK_ROW"


def test_an_outage_while_a_locked_row_goes_once_more_takes_nothing_from_the_others(
    org, salesforce, make_entries, batch_of
):
    org.arm(row=LOCKED)
    fault = org.arm(route="collections", nth=2, times=0, cut="before")

    outcomes = salesforce.push(batch_of(make_entries(["a", "b", "c"])))

    assert org.struck(fault) >= 1
    assert [type(each) for each in outcomes] == [Receipt, Delay, Receipt]


def test_a_duplicate_of_our_own_key_is_pushed_once_more_at_once(org, salesforce, make_entries, batch_of):
    org.arm(row={"key": "acme-000000000001", "statusCode": "DUPLICATE_VALUE",
                 "message": "duplicate value found: Entry_Id__c duplicates value on record with id: a0X"})  # fmt: skip

    outcomes = salesforce.push(batch_of(make_entries(["a", "b", "c"])))

    assert [type(each) for each in outcomes] == [Receipt, Receipt, Receipt]
    assert [each.get("rows") for each in org.journal()["requests"] if each["route"] == "collections"] == [3, 1]


def test_a_text_longer_than_its_field_is_refused_alone(org, salesforce, make_entries, batch_of):
    outcomes = salesforce.push(batch_of(make_entries(["a", "x" * 32_769, "c"])))

    assert [type(each) for each in outcomes] == [Receipt, Refusal, Receipt]
    assert outcomes[1].code == "STRING_TOO_LONG"
    assert "xxx" not in outcomes[1].advice
    assert "no field of the package holds it" in outcomes[1].advice  # deploying again, as of another length, won't help


def test_a_record_that_was_changed_in_salesforce_raises_the_tamper_alarm_and_stops_nothing_else(
    org, salesforce, make_entries, batch_of
):
    batch = batch_of(make_entries(["a", "b", "c"]))
    before = salesforce.push(batch)
    org.change(OBJECT, "Entry_Id__c", "acme-000000000001", Leaf_Hash__c="00" * 32, Contact_Number__c="+14045559999")

    outcomes = salesforce.push(batch)

    assert [type(each) for each in outcomes] == [Receipt, Refusal, Receipt]
    assert outcomes[1].code == "tamper"
    drifted = [
        held.seq for held, receipt in zip(held_of(salesforce), before, strict=True) if held.digest != receipt.digest
    ]
    assert drifted == [1]


# A rule as the package's, in the words of an org that translates them.
TRANSLATED = {"statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "Einträge sind unveränderlich."}


def test_a_changed_record_is_told_as_one_in_an_org_of_another_language(org, salesforce, make_entries, batch_of):
    batch = batch_of(make_entries(["a", "b", "c"]))
    salesforce.push(batch)
    org.change(OBJECT, "Entry_Id__c", "acme-000000000001", Kind__c="review")
    for entry in ("acme-000000000001", "acme-000000000002"):
        org.arm(row={"key": entry, **TRANSLATED}, times=1)

    codes = [getattr(each, "code", "held") for each in salesforce.push(batch)]

    assert codes == ["held", "tamper", "FIELD_CUSTOM_VALIDATION_EXCEPTION"]


def test_a_rule_that_keeps_an_entry_out_is_not_told_as_a_change(org, salesforce, make_entries, batch_of):
    org.arm(row={"key": "acme-000000000001", **TRANSLATED}, times=1)
    org.arm(row={"key": "acme-000000000002", **TRANSLATED}, times=1)

    codes = [getattr(each, "code", "held") for each in salesforce.push(batch_of(make_entries(["a", "b", "c"])))]

    assert codes == ["held", *["FIELD_CUSTOM_VALIDATION_EXCEPTION"] * 2]


def test_an_erased_entry_pushed_again_is_cleared_in_salesforce(org, salesforce, make_entries, batch_of):
    entries = make_entries(["secret", "stays"])
    salesforce.push(batch_of(entries))

    outcomes = salesforce.push(batch_of([entries[0]._replace(values=None)]))

    rows = {row["Entry_Id__c"]: row for row in org.rows(OBJECT)}
    assert [rows["acme-000000000000"][name] for name in ("Text__c", "Contact_Number__c", "Line__c")] == [None] * 3
    assert rows["acme-000000000001"]["Text__c"] == "stays"
    assert held_of(salesforce)[0].digest == outcomes[0].digest


@pytest.mark.parametrize("poisoned", [{0}, {23}, {7, 8, 39}])
def test_a_poison_row_is_isolated_and_the_others_are_settled(org, salesforce, make_entries, batch_of, poisoned):
    entries = make_entries(["a"] * 40)
    for seq in poisoned:  # no number: the org can't read the call that holds it
        entries[seq] = entries[seq]._replace(version="three")

    outcomes = salesforce.push(batch_of(entries))

    assert {number for number, each in enumerate(outcomes) if isinstance(each, Refusal)} == poisoned
    assert {outcomes[seq].code for seq in poisoned} == {"JSON_PARSER_ERROR"}
    assert org.counts()[OBJECT] == 40 - len(poisoned)


def test_too_many_poison_rows_leave_the_rest_owed_instead_of_spending_the_quota(
    org, salesforce, make_entries, batch_of
):
    entries = [entry._replace(version="three") for entry in make_entries(["a"] * 200)]

    outcomes = salesforce.push(batch_of(entries))

    assert 0 < len(outcomes) < 200
    assert [each["route"] for each in org.journal()["requests"]].count("collections") <= 50


def test_a_call_that_is_too_large_goes_in_parts(org, salesforce, make_entries, batch_of):
    org.settings(max_body_bytes=30_000)

    outcomes = salesforce.push(batch_of(make_entries(["a" * 500] * 40)))

    assert [type(each) for each in outcomes] == [Receipt] * 40


def test_a_spent_quota_suspends_until_the_quotas_hour(org, salesforce, make_entries, batch_of):
    org.settings(quota_limit=10, quota_used=10)

    with pytest.raises(SuspendedError) as caught:
        salesforce.push(batch_of(make_entries(["a"])))

    now = time.time() * 1_000_000
    assert caught.value.code == "REQUEST_LIMIT_EXCEEDED"
    assert now < caught.value.until <= now + 3600 * 1_000_000


def test_the_budget_is_what_the_newest_answer_said_bursts_too(org, salesforce, make_entries, batch_of):
    assert salesforce.budget() is None
    org.settings(quota_limit=15_000, quota_used=100, bursts_limit=750, bursts_used=3)

    salesforce.push(batch_of(make_entries(["a"])))

    budget = salesforce.budget()
    assert (budget.used, budget.limit) == (101, 15_000)
    assert budget.details == {"bursts_used": 3, "bursts_limit": 750, "reserve": 750}


def test_a_permission_that_every_row_lacks_suspends_the_destination(org, salesforce, make_entries, batch_of):
    org.arm(row={"statusCode": "INSUFFICIENT_ACCESS_OR_READONLY", "message": "insufficient access rights"}, times=0)

    with pytest.raises(SuspendedError) as caught:
        salesforce.push(batch_of(make_entries(["a", "b"])))

    assert "Assent Integration" in caught.value.advice


def test_a_new_instance_is_followed_and_the_way_back_too(org, salesforce, make_entries, batch_of, org_address):
    salesforce.push(batch_of(make_entries(["a"])))
    org.settings(instance_url=org_address["url"].replace("127.0.0.1", "localhost"))
    there = salesforce.push(batch_of(make_entries(["b"], first=1)))
    org.settings(instance_url=org_address["url"])

    back = salesforce.push(batch_of(make_entries(["c"], first=2)))

    assert isinstance(there[0], Receipt)
    assert isinstance(back[0], Receipt)
    assert [each["route"] for each in org.journal()["requests"]].count("token") == 3


def test_reading_back_follows_pages_and_leaves_out_other_lanes_and_organizations(
    org, salesforce, make_entries, batch_of
):
    for entries in (make_entries(["a"] * 150), make_entries(["b"] * 20, organization="bravo")):
        salesforce.push(batch_of(entries))
    org.settings(page_rows=40)

    assert [each.pos for each in salesforce.find("acme", "consent", 10, 140)] == list(range(10, 141))
    assert list(salesforce.find("acme", "audit", 0, 1000)) == []
    assert {each.organization for each in salesforce.find("bravo", "consent", 0, 99)} == {"bravo"}


def test_a_long_gap_is_crossed_without_reading_it(org, salesforce, make_entries, batch_of):
    salesforce.push(batch_of([*make_entries(["a"]), *make_entries(["z"], first=1_000_000)]))

    found = [each.pos for each in salesforce.find("acme", "consent", 0, 2_000_000)]

    assert found == [0, 1_000_000]
    assert [each["route"] for each in org.journal()["requests"]].count("query") <= 6


def test_closing_leaves_word_of_ledger_and_org_once_a_lane(org, salesforce):
    statement = Statement("acme", 9, bytes(32), {"consent": (6, 5), "audit": (3, 3)}, 1_795_428_000_000_000, "signed")

    salesforce.close(statement)
    salesforce.close(statement)

    rows = {row["Run_Key__c"]: row for row in org.rows("Assent_Sync_Run__c")}
    assert sorted(rows) == ["acme-audit", "acme-consent"]
    assert (rows["acme-consent"]["Lane_Size__c"], rows["acme-consent"]["Settled__c"]) == (6, 5)
    assert rows["acme-consent"]["Checkpoint__c"] == "signed"


def test_a_close_that_fails_says_how(org, salesforce):
    statement = Statement("acme", 9, bytes(32), {"consent": (6, 5)}, 1_795_428_000_000_000)

    org.arm(row={"statusCode": "UNABLE_TO_LOCK_ROW", "message": "unable to obtain exclusive access"})
    with pytest.raises(TransientError):
        salesforce.close(statement)

    org.arm(row={"statusCode": "INSUFFICIENT_ACCESS_OR_READONLY", "message": "insufficient access rights"})
    with pytest.raises(StatementRefusedError, match="Assent Integration"):
        salesforce.close(statement)

    org.arm(route="collections", status=403, errorCode="API_CURRENTLY_DISABLED", message="API is not enabled")
    with pytest.raises(SuspendedError):
        salesforce.close(statement)
