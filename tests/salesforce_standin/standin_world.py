"""A client of the stand-in that shares nothing with ours: HTTPS from the standard library, JSON in and out."""

import base64
import http.client
import json
import ssl
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt

PACKAGE = Path(str(files("connectors.salesforce") / "package"))
ENTRY = "Assent_Entry__c"
KEY = "Entry_Id__c"
DATA = "/services/data/v62.0/"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The errorCode of a refusal, which is a list of one."""
        ((error),) = self.json
        return error["errorCode"]


class Caller:
    """A client of the org on nothing but the standard library, which trusts the org's own authority only."""

    def __init__(self, address, timeout=5.0):
        self.address = address
        self.timeout = timeout
        self._tls = ssl.create_default_context(cafile=address.ca_file)
        self._connection = None
        self._token = None

    def ask(self, method, path, body=None, **headers):
        """Send one request as it is, and return the whole answer; errors of the socket come out as they are."""
        if self._connection is None:
            at = urlsplit(self.address.url)
            self._connection = http.client.HTTPSConnection(
                at.hostname, at.port, context=self._tls, timeout=self.timeout
            )
        try:
            self._connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            with self._connection.getresponse() as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def call(self, method, path, content=None, **headers):
        """Make one REST call with a session, JSON in and out; `path` counts from the version on."""
        if self._token is None:
            self._token = self.login().json["access_token"]
        body = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
        if body is not None:
            headers = {"Content_Type": "application/json", **headers}
        path = path if path.startswith("/") else DATA + path
        return self.ask(method, path, body, Authorization=f"Bearer {self._token}", **headers)

    def forget(self):
        """Log in anew at the next call."""
        self._token = None

    def post_token(self, form, **headers):
        headers = {"Content_Type": "application/x-www-form-urlencoded", **headers}
        return self.ask("POST", "/services/oauth2/token", urlencode(form), **headers)

    def login(self, key=None, headers=None, algorithm="RS256", **claims):
        """Ask for a token by JWT, some of its claims changed."""
        key = Path(self.address.private_key_file).read_text() if key is None else key
        known = {
            "iss": self.address.client_id,
            "sub": self.address.username,
            "aud": "https://login.salesforce.com",
            "exp": int(time.time()) + 170,
        }
        chosen = {name: value for name, value in {**known, **claims}.items() if value is not None}
        return self.post_token({"grant_type": JWT_GRANT, "assertion": jwt.encode(chosen, key, algorithm)})

    def upsert(self, *records, object_name=ENTRY, field=KEY, all_or_none=False):
        """Upsert a collection; returns the answer."""
        whole = [{"attributes": {"type": object_name}, **each} for each in records]
        content = {"allOrNone": all_or_none, "records": whole}
        return self.call("PATCH", f"composite/sobjects/{object_name}/{field}", content)

    def close(self):
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def entry(n, **values):
    """A record of an entry, as small as it may be."""
    return {KEY: f"acme-{n:012}", "Seq__c": n, "Organization__c": "acme", "Lane__c": "consent", **values}


def basic(client_id, secret):
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()
