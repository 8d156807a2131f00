"""The Metadata API's deployments: a zip is checked, and the caller is told by and by how that went.

Metadata API Developer Guide, "deploy()", "checkDeployStatus()", "DeployResult", "AsyncResult"; elements and their order
as in the metadata WSDL. A deployment moves on one step each time somebody asks. What an org would do with the
components, this one doesn't: its objects stay those that it was started with.

Checked are: `package.xml` at the root of the zip; every file well-formed; every member of the manifest there; the
custom fields that permission sets, layouts and list views name. What fails is said in the words that an org uses.
"""

import base64
import binascii
import io
import itertools
import threading
import xml.etree.ElementTree as ET  # from a client on this machine, into a stand-in
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.sax.saxutils import escape
from zipfile import BadZipFile, ZipFile

from connectors.salesforce.standin.answers import Answer
from connectors.salesforce.standin.describe import serves

_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_METADATA = "http://soap.sforce.com/2006/04/metadata"
_TYPE = "text/xml;charset=UTF-8"
#: Folder in the zip, suffix, type; those that a package may hold here.
_FOLDERS = {
    "applications": (".app", "CustomApplication"),
    "flexipages": (".flexipage", "FlexiPage"),
    "layouts": (".layout", "Layout"),
    "objects": (".object", "CustomObject"),
    "permissionsets": (".permissionset", "PermissionSet"),
    "reports": (".report", "Report"),
    "reportTypes": (".reportType", "ReportType"),
    "tabs": (".tab", "CustomTab"),
}
#: Element inside an object → the type of what it declares.
_NESTED = {
    "compactLayouts": "CompactLayout",
    "fields": "CustomField",
    "listViews": "ListView",
    "validationRules": "ValidationRule",
}
_STANDARD_COLUMNS = {"NAME", "OWNER.ALIAS", "CREATED_DATE"}


@dataclass(frozen=True, slots=True)
class Problem:
    """A component that is refused."""

    file: str
    name: str
    type: str
    text: str


@dataclass(slots=True)
class Deployment:
    """One deployment, and how far it is told to be."""

    id: str
    check_only: bool
    total: int
    problems: list[Problem]
    #: Why it fails as a whole; empty where it doesn't.
    whole: str = ""
    asked: int = 0
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def status(self) -> str:
        steps = ("Pending", "InProgress", "Failed" if self.problems or self.whole else "Succeeded")
        return steps[min(self.asked, 2)]


