"""The token endpoint, as the OAuth documents have it."""

import base64
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.salesforce_standin.standin_world import V

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture
def ask_by_jwt(stranger):
    def ask(key=None, **changes):
        address = stranger.address
        claims = {"iss": address.client_id, "sub": address.username, "aud": address.url, "exp": int(time.time()) + 180}
        key = key or Path(address.private_key_file).read_text()
        return stranger.ask_token(grant_type=JWT_GRANT, assertion=jwt.encode({**claims, **changes}, key, "RS256"))

    return ask


def test_a_signed_assertion_opens_a_session(stranger, ask_by_jwt):
    answer = ask_by_jwt(exp=str(int(time.time()) + 180))

    assert answer.status == 200
    assert set(answer.json) == {"access_token", "signature", "scope", "instance_url", "id", "token_type", "issued_at"}
    assert answer.json["instance_url"] == stranger.address.url
    assert answer.headers["cache-control"] == "no-store"
    stranger.token = answer.json["access_token"]
    assert stranger.call("GET", f"{V}/limits").status == 200


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"iss": "another"}, {"error": "invalid_client_id", "error_description": "client identifier invalid"}),
        ({"sub": "nobody"}, {"error": "invalid_grant", "error_description": "user hasn't approved this consumer"}),
        ({"aud": "https://example.org"}, {"error": "invalid_grant", "error_description": "audience is invalid"}),
        ({"exp": 1}, {"error": "invalid_grant", "error_description": "expired access/refresh token"}),
        ({"exp": 9_999_999_999}, {"error": "invalid_grant", "error_description": "invalid assertion"}),
    ],
)
def test_an_assertion_that_claims_something_else_is_refused(ask_by_jwt, changes, body):
    answer = ask_by_jwt(**changes)

    assert (answer.status, answer.json) == (400, body)


def test_an_assertion_of_another_key_is_refused(ask_by_jwt):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    answer = ask_by_jwt(key=other)

    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")


def test_the_secret_is_taken_in_the_body_and_as_basic_credentials(stranger):
    address = stranger.address
    secret = Path(address.client_secret_file).read_text()
    basic = base64.b64encode(f"{address.client_id}:{secret}".encode()).decode()

    in_body = stranger.ask_token(grant_type="client_credentials", client_id=address.client_id, client_secret=secret)
    in_header = stranger.ask_token({"Authorization": f"Basic {basic}"}, grant_type="client_credentials")

    assert (in_body.status, in_header.status) == (200, 200)


def test_a_wrong_secret_and_an_unknown_grant_are_refused_as_objects(stranger):
    wrong = stranger.ask_token(grant_type="client_credentials", client_id=stranger.address.client_id, client_secret="x")
    unknown = stranger.ask_token(grant_type="password")

    assert (wrong.status, wrong.json) == (
        400,
        {"error": "invalid_client", "error_description": "invalid client credentials"},
    )
    assert (unknown.status, unknown.json["error"]) == (400, "unsupported_grant_type")


def test_a_call_without_a_session_is_turned_away(stranger):
    answer = stranger.call("GET", f"{V}/limits")

    assert answer.status == 401
    assert answer.json == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]


def test_a_session_ends_when_it_is_said_to(caller, control):
    assert caller.call("GET", f"{V}/limits").status == 200

    control.expire_sessions()

    assert caller.call("GET", f"{V}/limits").status == 401


def test_a_new_instance_url_is_told_with_the_token_and_the_former_one_forgets(caller, control, org):
    port = org.url.rpartition(":")[2]
    control.settings(instance_url=f"https://localhost:{port}")

    assert caller.call("GET", f"{V}/limits").status == 401
    assert caller.login().call("GET", f"{V}/limits", headers={"Host": f"localhost:{port}"}).status == 200
    assert caller.call("GET", f"{V}/limits").status == 401
