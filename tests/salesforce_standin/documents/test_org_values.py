"""What an org keeps of a value, and in which words it refuses one."""

import json

import pytest

from tests.salesforce_standin.documents.sample_world import COLLECTIONS, OBJECT, V


def errors_of(answer, row=0):
    return [(each["statusCode"], each["fields"]) for each in answer.json[row]["errors"]]


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ({"Short__c": "x"}, ("MISSING_ARGUMENT", ["Key__c"])),
        ({"Key__c": "a", "State__c": "perhaps"}, ("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ["State__c"])),
        ({"Key__c": "a", "Doubled__c": "x"}, ("INVALID_FIELD_FOR_INSERT_UPDATE", ["Doubled__c"])),
        ({"Key__c": "a", "Name": "x"}, ("INVALID_FIELD_FOR_INSERT_UPDATE", ["Name"])),
        ({"Key__c": "a", "Seq__c": 10**10}, ("NUMBER_OUTSIDE_VALID_RANGE", ["Seq__c"])),
        ({"Key__c": "a", "Contact__c": "nonsense"}, ("MALFORMED_ID", ["Contact__c"])),
        ({"Key__c": "a", "Contact__c": "a005Y0000000001"}, ("MALFORMED_ID", ["Contact__c"])),
        ({"Key__c": "a", "Contact__c": "0035Y0000000009"}, ("INVALID_CROSS_REFERENCE_KEY", [])),
    ],
)
def test_a_row_is_refused_with_the_documented_code(caller, record, error):
    assert errors_of(caller.upsert(record)) == [error]


def test_a_text_that_is_too_long_is_named_by_its_label(caller):
    answer = caller.upsert({"Key__c": "a", "Short__c": "far too long"})

    assert answer.json == [
        {
            "success": False,
            "errors": [
                {
                    "statusCode": "STRING_TOO_LONG",
                    "message": "Short Text: data value too large: far too long (max length=10)",
                    "fields": ["Short__c"],
                }
            ],
            "created": False,
        }
    ]


def test_a_lookup_takes_a_contact_that_is_there(caller):
    contact = caller.call("POST", f"{V}/sobjects/Contact", {"LastName": "Lee"}).json["id"]

    assert caller.upsert({"Key__c": "a", "Contact__c": contact[:15]}).json[0]["success"]
    assert caller.values("Contact__c") == [contact]


@pytest.mark.parametrize(
    ("value", "kind", "token"),
    [
        ({"Seq__c": "banana"}, "double", "VALUE_STRING value banana"),
        ({"Flag__c": "yes"}, "boolean", "VALUE_STRING value yes"),
        ({"At__c": "2026-11-23 10:00:00"}, "datetime", "VALUE_STRING value 2026-11-23 10:00:00"),
        ({"At__c": "2026-11-23T10:00:00.123456Z"}, "datetime", "VALUE_STRING value 2026-11-23T10:00:00.123456Z"),
        ({"Day__c": "23.11.2026"}, "date", "VALUE_STRING value 23.11.2026"),
        ({"Hash__c": 7}, "string", "VALUE_NUMBER_INT value 7"),
        ({"Hash__c": {}}, "string", "START_OBJECT"),
    ],
)
def test_one_value_of_a_wrong_type_fails_the_whole_request(caller, value, kind, token):
    answer = caller.upsert({"Key__c": "a"}, {"Key__c": "b", **value})

    assert (answer.status, answer.error) == (400, "JSON_PARSER_ERROR")
    assert answer.json[0]["message"].startswith(f"Cannot deserialize instance of {kind} from {token} or request may be")
    assert caller.values("Key__c") == []


def test_a_unique_value_in_another_case_is_a_duplicate(caller):
    caller.upsert({"Key__c": "a", "Serial__c": "x1"})

    answer = caller.upsert({"Key__c": "b", "Serial__c": "X1"}, {"Key__c": "c", "Serial__c": "y"})

    assert errors_of(answer) == [("DUPLICATE_VALUE", [])]
    assert answer.json[0]["errors"][0]["message"].startswith(
        "duplicate value found: Serial__c duplicates value on record with id: a00"
    )
    assert caller.values("Key__c") == ["a", "c"]


def test_an_external_id_that_several_records_hold_is_refused(caller):
    caller.upsert({"Key__c": "a", "Reference__c": "r"}, {"Key__c": "b", "Reference__c": "R"})
    record = {"attributes": {"type": OBJECT}, "Reference__c": "r", "Key__c": "c"}

    many = caller.call("PATCH", COLLECTIONS.replace("Key__c", "Reference__c"), {"records": [record]})
    one = caller.call("PATCH", f"{V}/sobjects/{OBJECT}/Reference__c/r", {"Key__c": "c"})

    assert errors_of(many) == [("DUPLICATE_EXTERNAL_ID", ["Reference__c"])]
    assert one.status == 300
    assert [each.rpartition("/")[0] for each in one.json] == [f"{V}/sobjects/{OBJECT}"] * 2


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  blanks \t\n", "blanks"),
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("nul\x00 bell\x07 tab\t.", "nul bell tab\t."),
        ("", None),
        (" \r\n", None),
        ("😀 שלום 'quoted' \"text\" \\", "😀 שלום 'quoted' \"text\" \\"),
        ("no\u00a0break\u2028line", "no\u00a0break\u2028line"),
    ],
)
def test_texts_are_kept_as_an_org_keeps_them(caller, given, kept):
    assert caller.upsert({"Key__c": "a", "Text__c": given}).json[0]["success"]

    assert caller.values("Text__c") == [kept]


def test_half_a_character_becomes_a_replacement(caller):
    row = '{"records": [{"attributes": {"type": "Sample__c"}, "Key__c": "a", "Hash__c": "x\\ud83dy"}]}'

    assert caller.call("PATCH", COLLECTIONS, row.encode()).status == 200
    assert caller.values("Hash__c") == ["x\ufffdy"]


def test_line_ends_can_be_kept_as_two_characters(caller, control):
    control.settings(line_end="\r\n")

    caller.upsert({"Key__c": "a", "Text__c": "a\nb\r\nc"})

    assert caller.values("Text__c") == ["a\r\nb\r\nc"]


def test_lengths_are_counted_as_utf_16(caller):
    assert caller.upsert({"Key__c": "a", "Short__c": "😀" * 5}).json[0]["success"]
    assert errors_of(caller.upsert({"Key__c": "a", "Short__c": "😀" * 6})) == [("STRING_TOO_LONG", ["Short__c"])]


def test_times_lose_their_fraction_and_numbers_are_doubles_of_their_scale(caller):
    caller.upsert({"Key__c": "a", "At__c": "2026-11-23T12:00:00.999+02:00", "Seq__c": 5, "Rate__c": 1.005})
    row = caller.query(f"SELECT At__c, Seq__c, Rate__c, Day__c, Flag__c FROM {OBJECT}").json["records"][0]

    assert row["At__c"] == "2026-11-23T10:00:00.000+0000"
    assert (json.dumps(row["Seq__c"]), row["Rate__c"], row["Day__c"], row["Flag__c"]) == ("5.0", 1.01, None, False)
