"""Every row of the error table, in Salesforce's own wording, and what becomes of it."""

import re

import pytest

from connectors.salesforce.errors import (
    RULES,
    Ending,
    for_a_person,
    understand,
    understand_call,
    understand_record,
)

LOCK = "unable to obtain exclusive access to this record or 1 records: 001XXXXXXXXXXXXXXX"

# (status of the call, None for a row of a collection; code; message as documented or recorded; what happens next)
CASES = [
    (401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API", Ending.SUSPENDED),
    (401, "INVALID_SESSION_ID", "Session expired or invalid", Ending.EXPIRED),
    (401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE", Ending.EXPIRED),
    (403, "API_DISABLED_FOR_ORG", "API is not enabled for this Organization or Partner", Ending.SUSPENDED),
    (403, "API_CURRENTLY_DISABLED", "API is disabled for this user", Ending.SUSPENDED),
    (
        403,
        "FUNCTIONALITY_NOT_ENABLED",
        "This feature is not currently enabled for this user type or org.",
        Ending.SUSPENDED,
    ),
    (None, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", Ending.SUSPENDED),
    (403, "INSUFFICIENT_ACCESS", "You do not have the level of access necessary", Ending.SUSPENDED),
    (
        None,
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "insufficient access rights on cross-reference id",
        Ending.SUSPENDED,
    ),
    (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.", Ending.TRANSIENT),
    (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.", Ending.TRANSIENT),
    (429, "REQUEST_LIMIT_EXCEEDED", "Too many requests", Ending.TRANSIENT),
    (429, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", Ending.QUOTA),
    (429, "REQUEST_LIMIT_EXCEEDED", "Too many requests in a 24-hour period", Ending.QUOTA),
    (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", Ending.QUOTA),
    (None, "STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", Ending.SUSPENDED),
    (400, "LIMIT_EXCEEDED", "Record limit reached", Ending.SPLIT),
    (
        400,
        "EXCEEDED_ID_LIMIT",
        "record limit reached. cannot submit more than 200 records into this call",
        Ending.SPLIT,
    ),
    (None, "UNABLE_TO_LOCK_ROW", LOCK, Ending.LOCKED),
    (None, "ALL_OR_NONE_OPERATION_ROLLED_BACK", "Record rolled back because not all records were valid", Ending.LOCKED),
    (503, "SERVER_UNAVAILABLE", "Server Unavailable", Ending.TRANSIENT),
    (None, "SERVICE_UNAVAILABLE", "service unavailable", Ending.TRANSIENT),
    (500, "UNKNOWN_EXCEPTION", "An unexpected error occurred. Please include this ErrorId", Ending.TRANSIENT),
    (400, "QUERY_TIMEOUT", "Your query request was running for too long.", Ending.TRANSIENT),
    (400, "REQUEST_RUNNING_TOO_LONG", "Your query request was running for too long.", Ending.TRANSIENT),
    (400, "INVALID_QUERY_LOCATOR", "invalid query locator", Ending.TRANSIENT),
    (None, "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", "maintenance", Ending.TRANSIENT),
    (None, "TOO_MANY_APEX_REQUESTS", "too many", Ending.TRANSIENT),
    (None, "API_TASK_LIMIT_REACHED", "limit", Ending.TRANSIENT),
    (
        403,
        "TXN_SECURITY_METERING_ERROR",
        "We can't complete the action because policies took too long",
        Ending.TRANSIENT,
    ),
    (
        None,
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        f"Trigger: execution of AfterInsert UNABLE_TO_LOCK_ROW, {LOCK}",
        Ending.LOCKED,
    ),
    (403, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "ConcurrentPerOrgApex Limit exceeded", Ending.LOCKED),
    (None, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "Trigger: System.NullPointerException", Ending.REFUSED),
    (None, "CANNOT_EXECUTE_FLOW_TRIGGER", f"We can't save this record: UNABLE_TO_LOCK_ROW: {LOCK}", Ending.LOCKED),
    (None, "CANNOT_EXECUTE_FLOW_TRIGGER", "We can't save this record because a process failed", Ending.REFUSED),
    (
        None,
        "DUPLICATE_VALUE",
        "duplicate value found: Entry_Id__c duplicates value on record with id: a0X",
        Ending.AGAIN,
    ),
    (None, "DUPLICATE_VALUE", "Duplicate external id specified: acme-000000000001", Ending.AGAIN),
    (
        None,
        "DUPLICATE_VALUE",
        "duplicate value found: <unknown> duplicates value on record with id: <unknown>",
        Ending.AGAIN,
    ),
    (
        None,
        "DUPLICATE_VALUE",
        "duplicate value found: Other__c duplicates value on record with id: a0X",
        Ending.REFUSED,
    ),
    (None, "DUPLICATE_EXTERNAL_ID", "Entry_Id__c: more than one record found for external id field", Ending.REFUSED),
    (None, "DUPLICATES_DETECTED", "Use one of these records?", Ending.REFUSED),
    (None, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Assent entries are append-only and cannot be changed.", Ending.TAMPER),
    (None, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Please fill in a campaign", Ending.REFUSED),
    (
        None,
        "FIELD_FILTER_VALIDATION_EXCEPTION",
        "Value does not exist or does not match filter criteria.",
        Ending.REFUSED,
    ),
    (None, "STRING_TOO_LONG", "Text: data value too large: Hi (max length=25)", Ending.REFUSED),
    (None, "REQUIRED_FIELD_MISSING", "Required fields are missing: [Campaign__c]", Ending.REFUSED),
    (
        None,
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "Kind: bad value for restricted picklist field: review",
        Ending.REFUSED,
    ),
    (None, "INVALID_TYPE_ON_FIELD_IN_RECORD", "Tier: value not of required type: keyword", Ending.REFUSED),
    (None, "NUMBER_OUTSIDE_VALID_RANGE", "Sequence: value outside of valid range", Ending.REFUSED),
    (None, "MALFORMED_ID", "Owner ID: id value of incorrect type: INVALID_OWNER", Ending.REFUSED),
    (None, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", Ending.REFUSED),
    (None, "ENTITY_IS_DELETED", "entity is deleted", Ending.REFUSED),
    (
        400,
        "JSON_PARSER_ERROR",
        "Cannot deserialize instance of double from VALUE_STRING value x or request may be …",
        Ending.SPLIT,
    ),
    (400, "INVALID_FIELD", "Foreign key external ID: x not found for field Y in entity Z", Ending.REFUSED),
    (400, "INVALID_FIELD", "No such column 'Leaf_Hash__c' on sobject of type Assent_Entry__c", Ending.SUSPENDED),
    (
        None,
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "Unable to create/update fields: Tier__c. Please check the security settings …",
        Ending.SUSPENDED,
    ),
    (400, "INVALID_TYPE", "sObject type 'Assent_Entry__c' is not supported.", Ending.SUSPENDED),
    (400, "MALFORMED_QUERY", "unexpected token: FROM", Ending.SUSPENDED),
    (404, "NOT_FOUND", "The requested resource does not exist", Ending.SUSPENDED),
    (404, "UNSUPPORTED_API_VERSION", "Invalid Api version specified", Ending.SUSPENDED),
    (405, "METHOD_NOT_ALLOWED", "HTTP Method 'PATCH' not allowed.", Ending.SUSPENDED),
]


@pytest.mark.parametrize(("status", "code", "message", "ending"), CASES, ids=[f"{c[1]}-{c[3]}" for c in CASES])
def test_each_error_of_salesforce_has_its_ending_and_an_advice(status, code, message, ending):
    fault = understand(status, code, message)

    assert fault.ending is ending
    assert fault.code in (code, "tamper")
    assert fault.advice


def test_every_row_of_the_table_is_reached_by_a_case():
    reached = {next(rule for rule in RULES if matches(rule, *case[:3])) for case in CASES}

    assert reached == set(RULES)


def matches(rule, status, code, message):
    """The first rule of which this is true counts."""
    return rule.code == code and rule.status in (None, status) and re.search(rule.message, message, re.IGNORECASE)


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (300, Ending.SPLIT),
        (302, Ending.SUSPENDED),
        (400, Ending.SPLIT),
        (401, Ending.EXPIRED),
        (403, Ending.SUSPENDED),
        (404, Ending.SUSPENDED),
        (406, Ending.TRANSIENT),
        (408, Ending.TRANSIENT),
        (409, Ending.TRANSIENT),
        (412, Ending.TRANSIENT),
        (413, Ending.SPLIT),
        (414, Ending.SPLIT),
        (420, Ending.TRANSIENT),
        (410, Ending.SUSPENDED),
        (429, Ending.TRANSIENT),
        (431, Ending.SPLIT),
        (500, Ending.TRANSIENT),
        (502, Ending.TRANSIENT),
        (503, Ending.TRANSIENT),
        (504, Ending.TRANSIENT),
    ],
)
def test_a_page_without_an_error_code_is_understood_by_its_status(status, ending):
    fault = understand_call(status, "<html>We are setting things up</html>")

    assert fault.ending is ending
    assert fault.code == f"http_{status}"


def test_an_unknown_code_of_a_row_is_refused_under_its_own_name():
    fault = understand_record({"success": False, "errors": [{"statusCode": "A_NEW_CODE", "message": "?"}]})

    assert (fault.ending, fault.code) == (Ending.REFUSED, "A_NEW_CODE")


def test_a_code_that_quotes_somebody_is_not_repeated():
    fault = understand(None, "call +14045550123 now", "Ann Lee")

    assert fault.code == "unknown"
    assert "404" not in fault.advice


def test_a_tamper_alarm_is_not_hidden_by_another_error_of_the_same_row():
    fault = understand_record(
        {
            "errors": [
                {"statusCode": "UNABLE_TO_LOCK_ROW", "message": LOCK},
                {"statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "Assent entries are append-only …"},
            ]
        }
    )

    assert fault.ending is Ending.TAMPER


def test_a_failed_row_without_a_reason_is_tried_again():
    assert understand_record({"success": False, "errors": []}).ending is Ending.TRANSIENT


def test_no_advice_names_a_value():
    assert not [rule for rule in RULES if "{" in rule.advice or rule.advice.endswith(".")]


def test_who_started_a_call_by_hand_is_never_told_that_there_is_nothing_to_do():
    told = [for_a_person(rule.advice) for rule in RULES]

    assert not [one for one in told if re.search("nothing to do|tried again", one, re.IGNORECASE)]
    assert "Too many calls in a short time; run it again later" in told
