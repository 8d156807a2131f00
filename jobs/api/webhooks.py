"""`/webhooks/twilio` and `/webhooks/whatsapp`: providers' own shapes in, signed; the intake's answers out.

A provider calls once, or a few times: what can't be taken for a reason of ours is refused, so that it comes again or
stands in the provider's log, and never answered as if it had been taken.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import parse_qs

import structlog
from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from consent.canonical import parse_entry_id
from consent.database import Database
from consent.lines import owners_of_line
from consent.numbers import NumberError, read_number
from consent.tags import Tags
from jobs import wire
from jobs.api import twilio, whatsapp
from jobs.asking import main_organizations
from jobs.web.problems import ProblemError, problem
from sync.migrate import tag_key

log = structlog.get_logger()

_TEXT = {"type": "string"}
_PROBLEM = {"application/problem+json": {"schema": {"type": "object"}}}
_STATUSES = {
    400: "Not understood", 401: "The signature doesn't hold", 404: "A line of nobody's",
    409: "The same id with another content", 413: "Too large", 422: "Can't be taken",
    503: "Database away: send it again",
}  # fmt: skip
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": _PROBLEM} for status, words in _STATUSES.items()
}
_STATUS_OF = {"id_conflict": 409, "unknown_organization": 404}


@dataclass(frozen=True, slots=True)
class Providers:
    """What providers' calls are known by; None: nothing of that provider's is taken."""

    #: What providers reach this server by, without a slash at its end.
    public_url: str
    twilio_auth_token: str | None = field(default=None, repr=False)
    whatsapp_app_secret: str | None = field(default=None, repr=False)
    #: What was typed into Meta's form when the webhook was set up.
    whatsapp_verify_token: str | None = field(default=None, repr=False)
    #: Whose texts to lines that nobody registered are.
    organization: str | None = None


def webhook_router(database: Database, intake: wire.Takes, providers: Providers) -> APIRouter:
    """Return the routes; they are open to whoever signs as the provider."""
    router = APIRouter(prefix="/webhooks", tags=["webhooks"], responses=_PROBLEMS)

    @router.post(
        "/twilio", summary="An incoming text, or the status of a sent one, from Twilio.",
        responses={200: {"description": "Durable; the replies as TwiML", "content": {"text/xml": {"schema": _TEXT}}},
                   204: {"description": "A status that changes nothing"}},
        openapi_extra=_documented("X-Twilio-Signature", {"application/x-www-form-urlencoded": {"schema": {
            "type": "object", "additionalProperties": _TEXT}}}),
    )  # fmt: skip
    async def from_twilio(
        request: Request,
        entry: Annotated[str | None, Query(description="Of a status: the auto-message's entry.")] = None,
    ) -> Response:
        form = await _signed_form(request, providers)
        if twilio.is_status(form):
            event = twilio.read_status(form, entry) if entry else None
            if event is None:
                return Response(status_code=204)
            event["org"] = _ledger_of(entry or "")
            return _answered([await run_in_threadpool(_take, intake, event)]) or Response(status_code=204)
        message = twilio.read_text(form)
        answer = await run_in_threadpool(_take_text, database, intake, providers, message)
        refused = _answered([answer])
        return refused or Response(
            twilio.replies(answer, f"{providers.public_url}/webhooks/twilio"), media_type="text/xml"
        )

    @router.get(
        "/whatsapp", summary="Meta asks whether this address is ours.",
        responses={200: {"description": "The challenge", "content": {"text/plain": {"schema": _TEXT}}}},
    )  # fmt: skip
    def verify(
        mode: Annotated[str, Query(alias="hub.mode")] = "",
        token: Annotated[str, Query(alias="hub.verify_token")] = "",
        challenge: Annotated[str, Query(alias="hub.challenge")] = "",
    ) -> Response:
        known = providers.whatsapp_verify_token
        same = known is not None and hmac.compare_digest(known.encode(), token.encode("utf-8", "replace"))
        if mode != "subscribe" or not same:
            raise _unsigned("whatsapp", "The verify token isn't the one of the settings.")
        return Response(challenge, media_type="text/plain")

    @router.post(
        "/whatsapp", summary="Messages, statuses and preferences from WhatsApp.",
        responses={200: {"description": "Durable", "content": {"application/json": {"schema": {"type": "object"}}}}},
        openapi_extra=_documented("X-Hub-Signature-256", {"application/json": {"schema": {"type": "object"}}}),
    )  # fmt: skip
    async def from_whatsapp(request: Request) -> Response:
        body, secret = await request.body(), providers.whatsapp_app_secret
        if secret is None or not whatsapp.is_signed(secret, body, request.headers.get("x-hub-signature-256", "")):
            raise _unsigned("whatsapp", "The signature isn't that of the app's secret.")
        try:
            things = whatsapp.read_changes(wire.read_json(body))
        except ValueError as error:
            raise ProblemError(400, "invalid_json", "The body is no JSON in UTF-8.") from error
        answers = await run_in_threadpool(_take_all, database, intake, providers, things)
        return _answered(answers) or Response(wire.write_json({"taken": len(answers)}), media_type="application/json")

    return router


async def _signed_form(request: Request, providers: Providers) -> twilio.Form:
    body, secret = await request.body(), providers.twilio_auth_token
    try:
        # Read as bytes first: a text that is no UTF-8 must still have its signature checked.
        form = parse_qs(body.decode("utf-8", "surrogateescape"), keep_blank_values=True, errors="surrogateescape",
                        max_num_fields=1_000)  # fmt: skip
    except ValueError as error:
        raise ProblemError(400, "malformed", "This form can't be read.") from error
    query = f"?{request.url.query}" if request.url.query else ""
    url = f"{providers.public_url}{request.url.path}{query}"
    signature = request.headers.get("x-twilio-signature", "")
    if secret is None or not twilio.is_signed(secret, url, form, signature):
        raise _unsigned("twilio", "The signature isn't Twilio's: check server.public_url and the auth token.")
    return form


def _unsigned(provider: str, detail: str) -> ProblemError:
    log.warning("webhook.unsigned", provider=provider)
    return ProblemError(401, "signature", detail)


def _take(intake: wire.Takes, asked: Mapping[str, Any]) -> dict[str, Any]:
    return wire.take(intake, [asked])[0]


def _take_text(
    database: Database, intake: wire.Takes, providers: Providers, message: Mapping[str, Any]
) -> dict[str, Any]:  # fmt: skip
    return _take_all(database, intake, providers, [message])[0]


def _take_all(
    database: Database, intake: wire.Takes, providers: Providers, things: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Take what was told, each under the organization that it belongs to."""
    with database.read() as tx:
        tags, mains = Tags(tag_key(tx)), main_organizations(tx)
        known: dict[str, str | None] = {}
        for thing in things:
            line = thing.get("line")
            if isinstance(line, str) and line not in known:
                known[line] = _owner(owners_of_line(tx, tags, _e164(line)))
    # Of one organization alone there is no doubt.
    otherwise = providers.organization or (mains[0] if len(mains) == 1 else None)
    asked = []
    for thing in things:
        org = _ledger_of(thing["entry"]) if "entry" in thing else known.get(str(thing.get("line"))) or otherwise
        asked.append({**thing, "org": org})
    good = [one for one in asked if one["org"] is not None]
    answers = iter(wire.take(intake, good) if good else ())
    return [_nobodys(one) if one["org"] is None else next(answers) for one in asked]


