"""The token endpoint and the sessions that it opens.

Salesforce Help, "OAuth 2.0 JWT Bearer Flow for Server-to-Server Integration" and "OAuth 2.0 Client Credentials Flow";
errors are an object `{"error", "error_description"}` of status 400 ("OAuth 2.0 Error Codes"), not the array of REST.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import jwt

from connectors.salesforce.standin.answers import Answer
from connectors.salesforce.standin.certificates import Client, public_key_of

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
#: Help, "JWT Bearer Flow": "the value must be … within 3 minutes"; clocks may differ by a little.
_LATEST_EXPIRY = 180 + 120


class Sessions:
    """Who may ask the org; forgotten when the process ends, as if every session had been revoked."""

    def __init__(self, client: Client, organization_id: str, user_id: str) -> None:
        self._client = client
        self._key = public_key_of(client.public_key)
        self._organization_id = organization_id
        self._user_id = user_id
        self._expiries: dict[str, float] = {}

    def token(
        self, headers: Mapping[str, str], body: bytes, audiences: list[str], instance_url: str, seconds: float
    ) -> Answer:
        """Answer a form to `/services/oauth2/token` with a new session, or say why not."""
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        grants: dict[str, Callable[[], Answer | None]] = {
            _JWT_GRANT: lambda: self._refuse_assertion(form.get("assertion", ""), audiences),
            "client_credentials": lambda: self._refuse_secret(headers, form),
        }
        grant = grants.get(form.get("grant_type", ""))
        if grant is None:
            return _refusal("unsupported_grant_type", "grant type not supported")
        return grant() or self._open(instance_url, seconds)

    def allows(self, authorization: str) -> bool:
        """True for a session that was opened here and has not expired."""
        scheme, _, token = authorization.partition(" ")
        expiry = self._expiries.get(token) if scheme.lower() in {"bearer", "oauth"} else None
        return expiry is not None and expiry > time.monotonic()

    def expire(self) -> None:
        """End every session now."""
        self._expiries.clear()

    def _open(self, instance_url: str, seconds: float) -> Answer:
        token = f"{self._organization_id[:15]}!AQ{secrets.token_urlsafe(48)}"
        self._expiries[token] = time.monotonic() + seconds
        identity = f"https://login.salesforce.com/id/{self._organization_id}/{self._user_id}"
        issued_at = str(int(time.time() * 1000))
        signed = hmac.digest(self._client.client_secret.encode(), (identity + issued_at).encode(), hashlib.sha256)
        content = {
            "access_token": token,
            "signature": base64.b64encode(signed).decode(),
            "scope": "api",
            "instance_url": instance_url,
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued_at,
        }
        return Answer(200, content, _NOT_STORED)

    def _refuse_assertion(self, assertion: str, audiences: list[str]) -> Answer | None:
        try:
            claims = jwt.decode(
                assertion,
                self._key,
                algorithms=["RS256"],
                audience=audiences,
                options={"require": ["iss", "sub", "aud", "exp"]},
            )
        except jwt.InvalidAudienceError:
            return _refusal("invalid_grant", "audience is invalid")
        except jwt.ExpiredSignatureError:
            return _refusal("invalid_grant", "expired access/refresh token")
        except jwt.InvalidTokenError:
            return _refusal("invalid_grant", "invalid assertion")
        if claims["iss"] != self._client.client_id:
            return _refusal("invalid_client_id", "client identifier invalid")
        if claims["sub"] != self._client.username:
            return _refusal("invalid_grant", "user hasn't approved this consumer")
        if int(claims["exp"]) > time.time() + _LATEST_EXPIRY:  # some libraries send it as text
            return _refusal("invalid_grant", "invalid assertion")
        return None

    def _refuse_secret(self, headers: Mapping[str, str], form: Mapping[str, str]) -> Answer | None:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, encoded = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return _refusal("invalid_client", "invalid client credentials")
        if client_id != self._client.client_id:
            return _refusal("invalid_client_id", "client identifier invalid")
        if not hmac.compare_digest(secret.encode(), self._client.client_secret.encode()):
            return _refusal("invalid_client", "invalid client credentials")
        return None


def _refusal(error: str, description: str) -> Answer:
    return Answer(400, {"error": error, "error_description": description}, _NOT_STORED)
