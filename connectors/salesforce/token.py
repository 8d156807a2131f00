"""Access tokens: asked for by a signed request or the app's own secret, and shared by all threads.

JWT bearer flow and client credentials flow, as in Salesforce Help, "OAuth 2.0 JWT Bearer Flow for Server-to-Server
Integration" and "OAuth 2.0 Client Credentials Flow for Server-to-Server Integration" (RFC 7523, RFC 6749 4.4).
"""

import re
import threading
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
import requests
import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from connectors.salesforce.session import SalesforceSession
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.transport import failed_to_reach
from consent.canonical import base64url
from sync.port import SuspendedError, TransientError

log = structlog.get_logger()

_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION_SECONDS = 180  # Salesforce takes up to five minutes

_APP = "In Setup, External Client App Manager, open the app"
_AUDIENCE, _ASSERTION = "audience", "expired|assertion"
# (error, pattern in its description, what to do); the first that matches counts.
_REFUSALS: tuple[tuple[str, str, str], ...] = (
    (
        "invalid_grant",
        "hasn't approved",
        (
            f"{_APP}, Policies, and set Permitted Users to 'Admin approved users are pre-authorized'; "
            "then add the permission set Assent Integration there"
        ),
    ),
    ("invalid_grant", "no client credentials user", f"{_APP}, Policies, and name the integration user as Run As"),
    ("invalid_grant", "no valid scopes", f"{_APP}, Settings, and add the scope 'Manage user data via APIs (api)'"),
    (
        "invalid_grant",
        _AUDIENCE,
        (
            "Set `login_url` to https://login.salesforce.com, https://test.salesforce.com for a sandbox, "
            "or the org's My Domain"
        ),
    ),
    (
        "invalid_grant",
        _ASSERTION,
        (
            "Set this machine's clock right; then, in Setup, External Client App Manager, open the app, Settings, and "
            "compare the certificate there with the key of `private_key_file`"
        ),
    ),
    ("invalid_grant", "ip restricted", "In Setup, the integration user's profile, Login IP Ranges, add our address"),
    ("invalid_grant", "inactive|locked", "In Setup, Users, activate or unlock the integration user"),
    (
        "invalid_grant",
        "",
        (
            "In Setup, Login History, see why the integration user is refused; compare `username`, `client_id` and "
            "the app's certificate with ours"
        ),
    ),
    ("invalid_app_access", "", f"{_APP}, Policies, and pre-authorize the permission set Assent Integration"),
    (
        "invalid_client_id",
        "",
        (
            f"{_APP}, Settings, Consumer Key and Secret, and copy the key to `client_id`; "
            "a new app is known after ten minutes at most"
        ),
    ),
    ("invalid_client", "", f"{_APP}, Settings, Consumer Key and Secret, and copy both anew"),
    ("unsupported_grant_type", "", f"{_APP}, Settings, and enable the flow that `auth` names"),
    ("unauthorized_client", "", f"{_APP}, Settings, and enable the flow that `auth` names"),
    ("inactive_user", "", "In Setup, Users, activate the integration user"),
    ("inactive_org", "", "The org is locked or closed: ask Salesforce"),
)
# Some orgs name the audience where it is wrong, others only refuse the request or the grant.
_PERHAPS_AUDIENCE = (_AUDIENCE, _ASSERTION, "")
# Errors of the same shape that pass by themselves.
_PASSING = re.compile("login rate exceeded|retry your request", re.IGNORECASE)
_PASSING_CODES = frozenset({"temporarily_unavailable", "server_error", "unknown_error"})


class Token(NamedTuple):
    """What calls are made with, until Salesforce says that it expired."""

    access_token: str
    #: Where this org's API is; it may differ from one token to the next.
    instance_url: str
    #: The integration user's Salesforce id, '' where the answer doesn't name it.
    user_id: str = ""


class _GrantError(SuspendedError):
    """A grant is refused: for the authorization server that our signed request names (`audience`), or perhaps so."""

    def __init__(self, code: str, advice: str, *, for_audience: bool) -> None:
        super().__init__(code, advice)
        self.for_audience = for_audience


