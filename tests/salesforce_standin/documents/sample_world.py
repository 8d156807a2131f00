"""A small package with a field of every type, and a caller that knows HTTP and nothing else."""

import gzip
import http.client
import json
import ssl
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit
from xml.sax.saxutils import escape

V = "/services/data/v62.0"
OBJECT = "Sample__c"
COLLECTIONS = f"{V}/composite/sobjects/{OBJECT}/Key__c"

FIELDS = {
    "Key__c": {"type": "Text", "length": 64, "externalId": True, "unique": True, "caseSensitive": True,
               "required": True},
    "Reference__c": {"type": "Text", "length": 20, "externalId": True},
    "Serial__c": {"type": "Text", "length": 20, "unique": True},
    "Hash__c": {"type": "Text", "length": 64},
    "Short__c": {"type": "Text", "length": 10, "label": "Short Text"},
    "Area__c": {"type": "TextArea"},
    "Text__c": {"type": "LongTextArea", "length": 2000, "visibleLines": 3},
    "Seq__c": {"type": "Number", "precision": 10, "scale": 0},
    "Rate__c": {"type": "Number", "precision": 5, "scale": 2},
    "At__c": {"type": "DateTime"},
    "Day__c": {"type": "Date"},
    "Flag__c": {"type": "Checkbox", "defaultValue": "false"},
    "State__c": {"type": "Picklist", "valueSet": "opted_in opted_out"},
    "Phone__c": {"type": "Phone"},
    "Link__c": {"type": "Url"},
    "Contact__c": {"type": "Lookup", "referenceTo": "Contact", "relationshipName": "Samples"},
    "Doubled__c": {"type": "Text", "formula": 'Hash__c & "x"'},
}  # fmt: skip
RULE = "NOT(ISNEW()) && (ISCHANGED(Hash__c) || AND(ISCHANGED(Seq__c), NOT(ISBLANK(Hash__c))))"
MESSAGE = "Samples are append-only."


def write_package(root, fields=FIELDS, rule=RULE):
    """Write an SFDX package with one object and one validation rule."""
    folder = root / "force-app" / "main" / "default" / "objects" / OBJECT
    (folder / "fields").mkdir(parents=True)
    (folder / "validationRules").mkdir()
    name = "<nameField><displayFormat>S-{0000}</displayFormat><label>Number</label><type>AutoNumber</type></nameField>"
    _write(folder / f"{OBJECT}.object-meta.xml", "CustomObject", f"<label>Sample</label>{name}")
    for field, members in fields.items():
        content = "".join(_element(*each) for each in {"fullName": field, "label": field, **members}.items())
        _write(folder / "fields" / f"{field}.field-meta.xml", "CustomField", content)
    content = (
        f"<fullName>Append_Only</fullName><active>true</active><errorConditionFormula>{escape(rule)}"
        f"</errorConditionFormula><errorMessage>{MESSAGE}</errorMessage>"
    )
    _write(folder / "validationRules" / "Append_Only.validationRule-meta.xml", "ValidationRule", content)
    return root


def _element(name, value):
    if name == "valueSet":
        values = "".join(f"<value><fullName>{each}</fullName><label>{each}</label></value>" for each in value.split())
        return f"<valueSet><restricted>true</restricted><valueSetDefinition>{values}</valueSetDefinition></valueSet>"
    return f"<{name}>{escape(str(value).lower() if isinstance(value, bool) else str(value))}</{name}>"


def _write(file, root, content):
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    file.write_text(f'{head}<{root} xmlns="http://soap.sforce.com/2006/04/metadata">{content}</{root}>')


class Reply:
    """One answer, unpacked."""

    def __init__(self, response):
        raw = response.read()
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.raw = gzip.decompress(raw) if self.headers.get("content-encoding") == "gzip" else raw
        self.json = json.loads(self.raw) if "json" in self.headers.get("content-type", "") else None

    @property
    def error(self):
        return self.json[0]["errorCode"]


class Caller:
    """One kept-alive connection to the org, that may log in by the client's secret."""

    def __init__(self, address, *, timeout=20):
        self.address = address
        url = urlsplit(address.url)
        context = ssl.create_default_context(cafile=address.ca_file)
        self.connection = http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=timeout)
        self.token = ""

    def close(self):
        self.connection.close()

    def ask_token(self, **form):
        return self.call("POST", "/services/oauth2/token", urlencode(form))

    def login(self):
        secret = Path(self.address.client_secret_file).read_text()
        answer = self.ask_token(grant_type="client_credentials", client_id=self.address.client_id, client_secret=secret)
        self.token = answer.json["access_token"]
        return self

    def call(self, method, path, content=None, headers=None):
        kind = "application/x-www-form-urlencoded" if isinstance(content, str) else "application/json"
        sent = {"Authorization": f"Bearer {self.token}", "Accept-Encoding": "gzip", "Content-Type": kind}
        body = content if isinstance(content, (str, bytes, type(None))) else json.dumps(content)
        try:
            self.connection.request(method, path, body, {**sent, **(headers or {})})
            return Reply(self.connection.getresponse())
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise

    def upsert(self, *records, all_or_none=False):
        rows = [{"attributes": {"type": OBJECT}, **each} for each in records]
        return self.call("PATCH", COLLECTIONS, {"allOrNone": all_or_none, "records": rows})

    def query(self, soql, **headers):
        return self.call("GET", f"{V}/query?q={quote(soql)}", headers=headers)

    def values(self, field, where="Key__c != null"):
        """One field of all records that meet a condition, by key."""
        answer = self.query(f"SELECT {field} FROM {OBJECT} WHERE {where} ORDER BY Key__c")
        return [each[field] for each in answer.json["records"]]
