"""Single records, composite requests, and what an org says of itself."""

import pytest

from tests.salesforce_standin.documents.sample_world import MESSAGE, OBJECT, V

ROW = f"{V}/sobjects/{OBJECT}"


def test_a_record_is_upserted_by_a_key_with_any_characters(caller):
    created = caller.call("PATCH", f"{ROW}/Key__c/a%20b%2Fc%3Fd%23e", {"Seq__c": 1})
    updated = caller.call("PATCH", f"{ROW}/Key__c/a%20b%2Fc%3Fd%23e", {"Short__c": "x"})
    unfound = caller.call("PATCH", f"{ROW}/Key__c/zz?updateOnly=true", {"Short__c": "x"})

    assert (created.status, created.json["created"]) == (201, True)
    assert (updated.status, updated.json["created"]) == (200, False)
    assert set(updated.json) == {"id", "success", "errors", "created"}
    assert caller.values("Key__c") == ["a b/c?d#e"]
    assert (unfound.status, unfound.error) == (404, "NOT_FOUND")


def test_the_key_must_not_stand_in_the_body(caller):
    assert caller.call("PATCH", f"{ROW}/Key__c/a", {"Key__c": "a"}).error == "INVALID_FIELD"
    assert caller.call("PATCH", f"{ROW}/Key__c/a", {"Id": "a"}).error == "INVALID_FIELD"


