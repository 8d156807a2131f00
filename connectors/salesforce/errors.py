"""What Salesforce's errors mean for us: one table, from (status, code, message) to an ending and an advice.

The codes and their wordings are those of the REST API Developer Guide ("Status Codes and Error Responses",
"sObject Collections") and of the StatusCode list in the metadata WSDL. A message is only matched here,
never shown: it quotes the customer.
"""

import re
from enum import StrEnum
from typing import Any, NamedTuple


class Ending(StrEnum):
    """What happens next."""

    TRANSIENT = "transient"  # nobody's fault: later
    LOCKED = "locked"  # only this record: later
    AGAIN = "again"  # it is there already, or came twice: once more at once
    SPLIT = "split"  # one record spoils the call, or the call is too large: find it by halves
    REFUSED = "refused"  # this record, for this reason
    TAMPER = "tamper"  # the record there isn't the one that we sent
    EXPIRED = "expired"  # the token: a new one; where that is refused three times, a suspension of minutes
    SUSPENDED = "suspended"  # a person must act in Salesforce
    QUOTA = "quota"  # until the quota's hour


class Fault(NamedTuple):
    """An error, understood."""

    ending: Ending
    #: Salesforce's own word for it, or ours; from a closed alphabet, never quoting a record.
    code: str
    advice: str


class Rule(NamedTuple):
    """One row of the table; the first that matches counts."""

    ending: Ending
    code: str
    advice: str
    #: Matched anywhere in the message, whatever its case.
    message: str = ""
    status: int | None = None
    #: The code to give out, where it isn't Salesforce's.
    name: str = ""


_E = Ending
_ASSIGN = "In Setup, open Permission Sets, Assent Integration, Manage Assignments, and add the integration user"
_DEPLOY = "Deploy the Assent package again, then run `assent salesforce check`"
_WAIT = "Nothing to do: it is tried again"
_RULE = "Look at the entry's fields and at what was customized on the object Assent Entry, then retry it"

#: The record there isn't the one that we sent.
TAMPERED = Fault(
    _E.TAMPER,
    "tamper",
    "The record in Salesforce differs from the ledger's entry, and Salesforce won't have it changed: compare the two, "
    "and find out who wrote it",
)

