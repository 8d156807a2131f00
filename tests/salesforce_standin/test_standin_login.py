"""Who is let in: the token endpoint, and the sessions that it opens."""

import ssl
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.salesforce_standin.standin_world import JWT_GRANT, Caller, basic


def refusal(answer):
    assert (answer.status, answer.headers["Cache-Control"]) == (400, "no-store")
    return answer.json["error"], answer.json["error_description"]


def other_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def secret_of(org):
    return Path(org.address.client_secret_file).read_text()


def test_a_signed_assertion_opens_a_session(caller, org):
    answer = caller.login()

    assert answer.status == 200
    assert sorted(answer.json) == [
        "access_token", "id", "instance_url", "issued_at", "scope", "signature", "token_type"
    ]  # fmt: skip
    assert (answer.json["instance_url"], answer.json["token_type"]) == (org.url, "Bearer")
    assert caller.call("GET", "limits").status == 200


def test_an_expiry_may_be_sent_as_text_and_the_audience_may_be_the_org_itself(caller, org):
    assert caller.login(exp=str(int(time.time()) + 100)).status == 200
    for audience in ("https://test.salesforce.com", org.url, f"{org.url}/services/oauth2/token"):
        assert caller.login(aud=audience).status == 200


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "another"}, ("invalid_client_id", "client identifier invalid")),
        ({"sub": "nobody@example.com"}, ("invalid_grant", "user hasn't approved this consumer")),
        ({"aud": "https://example.com"}, ("invalid_grant", "audience is invalid")),
        ({"sub": None}, ("invalid_grant", "invalid assertion")),
        ({"exp": None}, ("invalid_grant", "invalid assertion")),
        ({"aud": None}, ("invalid_grant", "invalid assertion")),
    ],
    ids=str,
)
def test_an_assertion_with_a_wrong_claim_is_refused_in_the_words_of_salesforce(caller, claims, said):
    assert refusal(caller.login(**claims)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-60, "expired access/refresh token"), (3600, "invalid assertion")],
    ids=["a minute ago", "in an hour"],
)
def test_an_assertion_that_ends_at_a_wrong_time_is_refused_in_the_words_of_salesforce(caller, seconds, said):
    assert refusal(caller.login(exp=int(time.time()) + seconds)) == ("invalid_grant", said)


def test_an_assertion_that_another_key_signed_is_refused(caller):
    assert refusal(caller.login(key=other_key())) == ("invalid_grant", "invalid assertion")


def test_an_assertion_without_a_signature_or_with_a_symmetric_one_is_refused(caller):
    for algorithm, key in (("none", ""), ("HS256", "a secret that is long enough for its algorithm")):
        assert refusal(caller.login(key=key, algorithm=algorithm)) == ("invalid_grant", "invalid assertion")
    assert refusal(caller.post_token({"grant_type": JWT_GRANT, "assertion": "a.b.c"}))[0] == "invalid_grant"


def test_the_secret_opens_a_session_in_the_header_and_in_the_form(caller, org):
    secret, known = secret_of(org), org.address.client_id
    form = {"grant_type": "client_credentials"}

    assert caller.post_token(form, Authorization=basic(known, secret)).status == 200
    assert caller.post_token({**form, "client_id": known, "client_secret": secret}).status == 200


def test_a_wrong_secret_or_client_is_refused_in_the_words_of_salesforce(caller, org):
    form, known = {"grant_type": "client_credentials"}, org.address.client_id

    for header in (basic(known, "wrong"), basic(known, ""), "Basic %%%"):
        assert refusal(caller.post_token(form, Authorization=header)) == (
            "invalid_client", "invalid client credentials"
        )  # fmt: skip
    assert refusal(caller.post_token(form, Authorization=basic("x", secret_of(org))))[0] == "invalid_client_id"
    assert refusal(caller.post_token({"grant_type": "password"}))[0] == "unsupported_grant_type"
    assert refusal(caller.post_token({}))[0] == "unsupported_grant_type"


def test_no_session_no_answer(caller):
    for header in ({}, {"Authorization": "Bearer made-up"}, {"Authorization": "Basic eDp5"}):
        answer = caller.ask("GET", "/services/data/v62.0/limits", **header)
        assert answer.status == 401
        assert answer.json == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
    assert caller.ask("GET", "/services/data").status == 200


def test_a_session_ends_when_it_is_told_to_and_when_its_time_is_over(caller, control):
    assert caller.call("GET", "limits").status == 200

    control.expire_sessions()
    assert caller.call("GET", "limits").code == "INVALID_SESSION_ID"

    control.settings(session_seconds=0)
    caller.forget()
    assert caller.call("GET", "limits").code == "INVALID_SESSION_ID"


def test_an_org_that_moved_knows_its_sessions_at_the_new_address_only(caller, org, control):
    moved = org.url.replace("127.0.0.1", "localhost")
    control.settings(instance_url=moved)

    assert caller.login().json["instance_url"] == moved
    assert caller.call("GET", "limits").code == "INVALID_SESSION_ID"
    assert caller.call("GET", "limits", Host=moved.partition("://")[2]).status == 200


def test_a_client_that_does_not_trust_the_orgs_own_authority_is_not_talked_to(org):
    stranger = Caller(org.address)
    stranger._tls = ssl.create_default_context()

    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.login()
