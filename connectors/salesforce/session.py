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
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers

from connectors.salesforce.settings import SalesforceSettings

_CONNECTIONS = 16
#: Seconds; an answer that asks for more isn't meant, or not ours to count with.
_LONGEST_WAIT = 86_400.0


class SalesforceSession(requests.Session):
    """A session that never waits for ever, follows no redirect, and hands on what Salesforce says beside its answers.

    It takes nothing from the environment: no proxy, no `.netrc` and above all no `REQUESTS_CA_BUNDLE`,
    which would beat the settings' own.
    """

    def __init__(self, settings: SalesforceSettings, hear_usage: Callable[[str], None]) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = self._ca = settings.ca_bundle or True
        self.adapters.clear()  # https only: a token never travels in clear
        # No retries of urllib3's own: it would repeat GET and not PATCH, and each delay has one owner.
        self.mount("https://", _Adapter(pool_connections=4, pool_maxsize=_CONNECTIONS, max_retries=0))
        # Salesforce sets cookies for browsers; eight threads need not keep them.
        self.cookies = RequestsCookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        self._headers = {name: str(value) for name, value in self.headers.items()}
        self._timeout = (settings.connect_timeout, settings.read_timeout)
        self._hear_usage = hear_usage
        self._seen = threading.local()

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Send a request with both timeouts; a redirect comes back as it is, its status 3xx."""
        self._seen.retry_after = None
        if isinstance(body := options.get("data"), bytes):
            return self._heard(self._send_ready(method, url, options["headers"], body))
        options["timeout"] = self._timeout
        options["allow_redirects"] = False
        return self._heard(super().request(method, url, *args, **options))

    def _send_ready(self, method: str, url: str, headers: dict[str, str], body: bytes) -> requests.Response:
        """Send a body that is ready to go: nothing is left for requests to make of it, at half a millisecond a call."""
        ready = requests.PreparedRequest()
        ready.method, ready.url, ready.body = method, url, body
        ready.headers = CaseInsensitiveDict(self._headers | headers | {"Content-Length": str(len(body))})
        return self.get_adapter(url).send(ready, timeout=self._timeout, verify=self._ca)

    def _heard(self, response: requests.Response) -> requests.Response:
        """Hand on the use of the API, and keep the wait, that any answer names, errors among them."""
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
    """Finds an open connection, and hands on an answer, in half the time."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # The newest only: requests closes those that weren't asked for lately.
        self._newest: tuple[str, Any] = ("", None)

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> Any:
        """Return the pool of connections to a request's host; a session's settings for TLS never change."""
        url = str(request.url)
        host = url[: url.find("/", len("https://"))]
        known, pool = self._newest
        if known != host:
            pool = super().get_connection_with_tls_context(request, *args, **options)
            self._newest = (host, pool)
        return pool

    def build_response(self, request: requests.PreparedRequest, answer: Any) -> requests.Response:
        """Return an answer as requests does, but for cookies, which nobody here keeps."""
        response = _Answer()
        response.status_code, response.reason, response.raw = answer.status, answer.reason, answer
        response.headers = CaseInsensitiveDict(answer.headers)
        response.encoding = get_encoding_from_headers(response.headers)
        response.url, response.request = str(request.url), request
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
        return min(float(header), _LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(header).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, (until - datetime.now(UTC)).total_seconds()), _LONGEST_WAIT)