RULES: tuple[Rule, ...] = (
    # Who we are
    Rule(_E.SUSPENDED, "INVALID_SESSION_ID", "In Setup, External Client App Manager, give the app the OAuth scope "
         "'Manage user data via APIs (api)'", message="not valid for use with the REST API|not attached"),
    Rule(_E.EXPIRED, "INVALID_SESSION_ID", "In Setup, Session Settings and Login History, look why the integration "
         "user's sessions end at once"),
    Rule(_E.EXPIRED, "INVALID_AUTH_HEADER", "In Setup, Login History, look why the integration user is refused"),
    Rule(_E.SUSPENDED, "API_DISABLED_FOR_ORG", "This edition of Salesforce has no API: ask Salesforce to enable it"),
    Rule(_E.SUSPENDED, "API_CURRENTLY_DISABLED", f"{_ASSIGN}: it carries the permission 'API Enabled'"),
    Rule(_E.SUSPENDED, "FUNCTIONALITY_NOT_ENABLED", f"{_ASSIGN}; if that is done, the org lacks a feature we need"),
    Rule(_E.SUSPENDED, "INSUFFICIENT_ACCESS_OR_READONLY", f"{_ASSIGN}; it must own the records it wrote"),
    Rule(_E.SUSPENDED, "INSUFFICIENT_ACCESS", _ASSIGN),
    Rule(_E.SUSPENDED, "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", _ASSIGN),
    # How much
    Rule(_E.TRANSIENT, "REQUEST_LIMIT_EXCEEDED", "Too many calls at one time in this org; " + _WAIT.lower(),
         message="concurrent"),
    # Some answers say the spent day with this status, too.
    Rule(_E.TRANSIENT, "REQUEST_LIMIT_EXCEEDED", "Too many calls in a short time; " + _WAIT.lower(), status=429,
         message="^(?!.*(TotalRequests|24.hour))"),
    Rule(_E.QUOTA, "REQUEST_LIMIT_EXCEEDED", "The org has used up its API calls of the last 24 hours: in Setup, "
         "Company Information, see 'API Requests, Last 24 Hours'"),
    Rule(_E.SUSPENDED, "STORAGE_LIMIT_EXCEEDED", "The org's data storage is full: in Setup, Storage Usage, make room"),
    Rule(_E.SPLIT, "LIMIT_EXCEEDED", "A call with this record is over one of the org's limits"),
    Rule(_E.SPLIT, "EXCEEDED_ID_LIMIT", "A call with this record is over one of the org's limits"),
    # Later
    Rule(_E.LOCKED, "UNABLE_TO_LOCK_ROW", _WAIT),
    Rule(_E.LOCKED, "ALL_OR_NONE_OPERATION_ROLLED_BACK", _WAIT),
    Rule(_E.TRANSIENT, "SERVER_UNAVAILABLE", _WAIT),
    Rule(_E.TRANSIENT, "SERVICE_UNAVAILABLE", _WAIT),
    Rule(_E.TRANSIENT, "UNKNOWN_EXCEPTION", "Salesforce failed inside; it is tried again. If it stays, open a case"),
    Rule(_E.TRANSIENT, "QUERY_TIMEOUT", _WAIT),
    Rule(_E.TRANSIENT, "REQUEST_RUNNING_TOO_LONG", _WAIT),
    Rule(_E.TRANSIENT, "INVALID_QUERY_LOCATOR", _WAIT),
    Rule(_E.TRANSIENT, "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE", "The org is in maintenance; "
         "it is tried again"),
    Rule(_E.TRANSIENT, "TOO_MANY_APEX_REQUESTS", _WAIT),
    Rule(_E.TRANSIENT, "API_TASK_LIMIT_REACHED", _WAIT),
    Rule(_E.TRANSIENT, "TXN_SECURITY_METERING_ERROR", "In Setup, Transaction Security Policies, a policy takes too "
         "long; it is tried again"),
    # A trigger or flow of the org, with another error inside
    Rule(_E.LOCKED, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", _WAIT, message="UNABLE_TO_LOCK_ROW|concurrent"),
    Rule(_E.LOCKED, "CANNOT_EXECUTE_FLOW_TRIGGER", _WAIT, message="UNABLE_TO_LOCK_ROW|concurrent"),
    Rule(_E.REFUSED, "CANNOT_EXECUTE_FLOW_TRIGGER", "A flow on Assent Entry fails: mend it or turn it off, then "
         "retry"),
    Rule(_E.REFUSED, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "A trigger or flow on Assent Entry fails: mend it or "
         "turn it off, then retry"),
    # The same twice
    Rule(_E.AGAIN, "DUPLICATE_VALUE", _WAIT,
         message="Entry_Id__c|Run_Key__c|<unknown>|duplicate external id specified"),
    Rule(_E.REFUSED, "DUPLICATE_VALUE", "A field of Assent Entry other than Entry ID was made unique: undo it"),
    Rule(_E.REFUSED, "DUPLICATE_EXTERNAL_ID", "Several records carry this Entry ID: make the field unique again, and "
         "delete all of them but one"),
    Rule(_E.REFUSED, "DUPLICATES_DETECTED", "In Setup, Duplicate Rules, turn off the rule on Assent Entry"),
    # The record
    Rule(_E.TAMPER, "FIELD_CUSTOM_VALIDATION_EXCEPTION", TAMPERED.advice, message="append-only", name=TAMPERED.code),
    Rule(_E.REFUSED, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "A validation rule that isn't ours refuses the record: in "
         "Setup, Object Manager, Assent Entry, Validation Rules, turn it off"),
    Rule(_E.REFUSED, "FIELD_FILTER_VALIDATION_EXCEPTION", "A lookup filter refuses the record: in Setup, Object "
         "Manager, Assent Entry, Fields, remove it"),
    Rule(_E.REFUSED, "STRING_TOO_LONG", "A value is longer than its field in this org. Run `assent salesforce check`: "
         "if it finds fields too short, deploy the Assent package again and retry; if none, no field of the package "
         "holds it, and the entry stands in the ledger and in the other destinations only"),
    Rule(_E.REFUSED, "REQUIRED_FIELD_MISSING", "A field that we don't fill was made required on Assent Entry: undo "
         "it in Setup, Object Manager"),
    Rule(_E.REFUSED, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", f"A field was made a restricted picklist. {_DEPLOY}"),
    Rule(_E.REFUSED, "INVALID_TYPE_ON_FIELD_IN_RECORD", f"A field's type was changed. {_DEPLOY}"),
    Rule(_E.REFUSED, "NUMBER_OUTSIDE_VALID_RANGE", f"A number field was made smaller. {_DEPLOY}"),
    Rule(_E.REFUSED, "MALFORMED_ID", _RULE),
    Rule(_E.REFUSED, "INVALID_CROSS_REFERENCE_KEY", _RULE),
    Rule(_E.REFUSED, "ENTITY_IS_DELETED", "The record was deleted in Salesforce: take it out of the Recycle Bin, "
         "then retry"),
    Rule(_E.SPLIT, "JSON_PARSER_ERROR", f"A value doesn't fit its field's type in this org. {_DEPLOY}"),
    # The objects
    Rule(_E.REFUSED, "INVALID_FIELD", _RULE, message="foreign key external id"),
    Rule(_E.SUSPENDED, "INVALID_FIELD", f"A field is missing, or hidden from the integration user. {_DEPLOY}. "
         f"{_ASSIGN}"),
    Rule(_E.SUSPENDED, "INVALID_FIELD_FOR_INSERT_UPDATE", f"The integration user may not write a field. {_ASSIGN}"),
    Rule(_E.SUSPENDED, "INVALID_TYPE", f"The object is missing, or hidden from the integration user. {_DEPLOY}. "
         f"{_ASSIGN}"),
    Rule(_E.SUSPENDED, "MALFORMED_QUERY", _DEPLOY),
    Rule(_E.SUSPENDED, "NOT_FOUND", f"The object, its external id or the API version is missing. {_DEPLOY}. {_ASSIGN}"),
    Rule(_E.SUSPENDED, "UNSUPPORTED_API_VERSION", "Set `api_version` to one that the org has: see /services/data/"),
    Rule(_E.SUSPENDED, "METHOD_NOT_ALLOWED", "Set `api_version` to 46.0 or later"),
)  # fmt: skip

# For a code that the table doesn't know, or no code at all (pages of HTML, empty bodies).
_BY_STATUS: dict[int, tuple[Ending, str]] = {
    300: (_E.SPLIT, "Several records carry one external id: make the field Entry ID unique again"),
    400: (_E.SPLIT, _RULE),
    401: (_E.EXPIRED, "In Setup, Login History, look why the integration user is refused"),
    406: (_E.TRANSIENT, _WAIT),
    408: (_E.TRANSIENT, _WAIT),
    409: (_E.TRANSIENT, _WAIT),
    410: (_E.SUSPENDED, "Salesforce has retired this version of its API: set `api_version` to one that the org has"),
    412: (_E.TRANSIENT, _WAIT),
    413: (_E.SPLIT, "The record is larger than Salesforce takes in one call"),
    414: (_E.SPLIT, "The record is larger than Salesforce takes in one call"),
    420: (_E.TRANSIENT, _WAIT),
    429: (_E.TRANSIENT, _WAIT),
    431: (_E.SPLIT, "The record is larger than Salesforce takes in one call"),
}
_CODE = re.compile(r"[A-Z][A-Z0-9_]{2,79}")
_MATCHERS = tuple((rule, re.compile(rule.message, re.IGNORECASE)) for rule in RULES)


def for_a_person(advice: str) -> str:
    """Return an advice for who started a call by hand: nothing tries that again by itself."""
    advice = advice.replace(_WAIT, "Run it again later").replace(_WAIT.lower(), "it is tried again")
    return advice.replace("it is tried again", "run it again later")


def understand(status: int | None, code: str, message: str) -> Fault:
    """Say what an error means: one of a whole call (its HTTP status), or of one record in it (status None)."""
    for rule, pattern in _MATCHERS:
        if rule.code == code and rule.status in (None, status) and pattern.search(message):
            return Fault(rule.ending, rule.name or code, rule.advice)
    known = _CODE.fullmatch(code) is not None
    if status is None:
        return Fault(Ending.REFUSED, code if known else "unknown", _RULE)
    ending, advice = _BY_STATUS.get(status) or _by_class(status)
    return Fault(ending, code if known else f"http_{status}", advice)


def understand_call(status: int, body: Any) -> Fault:
    """Say what the answer to a whole call means, from its status and its body: `[{"errorCode", "message"}]`, or not."""
    first = body[0] if isinstance(body, list) and body else body
    if isinstance(first, dict):
        return understand(status, str(first.get("errorCode", "")), str(first.get("message", "")))
    return understand(status, "", "")


def understand_record(result: dict[str, Any]) -> Fault:
    """Say what one failed row of a collection means: `{"errors": [{"statusCode", "message", "fields"}]}`."""
    told = result.get("errors")
    errors = [error for error in told if isinstance(error, dict)] if isinstance(told, list) else []
    faults = [understand(None, str(error.get("statusCode", "")), str(error.get("message", ""))) for error in errors]
    # With several errors the tamper alarm counts first: it must not hide behind a lock.
    faults.sort(key=lambda fault: fault.ending is not Ending.TAMPER)
    return faults[0] if faults else Fault(Ending.TRANSIENT, "no_reason", _WAIT)


def _by_class(status: int) -> tuple[Ending, str]:
    if status >= 500:
        return Ending.TRANSIENT, _WAIT
    if status >= 400:
        return Ending.SUSPENDED, f"Salesforce refuses the call. {_ASSIGN}. Then run `assent salesforce check`"
    return Ending.SUSPENDED, "Salesforce answers with a redirect: set `login_url` to the org's own My Domain address"