def _nobodys(thing: Mapping[str, Any]) -> dict[str, Any]:
    detail = "nobody's line: register it (`assent line set`), or name server.webhook_organization in the settings"
    return {"id": thing.get("id"), "error": {"code": "unknown_organization", "detail": detail}}


def _owner(owners: Sequence[str]) -> str | None:
    return owners[0] if owners else None


def _e164(line: str) -> str:
    try:
        return read_number(line, "US")
    except NumberError:
        return line


def _ledger_of(entry: str) -> str:
    try:
        return parse_entry_id(entry)[0]
    except ValueError:
        return ""


def _answered(answers: Sequence[Mapping[str, Any]]) -> Response | None:
    """Return the problem of what wasn't taken, the first where there are several; None where all was."""
    refused = [answer["error"] for answer in answers if "error" in answer]
    if not refused:
        return None
    codes = sorted({error["code"] for error in refused})
    log.error("webhook.refused", count=len(refused), codes=codes)
    code, detail = refused[0]["code"], refused[0]["detail"]
    return problem(ProblemError(_STATUS_OF.get(code, 422), code, detail))


def _documented(header: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "parameters": [{"name": header, "in": "header", "required": True, "schema": _TEXT}],
        "requestBody": {"required": True, "content": dict(content)},
    }
