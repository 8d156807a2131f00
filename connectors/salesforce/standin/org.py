"""The org: which resource a request means, and what it answers.

Whatever is not in `_ROUTES` is refused with NOT_FOUND and a line in the log: better no answer than a wrong one.
"""

import json
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import unquote

from connectors.salesforce.standin import describe
from connectors.salesforce.standin.answers import Answer, RequestError, bad_request, not_found
from connectors.salesforce.standin.certificates import Client
from connectors.salesforce.standin.composite import run_composite
from connectors.salesforce.standin.faults import Faults
from connectors.salesforce.standin.many_rows import ManyRows
from connectors.salesforce.standin.metadata import Deployments
from connectors.salesforce.standin.one_row import OneRow
from connectors.salesforce.standin.queries import Queries
from connectors.salesforce.standin.rows import Rows
from connectors.salesforce.standin.saving import Saving
from connectors.salesforce.standin.schema import Field, ObjectType, Schema
from connectors.salesforce.standin.sessions import Sessions
from connectors.salesforce.standin.settings import Settings

#: REST API Developer Guide, "Status Codes and Error Responses": 414 for the URI, 431 for URI and headers together.
_LONGEST_URI = 16_384


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names in small letters."""

    method: str
    #: Still percent-encoded, so that a slash inside an external id stays one.
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    #: `https://host:port` as the client calls us.
    base_url: str = ""
    #: Length of path and query as sent.
    uri_length: int = 0
    #: The named segments of the path, decoded.
    parts: Mapping[str, str] = field(default_factory=dict)


class Org:
    """Answers requests; safe to call from many threads."""

    def __init__(self, schema: Schema, rows: Rows, client: Client, faults: Faults, settings: Settings) -> None:
        self._schema = schema
        self._rows = rows
        self._settings = settings
        self._counting = threading.Lock()
        self.sessions = Sessions(client, rows.organization_id, rows.user_id)
        saving = Saving(schema, rows, lambda: settings.line_end, faults.strike_row)
        self._deployments = Deployments()
        self._queries = Queries(schema, rows, lambda: settings.page_rows)
        self._one_row = OneRow(rows, saving, self._queries)
        self._many_rows = ManyRows(schema, rows, saving, self._one_row)

    def answer(self, request: Request) -> Answer:
        """Do what the request asks; every refusal is an answer too."""
        try:
            # Who asks these needs no session and spends no call; SOAP carries its session in the envelope.
            if route_of(request.path) in {"token", "versions", "metadata"}:
                return self._dispatch(request)
            self._admit(request)
            answer = self._dispatch(request)
        except RequestError as error:
            answer = error.answer()
        return replace(answer, headers={**answer.headers, "Sforce-Limit-Info": self._usage()})

    def _token(self, request: Request) -> Answer:
        base_url = request.base_url
        instance_url = self._settings.instance_url or base_url
        port = base_url.rpartition(":")[2]
        audiences = ["https://login.salesforce.com", "https://test.salesforce.com", instance_url, base_url]
        audiences += [f"https://localhost:{port}", f"https://127.0.0.1:{port}"]
        audiences += [f"{each}/services/oauth2/token" for each in audiences]
        if self._settings.audience:
            audiences = [self._settings.audience]
        return self.sessions.token(
            request.headers, request.body, audiences, instance_url, self._settings.session_seconds
        )

    def _admit(self, request: Request) -> None:
        """Whoever has no session, or no calls left today, is turned away before any work."""
        home = self._settings.instance_url
        elsewhere = bool(home) and request.headers.get("host", "") != home.partition("://")[2]
        # A session belongs to its instance: whoever still asks at the former address is not known there.
        if elsewhere or not self.sessions.allows(request.headers.get("authorization", "")):
            raise RequestError(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if request.uri_length > _LONGEST_URI:
            raise RequestError(414, "URI_TOO_LONG", f"The URI is longer than {_LONGEST_URI} bytes")
        if len(request.body) > self._settings.max_body_bytes:
            raise RequestError(413, "REQUEST_ENTITY_TOO_LARGE", "The request body is too large")
        content_type = request.headers.get("content-type", "")
        if request.body and content_type and not content_type.lower().startswith("application/json"):
            message = f"Content-Type header specified in HTTP request is not supported: {content_type}"
            raise RequestError(415, "UNSUPPORTED_MEDIA_TYPE", message)
        with self._counting:
            if self._settings.quota_used >= self._settings.quota_limit:
                raise RequestError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
            self._settings.quota_used += 1

    def _usage(self) -> str:
        """REST API Developer Guide, "Limit Info Header"."""
        usage = f"api-usage={self._settings.quota_used}/{self._settings.quota_limit}"
        if self._settings.bursts_limit:
            usage += f"; api-bursts={self._settings.bursts_used}/{self._settings.bursts_limit}"
        return usage

    def _dispatch(self, request: Request) -> Answer:
        """Find the resource, and let it answer.

        Raises: RequestError.
        """
        allowed: list[str] = []
        for _, method, pattern, serve in _ROUTES:
            match = pattern.fullmatch(request.path)
            if match is None:
                continue
            if method == request.method:
                parts = {name: unquote(value) for name, value in match.groupdict().items()}
                if not describe.serves(parts.get("version", "v67.0")):
                    raise not_found()
                return serve(self, replace(request, parts=parts))
            allowed.append(method)
        left_out = request.method in {"HEAD", "OPTIONS"} or (request.method, route_of(request.path)) in _LEFT_OUT
        if allowed and not left_out:
            message = f"HTTP Method '{request.method}' not allowed. Allowed are {','.join(allowed)}"
            raise RequestError(405, "METHOD_NOT_ALLOWED", message)
        log("request.unserved", method=request.method, path=_without_keys(request.path))
        raise not_found()

    def _object(self, request: Request) -> ObjectType:
        kind = self._schema.object(request.parts["object"])
        if kind is None:
            raise not_found()
        return kind

    def _key(self, kind: ObjectType, request: Request) -> Field:
        one = kind.field(request.parts["field"])
        if one is None or not one.external_id:
            message = f"Provided external ID field does not exist or is not accessible: {request.parts['field']}"
            raise not_found(message)
        return one

    def _serve_resources(self, request: Request) -> Answer:
        return Answer(200, describe.resources(request.parts["version"]))

    def _serve_versions(self, _request: Request) -> Answer:
        return Answer(200, describe.versions())

    def _serve_limits(self, _request: Request) -> Answer:
        return Answer(200, describe.limits(self._settings.quota_limit, self._settings.quota_used))

    def _serve_objects(self, request: Request) -> Answer:
        return Answer(200, describe.all_objects(self._schema, self._rows, request.parts["version"]))

    def _serve_object(self, request: Request) -> Answer:
        brief = describe.describe_briefly(self._object(request), self._rows, request.parts["version"])
        return Answer(200, {"objectDescribe": brief, "recentItems": []})

    def _serve_describe(self, request: Request) -> Answer:
        return Answer(200, describe.describe(self._object(request), self._rows, self._schema, request.parts["version"]))

    def _create(self, request: Request) -> Answer:
        return self._one_row.create(self._object(request), request.body)

    def _read(self, request: Request) -> Answer:
        kind = self._object(request)
        number = self._one_row.by_id(kind, request.parts["id"], to_read=True)
        return self._one_row.read(kind, number, request.params.get("fields", ""), request.parts["version"])

    def _update(self, request: Request) -> Answer:
        kind = self._object(request)
        return self._one_row.update(kind, self._one_row.by_id(kind, request.parts["id"]), request.body)

    def _delete(self, request: Request) -> Answer:
        kind = self._object(request)
        return self._one_row.delete(kind, self._one_row.by_id(kind, request.parts["id"]))

    def _read_by_key(self, request: Request) -> Answer:
        kind = self._object(request)
        number = self._one_row.by_external_id(
            kind, self._key(kind, request), request.parts["value"], request.parts["version"]
        )
        return self._one_row.read(kind, number, request.params.get("fields", ""), request.parts["version"])

    def _upsert_by_key(self, request: Request) -> Answer:
        kind = self._object(request)
        update_only = request.params.get("updateOnly", "false").lower() == "true"
        return self._one_row.upsert(
            kind,
            self._key(kind, request),
            request.parts["value"],
            request.body,
            request.parts["version"],
            update_only=update_only,
        )

    def _delete_by_key(self, request: Request) -> Answer:
        kind = self._object(request)
        number = self._one_row.by_external_id(
            kind, self._key(kind, request), request.parts["value"], request.parts["version"]
        )
        return self._one_row.delete(kind, number)

    def _upsert_many(self, request: Request) -> Answer:
        kind = self._object(request)
        return self._many_rows.upsert(kind, self._key(kind, request), request.body)

    def _create_many(self, request: Request) -> Answer:
        return self._many_rows.create(request.body)

    def _delete_many(self, request: Request) -> Answer:
        all_or_none = request.params.get("allOrNone", "false").lower() == "true"
        return self._many_rows.delete(request.params.get("ids", ""), all_or_none=all_or_none)

    def _composite(self, request: Request) -> Answer:
        def sub_answer(method: str, path: str, params: Mapping[str, str], body: bytes) -> Answer:
            try:
                return self._dispatch(Request(method, path, params, request.headers, body))
            except RequestError as error:
                return error.answer()

        return run_composite(request.body, self._rows, sub_answer)

    def _deploy(self, request: Request) -> Answer:
        return self._deployments.answer(request.parts["api"], request.body, self.sessions.allows)

    def _query(self, request: Request) -> Answer:
        text = request.params.get("q")
        if text is None:
            raise bad_request("MALFORMED_QUERY", "A query string has to be specified")
        options = request.headers.get("sforce-query-options", "")
        return self._queries.run(
            text, request.parts["version"], options, deleted_too=request.parts["how"] == "queryAll"
        )

    def _query_more(self, request: Request) -> Answer:
        return self._queries.more(request.parts["locator"], request.parts["version"])


def route_of(path: str) -> str:
    """The name of a path's resource, by which faults and the journal know it; `unserved` where there is none."""
    return next((name for name, _, pattern, _ in _ROUTES if pattern.fullmatch(path)), "unserved")


