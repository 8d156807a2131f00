"""The HTTP session that every call to Salesforce goes through, logins too."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import orjson
import requests
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar

from connectors.salesforce.settings import SalesforceSettings

_CONNECTIONS = 16


class SalesforceSession(requests.Session):
    """A session that never waits for ever, follows no redirect, and hands on what Salesforce says beside its answers.

    It takes nothing from the environment: no proxy, no `.netrc` and above all no `REQUESTS_CA_BUNDLE`,
    which would beat the settings' own.
    """

    def __init__(self, settings: SalesforceSettings, hear_usage: Callable[[str], None]) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = settings.ca_bundle or True
        self.adapters.clear()  # https only: a token never travels in clear
        # No retries of urllib3's own: it would repeat GET and not PATCH, and each delay has one owner.
        self.mount("https://", _Adapter(pool_connections=4, pool_maxsize=_CONNECTIONS, max_retries=0))
        # Salesforce sets cookies for browsers; eight threads need not keep them.
        self.cookies = RequestsCookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        self._timeout = (settings.connect_timeout, settings.read_timeout)
        self._hear_usage = hear_usage
        self._seen = threading.local()

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Send a request with both timeouts; a redirect comes back as it is, its status 3xx."""
        options["timeout"] = self._timeout
        options["allow_redirects"] = False
        self._seen.retry_after = None
        return super().request(method, url, *args, **options)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Hand on the use of the API, and keep the wait, that any answer names, errors among them."""
        response = super().send(request, **options)
        usage = response.headers.get("Sforce-Limit-Info")
        if usage:
            self._hear_usage(usage)
        self._seen.retry_after = read_retry_after(response.headers.get("Retry-After"))
        return response

    @property
    def retry_after(self) -> float | None:
        """Seconds that this thread's newest answer asked to wait, where it did."""
        seconds: float | None = getattr(self._seen, "retry_after", None)
        return seconds


class _Adapter(HTTPAdapter):
    """Answers whose JSON is read in half the time."""

    def build_response(self, request: requests.PreparedRequest, answer: Any) -> requests.Response:
        response = super().build_response(request, answer)
        response.__class__ = _Answer
        return response


class _Answer(requests.Response):
    def json(self, **_hooks: Any) -> Any:
        """Read the body; ValueError where it is no JSON in UTF-8. Simple-salesforce's hooks for it are all empty."""
        return orjson.loads(self.content)


def read_retry_after(header: str | None) -> float | None:
    """Return the seconds of a `Retry-After` (a number or a date); None where there is none to be read."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (until.astimezone(UTC) - datetime.now(UTC)).total_seconds())