class Deployments:
    """Every deployment since the start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._known: dict[str, Deployment] = {}

    def answer(self, version: str, body: bytes, allows: Callable[[str], bool]) -> Answer:
        """Answer a SOAP call; `allows` says whether an authorization names a session of ours."""
        if not serves(f"v{version}"):
            return fault("sf:UNSUPPORTED_API_VERSION", "UNSUPPORTED_API_VERSION: Invalid Api version specified on URL")
        try:
            envelope = ET.fromstring(body)  # noqa: S314 - see the import
        except ET.ParseError:
            return fault("soapenv:Client", "The request is no XML")
        session = envelope.findtext(f".//{{{_METADATA}}}sessionId", "")
        if not allows(f"Bearer {session}"):
            return fault("sf:INVALID_SESSION_ID", "INVALID_SESSION_ID: Invalid Session ID found in SessionHeader")
        call = envelope.find(f"{{{_SOAP}}}Body/*")
        name = "" if call is None else call.tag.rpartition("}")[2]
        if call is None or name not in {"deploy", "checkDeployStatus"}:
            return fault("soapenv:Client", f"No such operation '{name}'")
        return self._deploy(call) if name == "deploy" else self._check(call)

    def _deploy(self, call: ET.Element) -> Answer:
        given = {child.tag.rpartition("}")[2]: child for child in call}
        if "ZipFile" not in given or "DeployOptions" not in given:
            return fault("soapenv:Client", "deploy() takes ZipFile and DeployOptions")
        options = {child.tag.rpartition("}")[2]: (child.text or "") for child in given["DeployOptions"]}
        if options.get("singlePackage", "").lower() != "true":
            return fault("sf:INVALID_OPERATION", "INVALID_OPERATION: only a single package is served here")
        try:
            data = base64.b64decode(given["ZipFile"].text or "", validate=True)
        except binascii.Error:
            return fault("soapenv:Client", "ZipFile is no base64")
        total, problems, whole = _examine(data)
        with self._lock:
            number = f"0Af{next(self._numbers):012d}AAA"
            self._known[number] = Deployment(
                number, options.get("checkOnly", "").lower() == "true", total, problems, whole
            )
        result = _elements({"done": "false", "id": number, "state": "Queued"})
        return _reply("deployResponse", result)

    def _check(self, call: ET.Element) -> Answer:
        number = call.findtext(f"{{{_METADATA}}}asyncProcessId", "")
        with self._lock:
            deployment = self._known.get(number)
            if deployment is None:
                text = f"INVALID_CROSS_REFERENCE_KEY: no deployment with id {number}"
                return fault("sf:INVALID_CROSS_REFERENCE_KEY", text)
            result = _result(deployment)
            deployment.asked += 1
        return _reply("checkDeployStatusResponse", result)


def fault(code: str, text: str, status: int = 500) -> Answer:
    """Return a SOAP fault; SOAP 1.1 answers each with status 500."""
    body = (
        f"<soapenv:Fault><faultcode>{escape(code)}</faultcode><faultstring>{escape(text)}</faultstring></soapenv:Fault>"
    )
    return Answer(status, _envelope(body), content_type=_TYPE)


def _examine(data: bytes) -> tuple[int, list[Problem], str]:
    """Return how many components a zip holds, what is wrong with them, and why it fails as a whole."""
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            content = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    except BadZipFile:
        return 0, [], "INVALID_ZIP: the content is no zip"
    if "package.xml" not in content:
        return 0, [Problem("package.xml", "package.xml", "", "No package.xml found")], ""
    roots: dict[str, ET.Element] = {}
    problems: list[Problem] = []
    for name, text in content.items():
        try:
            roots[name] = ET.fromstring(text)  # noqa: S314
        except ET.ParseError as error:
            problems.append(Problem(name, name, "", f"Error parsing file: {error}"))
    if problems:
        return len(content) - 1, problems, ""
    held = {(kind, name): file for file, root in roots.items() for kind, name in _components(file, root)}
    named = {
        (_text(types, "name"), member.text or "")
        for types in roots["package.xml"].iter(f"{{{_METADATA}}}types")
        for member in types.iter(f"{{{_METADATA}}}members")
    }
    for kind, name in sorted(named - held.keys()):
        missing = f"An object '{name}' of type {kind} was named in package.xml, but was not found in zipped directory"
        problems.append(Problem("package.xml", name, kind, missing))
    fields = {name for kind, name in held if kind == "CustomField"}
    for file, root in roots.items():
        problems += _dangling(file, root, fields)
    return len(named), problems, ""


def _components(file: str, root: ET.Element) -> list[tuple[str, str]]:
    folder, _, rest = file.partition("/")
    if folder not in _FOLDERS:
        return []
    suffix, kind = _FOLDERS[folder]
    if folder == "reports" and rest.endswith("-meta.xml"):
        return [(kind, rest.removesuffix("-meta.xml"))]
    name = rest.removesuffix(suffix)
    nested = [
        (_NESTED[part], f"{name}.{_text(child, 'fullName')}")
        for child in root
        if (part := child.tag.rpartition("}")[2]) in _NESTED
    ]
    return [(kind, name), *nested]


def _dangling(file: str, root: ET.Element, fields: set[str]) -> list[Problem]:
    """Find fields of custom objects that are named and not there."""
    folder, _, rest = file.partition("/")
    wanted: list[str] = []
    if folder == "permissionsets":
        wanted = [each.text or "" for each in root.iterfind(f"{{{_METADATA}}}fieldPermissions/{{{_METADATA}}}field")]
    elif folder == "layouts":
        owner = rest.partition("-")[0]
        wanted = [f"{owner}.{each.text}" for each in root.iter(f"{{{_METADATA}}}field")]
    elif folder == "objects":
        owner = rest.removesuffix(".object")
        columns = [each.text or "" for each in root.iterfind(f"{{{_METADATA}}}listViews/{{{_METADATA}}}columns")]
        wanted = [f"{owner}.{each}" for each in columns if each not in _STANDARD_COLUMNS]
    missing = sorted({name for name in wanted if name.endswith("__c") and name not in fields})
    kind = _FOLDERS[folder][1] if folder in _FOLDERS else ""
    return [Problem(file, name, kind, f"In field: field - no CustomField named {name} found") for name in missing]


def _result(deployment: Deployment) -> str:
    status, ended = deployment.status, deployment.asked >= 2
    failed = len(deployment.problems) if ended else 0
    at = deployment.started.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    details = "".join(_failure(each, at) for each in deployment.problems) if ended else ""
    deployed = (
        (deployment.total - failed if not deployment.whole else 0)
        if ended
        else deployment.total * deployment.asked // 2
    )
    return (
        _elements({"checkOnly": _said(deployment.check_only), "createdBy": "005000000000001AAA"})
        + _elements({"createdByName": "Integration User", "createdDate": at})
        + f"<details>{details}</details>"
        + _elements({"done": _said(ended)})
        + (
            _elements({"errorMessage": deployment.whole, "errorStatusCode": "UNKNOWN_EXCEPTION"})
            if ended and deployment.whole
            else ""
        )
        + _elements({"id": deployment.id, "ignoreWarnings": "true", "lastModifiedDate": at})
        + _elements({"numberComponentErrors": str(failed), "numberComponentsDeployed": str(deployed)})
        + _elements({"numberComponentsTotal": str(deployment.total), "numberTestErrors": "0"})
        + _elements({"numberTestsCompleted": "0", "numberTestsTotal": "0", "rollbackOnError": "true"})
        + _elements({"runTestsEnabled": "false", "startDate": at, "status": status})
        + _elements({"success": _said(status == "Succeeded")})
    )


def _failure(problem: Problem, at: str) -> str:
    inner = _elements({"changed": "false", "componentType": problem.type, "created": "false", "createdDate": at})
    inner += _elements({"deleted": "false", "fileName": problem.file, "fullName": problem.name})
    inner += _elements({"problem": problem.text, "problemType": "Error", "success": "false"})
    return f"<componentFailures>{inner}</componentFailures>"


def _elements(texts: dict[str, str]) -> str:
    return "".join(f"<{name}>{escape(text)}</{name}>" for name, text in texts.items())


def _said(value: bool) -> str:
    return "true" if value else "false"


def _text(element: ET.Element, name: str) -> str:
    return element.findtext(f"{{{_METADATA}}}{name}", "")


def _reply(name: str, result: str) -> Answer:
    return Answer(200, _envelope(f"<{name}><result>{result}</result></{name}>"), content_type=_TYPE)


def _envelope(body: str) -> bytes:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<soapenv:Envelope xmlns:soapenv="{_SOAP}" xmlns="{_METADATA}">'
        f"<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    )
    return text.encode()
