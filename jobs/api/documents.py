"""The OpenAPI description of the routes that FastAPI doesn't see: those of the hot path, and health."""

from typing import Any


def described(document: dict[str, Any], *, has_metrics: bool) -> dict[str, Any]:
    """Return the document with those routes and the bearer token in it."""
    document["components"] = document.get("components", {})
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        if path.startswith("/v1/"):
            for operation in operations.values():
                operation["security"] = [{"token": []}]
                if "requestBody" in operation:
                    for status in ("400", "413"):
                        operation["responses"].setdefault(status, _problem(_WORDS[int(status)]))
    document["paths"] |= {
        "/v1/messages": {"post": _taking("Take one message.", _MESSAGE, _ANSWER, 409)},
        "/v1/messages/batch": {"post": _taking("Take up to 1,000 messages and events.", _BATCH, _ANSWERS)},
        "/v1/events": {"post": _taking("Take one event.", _EVENT, _CHANGED, 409)},
        "/livez": {"get": _health("The process is alive.")},
        "/readyz": {"get": _health("Database and schema are fine.", 503)},
    }
    if has_metrics:
        document["paths"]["/metrics"] = {"get": _METRICS}
    return document


_TEXT: dict[str, Any] = {"type": "string"}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_NUMBER: dict[str, Any] = {"type": "string", "description": "E.164, or as dialed in the organization's region"}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT}
_EMPLOYEE: dict[str, Any] = {"type": "object", "properties": {"id": _TEXT, "name": _TEXT}, "required": ["id"]}

_MESSAGE: dict[str, Any] = {
    "type": "object",
    "required": ["id", "org", "channel", "sender", "line", "contact", "text"],
    "properties": {
        "id": {**_TEXT, "description": "the idempotency key: the same id again is answered the same"},
        "org": _TEXT,
        "channel": {"enum": ["sms", "mms", "rcs", "whatsapp"]},
        "sender": {"enum": ["employee", "contact"]},
        "line": _NUMBER,
        "employee": _EMPLOYEE,
        "contact": _NUMBER,
        "contact_name": _TEXT,
        "text": _TEXT,
        "sent_at": _TIME,
        "language": _TEXT,
        "group": {"type": "array", "items": _NUMBER},
        "media": {"type": "array", "items": {"type": "object"}},
        "provider": {"type": "object"},
    },
}
_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "org", "event"],
    "properties": {
        "id": _TEXT,
        "org": _TEXT,
        "event": {"enum": ["number_reassigned", "line_reassigned", "delivery_status", "revoked"]},
        "at": _TIME,
        "contact": _NUMBER,
        "line": _NUMBER,
        "channel": _TEXT,
        "employee": _EMPLOYEE,
        "entry": _TEXT,
        "status": {"enum": ["delivered", "undeliverable", "opted_out"]},
        "reason": _TEXT,
        "scope": {"enum": ["pair", "sub_org", "org"]},
        "note": _TEXT,
    },
}
_AUTO_MESSAGE: dict[str, Any] = {
    "type": "object",
    "properties": {"entry": _TEXT, "to": {"enum": ["contact", "employee"]}, "template": _TEXT, "text": _TEXT},
}
_AUTO_MESSAGES: dict[str, Any] = {"type": "array", "items": _AUTO_MESSAGE}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "verdict": {"enum": ["delivered", "held", "blocked", "consumed"]},
        "reason": {"type": ["string", "null"]},
        "state": {"enum": ["none", "pending", "opted_in", "opted_out"]},
        "origin": {"enum": ["mo", "mt", None]},
        "auto_messages": _AUTO_MESSAGES,
        "released": _TEXTS,
        "flags": _TEXTS,
        "entries": _TEXTS,
    },
}
_CHANGED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "event": _TEXT,
        "changed": {"type": "array", "items": {"type": "object"}},
        "auto_messages": _AUTO_MESSAGES,
        "entries": _TEXTS,
    },
}
#: Whatever an item is, it is answered in its place.
_BATCH: dict[str, Any] = {
    "type": "array",
    "maxItems": 1000,
    "items": {"description": "a message or an event; what is neither is answered with its error in its place"},
}
_FAULT: dict[str, Any] = {
    "type": "object",
    "properties": {"id": {"type": ["string", "null"]}, "error": {"type": "object"}},
}
_ANSWERS: dict[str, Any] = {"type": "array", "items": {"anyOf": [_ANSWER, _CHANGED, _FAULT]}}

_WORDS = {
    400: "The body is no JSON",
    401: "No token",
    403: "The token lacks the scope",
    409: "The same id with another content",
    413: "Too large",
    422: "A message that can't be taken",
    503: "The database is away, or too much is waiting: send it again",
}


def _taking(summary: str, body: dict[str, Any], answer: dict[str, Any], *others: int) -> dict[str, Any]:
    return {
        "summary": summary,
        "tags": ["messages"],
        "security": [{"token": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "Durable", "content": {"application/json": {"schema": answer}}},
            **{str(status): _problem(_WORDS[status]) for status in (400, 401, 403, 413, 422, 503, *others)},
        },
    }


def _health(summary: str, *others: int) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"status": _TEXT}}
    return {
        "summary": summary,
        "tags": ["health"],
        "responses": {
            "200": {"description": "It is", "content": {"application/json": {"schema": schema}}},
            **{str(status): _problem("It isn't") for status in others},
        },
    }


def _problem(words: str) -> dict[str, Any]:
    members = {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "code": _TEXT}
    schema = {"type": "object", "properties": members}
    return {"description": words, "content": {"application/problem+json": {"schema": schema}}}


_METRICS: dict[str, Any] = {
    "summary": "How this process and its destinations are, for Prometheus.",
    "tags": ["health"],
    "security": [{"token": []}],
    "responses": {
        "200": {"description": "In Prometheus' text format", "content": {"text/plain": {"schema": _TEXT}}},
        **{str(status): _problem(_WORDS[status]) for status in (401, 403, 503)},
    },
}