def log(event: str, **values: object) -> None:
    """One line of JSON on the error stream."""
    line = {"event": event, "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"), **values}
    sys.stderr.write(json.dumps(line) + "\n")


def _without_keys(path: str) -> str:
    """A path whose parts that may hold a number are cut out."""
    return re.sub(r"[^/]*\d{4}[^/]*", "…", unquote(path))[:200]


#: What an org would answer at a path that is served here for other methods.
_LEFT_OUT = {("PATCH", "collections"), ("GET", "collections"), ("GET", "composite")}

_Serve = Callable[[Org, Request], Answer]


def _route(name: str, method: str, path: str, serve: _Serve) -> tuple[str, str, re.Pattern[str], _Serve]:
    """`{part}` in the path stands for one segment."""
    base = path if path.startswith("/") else f"/services/data/{{version}}/{path}"
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", base.rstrip("/"))
    return name, method, re.compile(pattern + "/?"), serve


# The first that fits is meant; those with the same path differ by method.
_ROUTES = (
    _route("collections", "PATCH", "composite/sobjects/{object}/{field}", Org._upsert_many),
    _route("collections", "POST", "composite/sobjects", Org._create_many),
    _route("collections", "DELETE", "composite/sobjects", Org._delete_many),
    _route("token", "POST", "/services/oauth2/token", Org._token),
    _route("versions", "GET", "/services/data", Org._serve_versions),
    _route("resources", "GET", "", Org._serve_resources),
    _route("limits", "GET", "limits", Org._serve_limits),
    _route("objects", "GET", "sobjects", Org._serve_objects),
    _route("objects", "GET", "sobjects/{object}", Org._serve_object),
    _route("row", "POST", "sobjects/{object}", Org._create),
    _route("describe", "GET", "sobjects/{object}/describe", Org._serve_describe),
    _route("row", "GET", "sobjects/{object}/{id}", Org._read),
    _route("row", "PATCH", "sobjects/{object}/{id}", Org._update),
    _route("row", "DELETE", "sobjects/{object}/{id}", Org._delete),
    _route("row", "GET", "sobjects/{object}/{field}/{value}", Org._read_by_key),
    _route("row", "PATCH", "sobjects/{object}/{field}/{value}", Org._upsert_by_key),
    _route("row", "DELETE", "sobjects/{object}/{field}/{value}", Org._delete_by_key),
    _route("composite", "POST", "composite", Org._composite),
    _route("query", "GET", "(?P<how>query|queryAll)", Org._query),
    _route("query", "GET", "query/{locator}", Org._query_more),
    # Whatever follows the version is of no meaning to it; simple-salesforce adds `deployRequest/<id>`.
    _route("metadata", "POST", "/services/Soap/m/{api}(?:/.*)?", Org._deploy),
)
