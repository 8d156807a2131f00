"""Every fault strikes where it was armed, says so, and leaves alone what it was not armed for."""

import http.client
import json
import socket
import ssl
import threading
import zlib

import pytest

from connectors.salesforce.standin import ControlError
from tests.salesforce_standin.documents.sample_world import OBJECT, Caller, V

LIMITS = f"{V}/limits"


def test_the_nth_request_of_a_route_gets_the_status_and_the_others_do_not(caller, control):
    fault = control.arm(
        route="collections", nth=2, times=2, status=503, errorCode="SERVER_UNAVAILABLE", message="Busy.",
        headers={"Retry-After": "7"},
    )  # fmt: skip

    answers = []
    for key in "abcd":
        answers.append(caller.upsert({"Key__c": key}))
        assert caller.call("GET", LIMITS).status == 200

    assert [each.status for each in answers] == [200, 503, 503, 200]
    assert answers[1].json == [{"message": "Busy.", "errorCode": "SERVER_UNAVAILABLE"}]
    assert answers[1].headers["retry-after"] == "7"
    assert control.struck(fault) == 2
    assert caller.values("Key__c") == ["a", "d"]


def test_an_error_can_be_answered_after_the_work_was_committed(caller, control):
    control.arm(route="collections", status=500, errorCode="UNKNOWN_EXCEPTION", when="after")

    assert caller.upsert({"Key__c": "a"}).status == 500
    assert caller.values("Key__c") == ["a"]


def test_a_fault_without_end_strikes_until_it_is_disarmed(caller, control):
    control.arm(status=420, html=True, times=0)

    answers = [caller.call("GET", LIMITS) for _ in range(3)]
    control.disarm()

    assert [each.status for each in answers] == [420] * 3
    assert (answers[0].json, answers[0].headers["content-type"]) == (None, "text/html; charset=utf-8")
    assert b"<html>" in answers[0].raw
    assert caller.call("GET", LIMITS).status == 200


def test_the_token_endpoint_has_its_own_errors(stranger, control):
    control.arm(route="token", status=400, error="invalid_grant", error_description="no valid scopes defined")

    answer = stranger.ask_token(grant_type="client_credentials")

    assert answer.json == {"error": "invalid_grant", "error_description": "no valid scopes defined"}


def test_one_row_is_refused_by_its_key(caller, control):
    fault = control.arm(row={"key": "b", "statusCode": "UNABLE_TO_LOCK_ROW", "message": "locked", "fields": []})

    first = caller.upsert({"Key__c": "a"}, {"Key__c": "b"})
    second = caller.upsert({"Key__c": "b"})

    assert first.json[0]["success"]
    assert first.json[1]["errors"] == [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": "locked", "fields": []}]
    assert second.json[0]["success"]
    assert control.struck(fault) == 1


@pytest.mark.parametrize(("when", "kept"), [("before", []), ("after", ["a"])])
def test_a_connection_is_cut_before_or_after_the_commit(caller, control, when, kept):
    fault = control.arm(route="collections", cut=when)

    with pytest.raises((ConnectionError, http.client.HTTPException, ssl.SSLError)):
        caller.upsert({"Key__c": "a"})

    assert control.struck(fault) == 1
    assert caller.values("Key__c") == kept


def test_a_mute_socket_says_nothing_until_the_other_side_gives_up(org, control, caller):
    fault = control.arm(route="collections", mute="after")
    patient = Caller(org.address, timeout=0.3)
    patient.token = caller.token

    with pytest.raises(TimeoutError):
        patient.upsert({"Key__c": "a"})

    assert control.struck(fault) == 1
    assert caller.values("Key__c") == ["a"]


def test_half_of_a_body_is_sent_and_then_nothing(caller, control):
    fault = control.arm(route="collections", half=True)

    with pytest.raises((ConnectionError, http.client.IncompleteRead, ssl.SSLError)):
        caller.upsert({"Key__c": "a"})

    assert control.struck(fault) == 1
    assert caller.values("Key__c") == ["a"]


def test_a_body_says_gzip_and_is_none(caller, control):
    control.arm(route="limits", gzip_broken=True)

    with pytest.raises((OSError, EOFError, zlib.error)):
        caller.call("GET", LIMITS)


def test_sessions_expire_under_a_request(caller, control):
    control.arm(route="collections", nth=2, expire_sessions=True)

    assert caller.upsert({"Key__c": "a"}).status == 200
    assert caller.upsert({"Key__c": "b"}).error == "INVALID_SESSION_ID"
    assert caller.call("GET", LIMITS).status == 401


@pytest.mark.parametrize("how", ["cut", "garbage"])
def test_a_connection_fails_before_it_is_one(org, control, how):
    fault = control.arm(tls=how)
    caller = Caller(org.address)

    with pytest.raises((ssl.SSLError, ConnectionError)):
        caller.login()

    assert control.struck(fault) == 1
    assert caller.login().call("GET", LIMITS).status == 200
    caller.close()


def test_an_answer_takes_the_latency_that_is_set_and_armed(caller, control):
    control.settings(latency_seconds=0.05)
    control.arm(route="limits", latency_seconds=0.1)

    caller.call("GET", LIMITS)
    caller.call("GET", LIMITS)

    first, second = control.journal()["requests"][-2:]
    assert first["seconds"] >= 0.149
    assert second["seconds"] >= 0.049
    assert first["fault"] is not None
    assert second["fault"] is None


def test_a_spent_quota_refuses_until_it_is_given_back(caller, control):
    control.settings(quota_limit=10, quota_used=9, bursts_limit=750, bursts_used=1)

    last, refused = caller.call("GET", LIMITS), caller.call("GET", LIMITS)
    control.settings(quota_used=0)

    assert last.headers["sforce-limit-info"] == "api-usage=10/10; api-bursts=1/750"
    assert (refused.status, refused.json) == (
        403,
        [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}],
    )
    assert refused.headers["sforce-limit-info"].startswith("api-usage=10/10")
    assert caller.call("GET", LIMITS).status == 200