class Tokens:
    """One token for all threads, renewed once by one of them while the others wait for it."""

    def __init__(self, settings: SalesforceSettings, session: SalesforceSession) -> None:
        self._settings, self._session = settings, session
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._flights = 0
        self._audience = settings.audience or _origin(settings.login_url)
        self._failure: TransientError | SuspendedError | None = None

    def current(self) -> Token:
        """Return the token in use, or ask for the first."""
        return self._token or self.renew(None)

    def renew(self, stale: Token | None) -> Token:
        """Return a token other than `stale`: another thread's, or a new one.

        Raises SuspendedError where Salesforce refuses us, TransientError where it can't be reached.
        """
        flight = self._flights
        with self._lock:
            if self._token is not None and self._token is not stale:
                return self._token
            if self._flights != flight and self._failure is not None:
                raise _copy(self._failure)  # those who waited for this flight share its end, too
            try:
                self._token, self._failure = self._ask_as_documented(), None
            except (TransientError, SuspendedError) as error:
                self._failure = error
                raise
            finally:
                self._flights += 1
        log.info("salesforce.token_renewed", logins=self._flights)
        return self._token

    def _ask_as_documented(self) -> Token:
        """Ask; where our address may be no audience for the org, ask once more for the one that the documents name."""
        ours, documented = self._audience, _documented_audience(self._audience)
        try:
            return self._ask(ours)
        except _GrantError as error:
            if self._settings.auth != "jwt" or self._settings.audience or documented == ours:
                raise
            refused = error
        try:
            token = self._ask(documented)
        except _GrantError as error:
            raise refused if error.for_audience else error from None
        self._audience = documented
        return token

    def _ask(self, audience: str) -> Token:
        settings = self._settings
        address = f"{settings.login_url.rstrip('/')}/services/oauth2/token"
        form, credentials = {"grant_type": "client_credentials"}, None
        if settings.auth == "jwt":
            form = {"grant_type": _JWT_GRANT, "assertion": self._assertion(audience)}
        else:
            credentials = (settings.client_id, settings.client_secret or "")
        trouble: TransientError | SuspendedError
        try:
            response = self._session.post(address, data=form, auth=credentials)
        except (requests.RequestException, OSError) as error:
            trouble = failed_to_reach(error)
        else:
            return self._read(response)
        raise trouble

    def _read(self, response: requests.Response) -> Token:
        """Read the token endpoint's answer."""
        try:
            answer = orjson.loads(response.content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            answer = {}
        if response.status_code == 200:
            token, instance = answer.get("access_token"), answer.get("instance_url")
            if isinstance(token, str) and isinstance(instance, str) and urlsplit(instance).hostname:
                # `id` is `https://login.salesforce.com/id/<organization>/<user>`.
                return Token(token, instance, str(answer.get("id") or "").rsplit("/", 1)[-1])
            raise TransientError("unreadable_token", "Salesforce's answer held no token; it is tried again")
        raise _refusal(response.status_code, answer, self._session.retry_after)

    def _assertion(self, audience: str) -> str:
        settings = self._settings
        claims = {
            "iss": settings.client_id,
            "sub": settings.username,
            "aud": audience,
            "exp": int(time.time()) + _ASSERTION_SECONDS,
        }
        signed = f"{base64url(orjson.dumps({'alg': 'RS256'}))}.{base64url(orjson.dumps(claims))}"
        signature = _load_key(settings).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64url(signature)}"


def _load_key(settings: SalesforceSettings) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key((settings.private_key or "").encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SuspendedError("bad_private_key", "`private_key_file` must hold an RSA key in PEM, without a password")
    return key


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _documented_audience(url: str) -> str:
    """Return the audience that the documents name ("OAuth 2.0 JWT Bearer Flow", `aud`) for an address of an org.

    They name these two, and orgs that take their My Domain as well are many, but not all.
    """
    sandbox = re.search(r"(^https://test\.|--|\.sandbox\.)", url) is not None
    return "https://test.salesforce.com" if sandbox else "https://login.salesforce.com"


def _refusal(status: int, answer: dict[str, Any], retry_after: float | None) -> TransientError | SuspendedError:
    error, description = str(answer.get("error", "")), str(answer.get("error_description", ""))
    if status >= 500 or status in (408, 420, 429) or error in _PASSING_CODES or _PASSING.search(description):
        return TransientError(f"login_http_{status}", "Salesforce takes no logins now", retry_after=retry_after)
    for code, pattern, advice in _REFUSALS:
        if code == error and re.search(pattern, description, re.IGNORECASE):
            if pattern in _PERHAPS_AUDIENCE and code == "invalid_grant":
                return _GrantError(code, advice, for_audience=pattern == _AUDIENCE)
            return SuspendedError(code, advice)
    if 300 <= status < 400:
        return SuspendedError("redirected", "`login_url` answers with a redirect: set it to the org's My Domain")
    return SuspendedError(f"login_http_{status}", "Salesforce refuses our login: compare `login_url`, `client_id` and "
                          "the key or secret with the app in Setup, External Client App Manager")  # fmt: skip


def _copy(error: TransientError | SuspendedError) -> TransientError | SuspendedError:
    if isinstance(error, TransientError):
        return TransientError(error.code, error.advice, retry_after=error.retry_after)
    return SuspendedError(error.code, error.advice, until=error.until)