def test_a_record_is_created_read_changed_and_deleted(caller):
    made = caller.call("POST", ROW, {"Key__c": "a", "Hash__c": "1", "Seq__c": 4})
    url = f"{ROW}/{made.json['id']}"

    assert (made.status, made.json["errors"]) == (201, [])
    assert caller.call("GET", url).json["Doubled__c"] is None
    assert caller.call("GET", f"{url}?fields=Key__c,Seq__c").json["Seq__c"] == 4.0
    assert caller.call("GET", f"{ROW}/Key__c/a").json["Id"] == made.json["id"]
    assert caller.call("PATCH", url, {"Short__c": "x"}).status == 204
    refused = caller.call("PATCH", url, {"Hash__c": "2"})
    assert refused.status == 400
    assert refused.json == [{"message": MESSAGE, "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "fields": []}]
    assert caller.call("DELETE", url).status == 204
    assert [caller.call(method, url, {}).error for method in ("GET", "PATCH", "DELETE")] == ["ENTITY_IS_DELETED"] * 3
    assert caller.upsert({"Key__c": "a"}).json[0]["created"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"{V}/sobjects/Nothing__c/describe", 404, "NOT_FOUND"),
        ("GET", "/services/data/v9.0/limits", 404, "NOT_FOUND"),
        ("GET", f"{V}/jobs/ingest", 404, "NOT_FOUND"),
        ("GET", f"{ROW}/Hash__c/x", 404, "NOT_FOUND"),
        ("GET", f"{ROW}/Key__c/x", 404, "NOT_FOUND"),
        ("PATCH", f"{ROW}/a005Y0000009999", 404, "INVALID_CROSS_REFERENCE_KEY"),
        ("DELETE", f"{ROW}/a005Y0000009999", 404, "INVALID_CROSS_REFERENCE_KEY"),
        ("PUT", f"{ROW}/a005Y0000009999", 405, "METHOD_NOT_ALLOWED"),
        ("POST", f"{V}/limits", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_what_is_not_there_is_refused_with_the_documented_code(caller, method, path, status, code):
    answer = caller.call(method, path, {})

    assert (answer.status, answer.error) == (status, code)


def test_what_is_not_served_leaves_a_line_in_the_log_without_the_key(caller, capsys):
    caller.call("GET", f"{V}/unknown/%2B14045550123/x")

    assert '"request.unserved"' in (logged := capsys.readouterr().err)
    assert "unknown" in logged
    assert "14045550123" not in logged


def test_a_missing_required_field_is_named(caller):
    answer = caller.call("POST", ROW, {"Seq__c": 4})

    assert answer.json == [
        {
            "message": "Required fields are missing: [Key__c]",
            "errorCode": "REQUIRED_FIELD_MISSING",
            "fields": ["Key__c"],
        }
    ]


def test_versions_are_told_to_anyone_and_limits_count_the_calls(caller, stranger):
    versions = stranger.call("GET", "/services/data/")
    limits = caller.call("GET", f"{V}/limits").json["DailyApiRequests"]

    assert {"label": "Winter '24", "url": "/services/data/v59.0", "version": "59.0"} in versions.json
    assert "sforce-limit-info" not in versions.headers
    assert caller.call("GET", f"{V}/limits").json["DailyApiRequests"]["Remaining"] == limits["Remaining"] - 1
    assert caller.call("GET", V).json["query"] == f"{V}/query"


def test_a_describe_names_every_field_with_its_type_and_length(caller):
    described = caller.call("GET", f"{ROW}/describe").json
    fields = {each["name"]: each for each in described["fields"]}

    assert (described["name"], described["keyPrefix"], described["custom"]) == (OBJECT, "a00", True)
    assert {name: fields[name]["type"] for name in ("Id", "Key__c", "Text__c", "Seq__c", "At__c", "Day__c")} == {
        "Id": "id", "Key__c": "string", "Text__c": "textarea",
        "Seq__c": "double", "At__c": "datetime", "Day__c": "date",
    }  # fmt: skip
    key = fields["Key__c"]
    assert (key["length"], key["externalId"], key["unique"], key["caseSensitive"], key["nillable"]) == (
        64, True, True, True, False,
    )  # fmt: skip
    assert (fields["Doubled__c"]["calculated"], fields["Doubled__c"]["createable"]) == (True, False)
    assert [each["value"] for each in fields["State__c"]["picklistValues"]] == ["opted_in", "opted_out"]
    assert (fields["Contact__c"]["referenceTo"], fields["Contact__c"]["relationshipName"]) == (
        ["Contact"],
        "Samples__r",
    )
    assert caller.call("GET", ROW).json["objectDescribe"]["label"] == "Sample"
    assert OBJECT in {each["name"] for each in caller.call("GET", f"{V}/sobjects").json["sobjects"]}


def test_the_org_says_that_it_is_a_sandbox(caller):
    (record,) = caller.query("SELECT Id, IsSandbox FROM Organization").json["records"]

    assert record["IsSandbox"] is True
    assert record["Id"].startswith("00D")


def test_a_composite_request_refers_to_earlier_answers(caller):
    answer = caller.call("POST", f"{V}/composite", {"compositeRequest": [
        {"method": "POST", "url": f"{V}/sobjects/Contact", "referenceId": "person", "body": {"LastName": "Lee"}},
        {"method": "POST", "url": ROW, "referenceId": "row", "body": {"Key__c": "a", "Contact__c": "@{person.id}"}},
        {"method": "GET", "url": f"{ROW}/@{{row.id}}", "referenceId": "read"},
        {"method": "GET", "url": f"{ROW}/Key__c/none", "referenceId": "missing"},
    ]}).json["compositeResponse"]  # fmt: skip

    assert [each["httpStatusCode"] for each in answer] == [201, 201, 200, 404]
    assert answer[2]["body"]["Contact__c"] == answer[0]["body"]["id"]
    assert answer[3]["body"][0]["errorCode"] == "NOT_FOUND"


def test_a_composite_request_is_undone_as_a_whole(caller):
    answer = caller.call("POST", f"{V}/composite", {"allOrNone": True, "compositeRequest": [
        {"method": "POST", "url": ROW, "referenceId": "one", "body": {"Key__c": "a"}},
        {"method": "POST", "url": ROW, "referenceId": "two", "body": {}},
        {"method": "POST", "url": ROW, "referenceId": "three", "body": {"Key__c": "c"}},
    ]}).json["compositeResponse"]  # fmt: skip

    assert [each["body"][0]["errorCode"] for each in answer] == [
        "PROCESSING_HALTED", "REQUIRED_FIELD_MISSING", "PROCESSING_HALTED",
    ]  # fmt: skip
    assert caller.values("Key__c") == []
