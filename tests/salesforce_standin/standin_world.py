"""What the tests of the stand-in stand on: a plain HTTPS client, a package of every field type, and processes."""

import base64
import http.client
import json
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

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

    def query(self, soql, how="query", **headers):
        return self.call("GET", f"{how}?q={quote(soql)}", **headers)

    def close(self):
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def entry(n, **values):
    """A record of an entry, as small as it may be."""
    return {KEY: f"acme-{n:012}", "Seq__c": n, "Organization__c": "acme", "Lane__c": "consent", **values}


def basic(client_id, secret):
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


_METADATA = 'xmlns="http://soap.sforce.com/2006/04/metadata"'


def write_package(folder, fields, rules=(), name="Thing__c"):
    """Write an SFDX package of one object; each field and rule is the XML inside its element."""
    objects = folder / "force-app" / "main" / "default" / "objects" / name
    for each in ("fields", "validationRules"):
        (objects / each).mkdir(parents=True, exist_ok=True)
    (objects / f"{name}.object-meta.xml").write_text(
        f"<CustomObject {_METADATA}><label>Thing</label><pluralLabel>Things</pluralLabel>"
        "<nameField><label>Name</label><type>AutoNumber</type><displayFormat>T-{0000}</displayFormat></nameField>"
        "</CustomObject>"
    )
    for field, kind, inside in fields:
        (objects / "fields" / f"{field}.field-meta.xml").write_text(
            f"<CustomField {_METADATA}><fullName>{field}</fullName><label>{field.removesuffix('__c')}</label>"
            f"<type>{kind}</type>{inside}</CustomField>"
        )
    for rule, formula, message in rules:
        (objects / "validationRules" / f"{rule}.validationRule-meta.xml").write_text(
            f"<ValidationRule {_METADATA}><fullName>{rule}</fullName><active>true</active>"
            f"<errorConditionFormula>{formula}</errorConditionFormula><errorMessage>{message}</errorMessage>"
            "</ValidationRule>"
        )
    return folder


def choices(*names, restricted=True):
    values = "".join(f"<value><fullName>{each}</fullName><default>false</default></value>" for each in names)
    flag = str(restricted).lower()
    return f"<valueSet><restricted>{flag}</restricted><valueSetDefinition>{values}</valueSetDefinition></valueSet>"


class Process:
    """The stand-in as a process of its own, from its command line."""

    def __init__(self, state, *arguments):
        ready = state.with_name(state.name + ".ready")
        ready.unlink(missing_ok=True)
        self.errors = state.with_name(state.name + ".log")
        with self.errors.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "connectors.salesforce.standin", "--package", str(PACKAGE),
                 "--state", str(state), "--ready-file", str(ready), *arguments],
                cwd=Path(__file__).parents[2], stderr=stream,
            )  # fmt: skip
        while not ready.exists():
            assert self.process.poll() is None, self.errors.read_text()
            time.sleep(0.01)
        self.ready = json.loads(ready.read_text())

    def log(self):
        return [json.loads(each) for each in self.errors.read_text().splitlines()]

    def kill(self):
        self.process.kill()
        return self.process.wait()

    def stop(self):
        self.process.terminate()
        return self.process.wait()
