"""The receiving end of the portal destination: signed requests in, what is held out."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import structlog
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from connectors.portal import protocol
from connectors.portal.protocol import MAX_BYTES, ShapeError, SignatureError, Status
from connectors.portal.store import PortalStore, TamperError
from jobs.web.guard import GuardedRoute
from jobs.web.problems import ProblemError

log = structlog.get_logger()

_T = TypeVar("_T")
_SIGNED = ("webhook-id", "webhook-timestamp", "webhook-signature")
_REFUSED = {
    "signature": "The signature fits none of this portal's secrets.",
    "timestamp": "The signature's timestamp is more than 5 minutes off this portal's clock.",
}


def receiver_router(
    store: PortalStore, secrets: Sequence[str], clock: Callable[[], int], *, prefix: str = "/portal"
) -> APIRouter:
    """Return the routes of the push protocol, `connectors/portal/README.md`.

    A request may be signed with any of the secrets; `clock` gives microseconds since 1970.
    """
    known = tuple(protocol.read_secret(secret) for secret in secrets)
    router = APIRouter(prefix=prefix, route_class=GuardedRoute, tags=["portal"])

    @router.post(protocol.BATCHES, **_documented("Store a batch of entries, each once.", _BATCH, 413))
    async def receive_batch(request: Request) -> Response:
        body = await _signed(request, known)
        organization, lane, entries = _shaped(protocol.read_batch, body)
        results = await run_in_threadpool(store.receive, organization, lane, entries, clock())
        _tell(organization, lane, results)
        return _json(protocol.batch_answer(results))

    @router.post(protocol.HELD, **_documented("Say what is held of a range of positions.", _RANGE))
    async def answer_held(request: Request) -> Response:
        asked = _shaped(protocol.read_range, await _signed(request, known))
        page, following = await run_in_threadpool(store.held, asked)
        return _json(protocol.held_answer(page, following))

    @router.post(protocol.HEADS, **_documented("Note how far a ledger is.", _HEAD, 409))
    async def receive_head(request: Request) -> Response:
        statement = _shaped(protocol.read_head, await _signed(request, known))
        try:
            await run_in_threadpool(store.note_head, statement, clock())
        except TamperError as error:
            log.error("portal.tampered", organization=statement.organization, size=statement.size)  # noqa: TRY400 (no traceback: it is the sender's)
            raise ProblemError(409, "tamper", "Another root was told for this size of the ledger before.") from error
        return _json(b'{"status":"noted"}')

    return router


async def _signed(request: Request, secrets: Sequence[str]) -> bytes:
    """Return a request's raw body once its signature holds."""
    if not all(request.headers.get(name) for name in _SIGNED):
        raise ProblemError(401, "signature", "The request isn't signed: the three webhook headers are missing.")
    body = await _raw(request)
    try:
        protocol.verify(secrets, request.headers, body)
    except SignatureError as error:
        log.warning("portal.unsigned", code=error.code)
        raise ProblemError(401, error.code, _REFUSED[error.code]) from error
    return body


async def _raw(request: Request) -> bytes:
    too_large = ProblemError(413, "too_large", f"A request has at most {MAX_BYTES:,} bytes.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BYTES:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                raise too_large
    except ClientDisconnect as error:
        # Nobody reads this answer; nothing of half a request is taken.
        raise ProblemError(400, "cut", "The connection ended within the request.") from error
    return bytes(body)


def _shaped(reader: Callable[[bytes], _T], body: bytes) -> _T:
    try:
        return reader(body)
    except ShapeError as error:
        raise ProblemError(422, "malformed", f"{error}.") from error


def _tell(organization: str, lane: str, results: Sequence[protocol.Result]) -> None:
    counts = {status.value: sum(result.status is status for result in results) for status in Status}
    tampered = counts[Status.CONFLICT] + counts[Status.INVALID]
    (log.warning if tampered else log.info)("batch.received", organization=organization, lane=lane, **counts)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _documented(summary: str, body: dict[str, Any], *others: int) -> dict[str, Any]:
    """Describe a route: FastAPI doesn't see the body, since the signature is over its raw bytes."""
    headers = [{"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in _SIGNED]
    content = {"application/problem+json": {"schema": {"type": "object"}}}
    told = {401: "The signature doesn't hold", 413: "Too large", 409: "Tampered", 422: "Malformed", 400: "Cut",
            503: "The portal's database is away"}  # fmt: skip
    return {
        "summary": summary,
        "responses": {
            status: {"description": told[status], "content": content} for status in (400, 401, 413, 422, 503, *others)
        },
        "openapi_extra": {
            "parameters": headers,
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        },
    }


def _object(**members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_LANE: dict[str, Any] = {"type": "string", "enum": ["consent", "messages", "audit"]}
_ENTRIES: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": protocol.MAX_ENTRIES,
    "items": {"type": "object"},
}
_BATCH = _object(organization=_TEXT, lane=_LANE, entries=_ENTRIES)
_RANGE = _object(organization=_TEXT, lane=_LANE, first=_COUNT, last=_COUNT)
_HEAD = _object(
    organization=_TEXT,
    size=_COUNT,
    root=_TEXT,
    lanes={"type": "object", "additionalProperties": _object(size=_COUNT, settled=_COUNT)},
    recorded_at=_TEXT,
    checkpoint={"type": ["string", "null"]},
)
