"""How the client signs in: which way, when anew, and what it says where it is refused."""

import threading
import time

import pytest

from connectors.salesforce.token import _documented_audience
from sync.port import Receipt, SuspendedError, TransientError


def test_eight_threads_that_meet_an_expired_session_log_in_once(org, salesforce, make_entries, batch_of):
    entries = make_entries(["text"] * 80)
    salesforce.push(batch_of(entries[:1]))
    org.settings(latency_seconds=0.05)  # so that all eight are on their way when the first is turned away
    org.expire_sessions()
    together, outcomes = threading.Barrier(8), {}

    def work(number):
        together.wait()
        outcomes[number] = salesforce.push(batch_of(entries[number * 10 : number * 10 + 10]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(isinstance(each, Receipt) for number in range(8) for each in outcomes[number])
    assert [each["route"] for each in org.journal()["requests"]].count("token") == 2  # the first login, and one more
    assert org.counts()["Assent_Entry__c"] == 80


def test_eight_threads_share_one_failed_login(org, salesforce, make_entries, batch_of):
    fault = org.arm(
        route="token", status=400, error="invalid_client_id", error_description="client identifier invalid", times=0
    )
    org.settings(latency_seconds=0.3)
    together, codes = threading.Barrier(8), []

    def work():
        together.wait()
        with pytest.raises(SuspendedError) as caught:
            salesforce.push(batch_of(make_entries(["a"])))
        codes.append(caught.value.code)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert codes == ["invalid_client_id"] * 8
    assert org.struck(fault) < 8  # one, unless a thread came too late to wait for it


_EXPIRED = {"route": "collections", "status": 401, "errorCode": "INVALID_SESSION_ID",
            "message": "Session expired or invalid"}  # fmt: skip


def test_sessions_that_are_all_refused_suspend_for_a_quarter_of_an_hour(org, salesforce, make_entries, batch_of):
    org.arm(**_EXPIRED, times=0)

    with pytest.raises(SuspendedError) as caught:
        salesforce.push(batch_of(make_entries(["a"])))

    routes = [each["route"] for each in org.journal()["requests"]]
    assert caught.value.code == "INVALID_SESSION_ID"
    assert caught.value.until / 1_000_000 - time.time() == pytest.approx(900, abs=30)
    assert (routes.count("token"), routes.count("collections")) == (4, 6)


def test_a_new_session_that_is_refused_for_a_moment_stops_nothing(org, salesforce, make_entries, batch_of):
    org.arm(**_EXPIRED, times=3)

    assert isinstance(salesforce.push(batch_of(make_entries(["a"])))[0], Receipt)


def test_client_credentials_log_in_too(org, connect, make_entries, batch_of):
    connector = connect(auth="client_credentials", username=None, private_key=None)

    assert isinstance(connector.push(batch_of(make_entries(["a"])))[0], Receipt)


def test_an_org_that_takes_only_the_documented_audience_gets_it(org, salesforce, make_entries, batch_of):
    org.settings(audience="https://login.salesforce.com")

    first = salesforce.push(batch_of(make_entries(["a"])))
    org.expire_sessions()
    second = salesforce.push(batch_of(make_entries(["b"], first=1)))

    statuses = [each["status"] for each in org.journal()["requests"] if each["route"] == "token"]
    assert [type(each) for each in (*first, *second)] == [Receipt, Receipt]
    assert statuses == [400, 200, 200]


@pytest.mark.parametrize("said", ["invalid assertion", "authentication failure", "expired authorization code"])
def test_an_org_that_refuses_an_audience_in_other_words_gets_the_documented_one(
    org, salesforce, make_entries, batch_of, said
):
    org.settings(audience="https://login.salesforce.com")
    org.arm(route="token", status=400, error="invalid_grant", error_description=said, times=1)

    assert isinstance(salesforce.push(batch_of(make_entries(["a"])))[0], Receipt)


def test_a_wrong_key_is_told_as_one_and_not_as_a_wrong_audience(org, connect, make_entries, batch_of):
    org.arm(route="token", status=400, error="invalid_grant", error_description="invalid assertion", times=1)
    org.arm(route="token", status=400, error="invalid_grant", error_description="audience is invalid", times=1)

    with pytest.raises(SuspendedError, match="compare the certificate"):
        connect().push(batch_of(make_entries(["a"])))


@pytest.mark.parametrize(
    ("url", "audience"),
    [
        ("https://acme.my.salesforce.com", "https://login.salesforce.com"),
        ("https://acme--test.sandbox.my.salesforce.com", "https://test.salesforce.com"),
        ("https://test.salesforce.com", "https://test.salesforce.com"),
        ("https://login.salesforce.com", "https://login.salesforce.com"),
    ],
)
def test_a_sandbox_is_known_by_its_address(url, audience):
    assert _documented_audience(url) == audience


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"auth": "client_credentials", "client_secret": "wrong"}, "invalid_client", "Consumer Key"),
        ({"client_id": "wrong"}, "invalid_client_id", "Consumer Key"),
        ({"username": "wrong@example.com"}, "invalid_grant", "pre-authorized"),
        ({"audience": "https://elsewhere.example.com"}, "invalid_grant", "login_url"),
        ({"ca_bundle": None}, "untrusted_certificate", "ca_bundle"),
        ({"ca_bundle": "/nowhere/ca.pem"}, "ca_bundle", "ca_bundle"),
        ({"login_url": "http://127.0.0.1:9"}, "bad_address", "https"),
    ],
)
def test_a_refused_login_suspends_and_says_what_to_do(org, connect, make_entries, batch_of, changes, code, word):
    with pytest.raises(SuspendedError) as caught:
        connect(**changes).push(batch_of(make_entries(["a"])))

    assert caught.value.code == code
    assert word in caught.value.advice


@pytest.mark.parametrize("key", ["not a key", "", None])
def test_a_key_that_is_none_suspends_and_says_what_it_must_be(org, connect, make_entries, batch_of, key):
    connector = connect(private_key=key)

    with pytest.raises(SuspendedError, match="RSA key in PEM"):
        connector.push(batch_of(make_entries(["a"])))


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_login_is_transient(org, salesforce, make_entries, batch_of, status):
    org.arm(route="token", status=status, html=True, times=0)

    with pytest.raises(TransientError):
        salesforce.push(batch_of(make_entries(["a"])))
