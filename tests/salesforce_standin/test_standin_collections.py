"""Up to 200 records a call: what is saved, what is refused, and in which of the two envelopes."""

import json

import pytest

from tests.salesforce_standin.standin_world import ENTRY, KEY, entry

PATH = f"composite/sobjects/{ENTRY}/{KEY}"


def errors_of(answer):
    """The statusCode of each row's error, None for a saved one; the request itself passed."""
    assert answer.status == 200, answer.body
    return [each["errors"][0]["statusCode"] if each["errors"] else None for each in answer.json]


def test_new_records_are_created_and_the_same_again_are_updated_under_the_same_id(caller, control):
    first, second = caller.upsert(entry(1), entry(2)), caller.upsert(entry(1), entry(2))

    assert [sorted(each) for each in first.json] == [["created", "errors", "id", "success"]] * 2
    assert [each["created"] for each in first.json + second.json] == [True, True, False, False]
    assert [each["id"] for each in first.json] == [each["id"] for each in second.json]
    assert all(len(each["id"]) == 18 for each in first.json)
    assert control.counts()[ENTRY] == 2


def test_two_hundred_records_are_one_call_and_one_more_is_refused_whole(caller, control):
    assert caller.upsert(*map(entry, range(200))).status == 200
    refused = caller.upsert(*map(entry, range(200, 401)))

    assert (refused.status, refused.code) == (400, "EXCEEDED_ID_LIMIT")
    assert control.counts()[ENTRY] == 200
    assert control.settings()["quota_used"] == 2


def test_a_refused_row_leaves_the_others_saved_in_an_answer_of_status_200(caller, control):
    answer = caller.upsert(entry(1), entry(2, Kind__c="x" * 41), entry(3))

    assert errors_of(answer) == [None, "STRING_TOO_LONG", None]
    assert answer.json[1] == {
        "success": False,
        "created": False,
        "errors": [
            {
                "statusCode": "STRING_TOO_LONG",
                "message": f"Kind: data value too large: {'x' * 41} (max length=40)",
                "fields": ["Kind__c"],
            }
        ],
    }
    assert control.counts()[ENTRY] == 2


def test_with_all_or_none_one_refused_row_takes_back_the_others_which_still_say_created(caller, control):
    answer = caller.upsert(entry(1), entry(2, Kind__c="x" * 41), all_or_none=True)

    assert errors_of(answer) == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "STRING_TOO_LONG"]
    assert [each["created"] for each in answer.json] == [True, False]
    assert [each["success"] for each in answer.json] == [False, False]
    assert control.counts()[ENTRY] == 0


def test_every_row_that_shares_its_key_with_another_in_the_request_is_refused(caller, control):
    answer = caller.upsert(entry(1), entry(2), entry(1))

    assert errors_of(answer) == ["DUPLICATE_VALUE", None, "DUPLICATE_VALUE"]
    assert answer.json[0]["errors"][0]["message"] == "Duplicate external id specified: acme-000000000001"
    assert control.counts()[ENTRY] == 1


def test_keys_that_differ_in_case_are_two_where_the_field_says_so(caller, control):
    assert errors_of(caller.upsert({KEY: "acme-1a"}, {KEY: "acme-1A"})) == [None, None]
    assert control.counts()[ENTRY] == 2


def test_a_row_without_its_key_is_refused(caller):
    answer = caller.upsert({"Seq__c": 1}, {KEY: None}, {KEY: "  "}, {KEY: "x" * 65})

    assert errors_of(answer) == ["MISSING_ARGUMENT"] * 3 + ["STRING_TOO_LONG"]


def test_an_unknown_field_refuses_the_request_and_saves_nothing(caller, control):
    answer = caller.upsert(entry(1), entry(2, Nope__c="x"))

    assert answer.status == 400
    assert answer.json == [
        {"errorCode": "INVALID_FIELD", "message": f"No such column 'Nope__c' on sobject of type {ENTRY}"}
    ]
    assert control.counts()[ENTRY] == 0


@pytest.mark.parametrize("value", ["banana", True, [1], {"a": 1}], ids=str)
def test_one_value_of_a_wrong_type_refuses_the_request_and_saves_nothing(caller, control, value):
    answer = caller.upsert(entry(1), {**entry(2), "Seq__c": value})

    assert (answer.status, answer.code) == (400, "JSON_PARSER_ERROR")
    assert answer.json[0]["message"].startswith("Cannot deserialize instance of double from ")
    assert control.counts()[ENTRY] == 0