def test_a_body_beyond_the_limit_is_refused(caller, control):
    control.settings(max_body_bytes=300)

    assert caller.upsert({"Key__c": "a", "Text__c": "x" * 300}).status == 413
    assert caller.upsert({"Key__c": "a"}).status == 200


@pytest.mark.parametrize(
    "arming",
    [
        {},
        {"route": "collections"},
        {"status": 503, "errrorCode": "X"},
        {"status": 503, "cut": "before"},
        {"cut": "during"},
        {"cut": "before", "message": "x"},
        {"route": "nowhere", "status": 503},
        {"route": "row", "row": {"statusCode": "X"}},
        {"row": {"key": "a"}},
        {"row": {"statusCode": "X", "fault": 1}},
        {"status": "503"},
        {"status": 503, "nth": 0},
        {"status": 503, "times": -1},
        {"half": False},
        {"latency_seconds": True},
    ],
)
def test_an_arming_that_would_do_nothing_or_something_else_is_refused(control, arming):
    with pytest.raises(ControlError):
        control.arm(**arming)

    assert control.faults() == []


@pytest.mark.parametrize("setting", [{"latency": 1}, {"quota_used": -1}, {"line_end": "\n\n"}, {"page_rows": 0}])
def test_a_setting_that_the_org_does_not_have_is_refused(control, setting):
    before = control.settings()

    with pytest.raises(ControlError):
        control.settings(**setting)

    assert control.settings() == before


def test_the_journal_knows_the_requests_and_not_what_was_in_them(caller, control):
    caller.upsert({"Key__c": "a", "Text__c": "secret words"}, {"Key__c": "b"})
    caller.query(f"SELECT Key__c FROM {OBJECT} WHERE Key__c = 'a'")

    journal = control.journal()

    routes = [(each["method"], each["route"], each["rows"], each["status"]) for each in journal["requests"]]
    assert routes == [("POST", "token", 0, 200), ("PATCH", "collections", 2, 200), ("GET", "query", 1, 200)]
    assert journal["counters"]["by_route"] == {"token": 1, "collections": 1, "query": 1}
    assert journal["counters"]["rows"]["collections"] == 2
    assert journal["counters"]["connections"] == 1
    assert "secret" not in json.dumps(journal)
    assert "SELECT" not in json.dumps(journal)
    assert len(control.journal(after=2)["requests"]) == 1


def test_an_almighty_admin_changes_and_deletes_past_every_rule(caller, control):
    caller.upsert({"Key__c": "a", "Hash__c": "1"}, {"Key__c": "b"})

    assert control.change(OBJECT, "Key__c", "a", Hash__c="2") == 1
    assert control.delete(OBJECT, "Key__c", "b") == 1

    assert [(each["Key__c"], each["Hash__c"]) for each in control.rows(OBJECT)] == [("a", "2")]
    assert control.counts() == {OBJECT: 1}


def test_eight_callers_write_the_same_keys_and_each_is_there_once(org, caller, control):
    def write():
        other = Caller(org.address)
        other.token = caller.token
        for first in range(0, 400, 100):
            assert all(
                each["success"] for each in other.upsert(*({"Key__c": f"{n}"} for n in range(first, first + 100))).json
            )
        other.close()

    threads = [threading.Thread(target=write) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert control.counts() == {OBJECT: 400}
    assert control.journal()["counters"]["by_status"] == {"200": 33}


def test_a_client_that_breaks_off_in_a_request_leaves_the_org_well(org, caller):
    port = int(org.url.rpartition(":")[2])
    context = ssl.create_default_context(cafile=org.address.ca_file)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost") as half:
        half.sendall(b"PATCH /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")

    assert caller.upsert({"Key__c": "a"}).json[0]["success"]
