"""The preflight: what the org shows the integration user, compared with what the mapping needs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.salesforce.client import RejectedError, SalesforceClient
from connectors.salesforce.errors import for_a_person
from connectors.salesforce.fields import ENTRY_FIELDS, ENTRY_KEY, ENTRY_OBJECT, RUN_FIELDS, RUN_KEY, RUN_OBJECT, Field
from connectors.salesforce.normalize import FieldType
from sync.port import Finding, SuspendedError, TransientError

_TEXTS = (FieldType.LINE, FieldType.PARAGRAPH, FieldType.LINK)
_ASSIGN = "in Setup, open Permission Sets, Assent Integration, Manage Assignments, and add the integration user"
_DEPLOY = "deploy the Assent package again"
_UNDO = "undo it in Setup, Object Manager, Fields & Relationships"
_LOW = 0.05  # of the day's calls


def examine(client: SalesforceClient) -> list[Finding]:
    """Look at login, org, objects, fields, permissions and limits; stop at the first thing that hides the rest."""
    findings: list[Finding] = []
    try:
        client.login()
        findings.append(Finding("login", ok=True))
        wrong_version = list(_version(client))
        if wrong_version:
            return findings + wrong_version
        findings += _org(client)
        for object_name, key, fields in ((ENTRY_OBJECT, ENTRY_KEY, ENTRY_FIELDS), (RUN_OBJECT, RUN_KEY, RUN_FIELDS)):
            findings += _object(client, object_name, key, fields)
        findings += _limits(client)
    except (SuspendedError, TransientError) as error:
        findings.append(Finding("connection" if findings else "login", ok=False, advice=for_a_person(error.advice)))
    return findings


def _version(client: SalesforceClient) -> Iterator[Finding]:
    try:
        versions = client.versions()
    except (RejectedError, SuspendedError, TransientError):
        return  # what hides more than this, the next call will tell
    if versions and client.version not in versions:
        advice = f"The org has no version {client.version} of the API: set `api_version` to {versions[-1]}"
        yield Finding("API version", ok=False, advice=advice)


def _org(client: SalesforceClient) -> Iterator[Finding]:
    """Say which kind of org this is: a sandbox is easily taken for production, and the other way round."""
    try:
        rows = list(client.query("SELECT IsSandbox, OrganizationType FROM Organization"))
    except (RejectedError, SuspendedError):
        return  # nothing we need; what hides more than this, the objects will tell
    for row in rows:
        kind = "A sandbox" if row.get("IsSandbox") else "Production"
        yield Finding("org", ok=True, advice=f"{kind}, {row.get('OrganizationType') or 'of an unknown edition'}")


def _object(client: SalesforceClient, name: str, key: str, fields: Sequence[Field]) -> Iterator[Finding]:
    try:
        described = client.describe(name)
    except RejectedError as error:
        yield Finding(name, ok=False, advice=error.fault.advice)
        return
    except SuspendedError as error:
        if error.code != "NOT_FOUND":
            raise
        advice = (
            f"The object is missing or hidden: deploy the Assent package (`assent salesforce deploy`); then {_ASSIGN}"
        )
        yield Finding(name, ok=False, advice=advice)
        return
    missing = [verb for verb in ("createable", "updateable", "queryable") if not described.get(verb)]
    yield Finding(
        name, ok=not missing, advice=f"The integration user lacks create, edit or read: {_ASSIGN}" if missing else ""
    )
    if described.get("deletable"):  # well enough to deliver, and more than it needs
        advice = "The integration user may delete records, which it never needs: in Setup, look through its permissions"
        yield Finding(f"{name} delete", ok=True, advice=advice)
    there: Mapping[str, Mapping[str, Any]] = {field["name"]: field for field in described.get("fields", ())}
    for field in fields:
        advice = _field(field, there.get(field.name), is_key=field.name == key)
        if advice:
            yield Finding(f"{name}.{field.name}", ok=False, advice=advice)
    for other in sorted(there.keys() - {field.name for field in fields}):
        field_there = there[other]
        if field_there.get("createable") and not (field_there.get("nillable") or field_there.get("defaultedOnCreate")):
            yield Finding(f"{name}.{other}", ok=False, advice=f"A field that we don't fill is required: {_UNDO}")


def _field(field: Field, there: Mapping[str, Any] | None, *, is_key: bool) -> str:
    """Return what to do about a field, '' where it is well."""
    if there is None:
        return f"The field is missing or hidden: {_DEPLOY}; then {_ASSIGN}"
    if there.get("type") != field.type.value:
        return f"The field's type was changed: {_DEPLOY}"
    if field.type in _TEXTS and field.length > there.get("length", 0):
        return f"The field holds {there.get('length', 0)} characters and must hold {field.length}: {_DEPLOY}"
    if not (there.get("createable") and there.get("updateable")):
        return f"The integration user may not write the field: {_ASSIGN}"
    if there.get("unique") and not is_key:
        return f"The field was made unique, and its values repeat: {_UNDO}"
    if is_key and not (there.get("externalId") and there.get("unique") and there.get("caseSensitive")):
        return f"The field must be an external id, unique and case-sensitive: {_DEPLOY}"
    return ""


def _limits(client: SalesforceClient) -> Iterator[Finding]:
    try:
        limits = client.limits()
    except (RejectedError, SuspendedError):
        yield Finding(
            "limits", ok=True, advice="Not shown: the permission 'View Setup and Configuration' would show them"
        )
        return
    for name, subject in (("DailyApiRequests", "API calls of the last 24 hours"), ("DataStorageMB", "data storage")):
        limit = limits.get(name) or {}
        most, remaining = limit.get("Max", 0), limit.get("Remaining", 0)
        if most:
            low = remaining < most * _LOW
            yield Finding(subject, ok=not low, advice="Less than 5 % is left: in Setup, Company Information, see the "
                          "org's limits" if low else "")  # fmt: skip