@pytest.mark.parametrize("value", [7, True, ["a"], {"a": "b"}], ids=str)
def test_a_text_field_takes_a_text_even_where_it_took_a_like_value_before(caller, value):
    assert errors_of(caller.upsert(entry(1, Kind__c="7"), entry(2, Kind__c="True"))) == [None, None]

    assert caller.upsert(entry(3, Kind__c=value)).code == "JSON_PARSER_ERROR"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "JSON_PARSER_ERROR"),
        (b'{"records": [', "JSON_PARSER_ERROR"),
        (b"\xff\xfe", "JSON_PARSER_ERROR"),
        (b"[]", "JSON_PARSER_ERROR"),
        (b'{"records": {}}', "JSON_PARSER_ERROR"),
        (b'{"records": [], "allOrNone": "yes"}', "JSON_PARSER_ERROR"),
        (b'{"records": [], "nope": 1}', "JSON_PARSER_ERROR"),
        (b'{"records": []}', "MISSING_ARGUMENT"),
        (b'{"records": [{"Entry_Id__c": "a"}]}', "INVALID_TYPE"),
        (b'{"records": [{"attributes": {"type": "Contact"}, "Entry_Id__c": "a"}]}', "INVALID_TYPE"),
    ],
    ids=str,
)
def test_a_body_that_is_no_list_of_records_is_refused_whole(caller, body, code):
    answer = caller.call("PATCH", PATH, body)

    assert (answer.status, answer.code) == (400, code)


def test_a_body_of_another_type_than_json_is_refused(caller):
    body = json.dumps({"records": [{"attributes": {"type": ENTRY}, **entry(1)}]}).encode()

    assert caller.call("PATCH", PATH, body, Content_Type="text/xml; charset=UTF-8").status == 415


def test_an_object_or_a_key_that_the_org_does_not_have_is_not_found(caller):
    assert caller.upsert(entry(1), object_name="Nope__c").code == "NOT_FOUND"
    answer = caller.upsert(entry(1), field="Kind__c")
    assert answer.status == 404
    assert answer.json[0]["message"] == "Provided external ID field does not exist or is not accessible: Kind__c"


def test_the_packages_rules_let_an_identical_retry_pass_and_refuse_a_changed_record(caller, control):
    caller.upsert(entry(1, Leaf_Hash__c="a", Text__c="Hi"))

    assert errors_of(caller.upsert(entry(1, Leaf_Hash__c="a", Text__c="Hi"))) == [None]
    answer = caller.upsert(entry(1, Leaf_Hash__c="b"))

    assert answer.json[0]["errors"] == [
        {
            "statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "message": "Assent entries are append-only and cannot be changed.",
            "fields": [],
        }
    ]
    assert [each["Leaf_Hash__c"] for each in control.rows(ENTRY)] == ["a"]


def test_the_packages_rules_let_an_erasure_clear_a_personal_value_and_nobody_replace_it(caller):
    caller.upsert(entry(1, Contact_Name__c="Ann"))

    assert errors_of(caller.upsert(entry(1, Contact_Name__c="Eve"))) == ["FIELD_CUSTOM_VALIDATION_EXCEPTION"]
    assert errors_of(caller.upsert(entry(1, Contact_Name__c=None))) == [None]


def test_a_deleted_record_makes_room_for_a_new_one_with_its_key(caller, control):
    first = caller.upsert(entry(1)).json[0]["id"]
    assert control.delete(ENTRY, KEY, "acme-000000000001") == 1

    again = caller.upsert(entry(1)).json[0]

    assert again["created"] is True
    assert again["id"] != first


def test_every_answer_says_how_much_of_the_day_is_used(caller, control):
    control.settings(quota_limit=2)

    used = [caller.upsert(entry(n)) for n in range(3)]

    assert [each.headers["Sforce-Limit-Info"] for each in used] == ["api-usage=1/2", "api-usage=2/2", "api-usage=2/2"]
    assert (used[2].status, used[2].code) == (403, "REQUEST_LIMIT_EXCEEDED")
    assert used[2].json[0]["message"] == "TotalRequests Limit exceeded."
    control.settings(quota_limit=10, bursts_limit=750, bursts_used=1)
    assert caller.upsert(entry(3)).headers["Sforce-Limit-Info"] == "api-usage=3/10; api-bursts=1/750"


def test_a_body_that_is_too_large_is_refused(caller, control):
    control.settings(max_body_bytes=100)

    assert caller.upsert(entry(1)).status == 413


def test_records_are_created_and_deleted_by_collections_too(caller, control):
    records = [{"attributes": {"type": ENTRY}, **entry(n)} for n in range(3)]
    made = caller.call("POST", "composite/sobjects", {"records": records})
    assert [sorted(each) for each in made.json] == [["errors", "id", "success"]] * 3

    again = caller.call("POST", "composite/sobjects", {"records": records[:1]})
    assert errors_of(again) == ["DUPLICATE_VALUE"]
    of = made.json[0]["id"]
    assert again.json[0]["errors"][0]["message"] == (
        f"duplicate value found: {KEY} duplicates value on record with id: {of}"
    )

    ids = ",".join(each["id"] for each in made.json[:2])
    assert errors_of(caller.call("DELETE", f"composite/sobjects?ids={ids}")) == [None, None]
    gone = caller.call("DELETE", f"composite/sobjects?ids={ids},nope")
    assert errors_of(gone) == ["ENTITY_IS_DELETED", "ENTITY_IS_DELETED", "MALFORMED_ID"]
    assert control.counts()[ENTRY] == 1
