"""`GET /v1/consent` and `POST /v1/gate`: may this line text this contact, at an instant or now, and what says so."""

import time
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from consent.database import Database
from jobs.access import Grant, Scope
from jobs.api.keys import needs, require_sight
from jobs.api.queries import PROBLEMS, instant, plus
from jobs.asking import QuestionError, told_consent, told_gate
from jobs.web.problems import ProblemError

_JSON = "application/json"
_STATUS = {"unknown_organization": 404}

Channel = Literal["text", "sms", "mms", "rcs", "whatsapp"]
State = Literal["none", "pending", "opted_in", "opted_out"]


class GateQuestion(BaseModel):
    """An employee's text is about to be sent."""

    org: str
    line: str = Field(description="E.164, or as dialed in the organization's region")
    contact: str
    channel: Channel


class GateAnswer(BaseModel):
    """Whether it may be sent, and the entry that allows or forbids it."""

    allowed: bool
    state: State
    reason: str | None = Field(description="why not: opted_out, pending or consent_required")
    entry: str | None = Field(description="null: there never was one")


class Known(BaseModel):
    """What had been recorded by an instant."""

    allowed: bool
    state: State
    entry: str | None


class Held(BaseModel):
    """What held in one conversation at an instant, by the events' own clock."""

    org: str
    line: str
    contact: str
    channel: Literal["text", "whatsapp"]
    at: str
    allowed: bool
    state: State
    origin: Literal["mo", "mt"] | None
    entry: str | None
    known: Known


def consent_router(database: Database) -> APIRouter:
    """Return both routes."""
    router = APIRouter(prefix="/v1", tags=["consent"], responses=PROBLEMS)

    @router.get("/consent", summary="What a contact had agreed to, one a conversation.", response_model=list[Held])
    def get_consent(
        grant: Annotated[Grant, Depends(needs(Scope.CONSENT_READ))],
        org: str,
        contact: str,
        line: str | None = None,
        channel: Channel | None = None,
        at: Annotated[str | None, Query(description="An instant, RFC 3339; now where it is missing.")] = None,
    ) -> Response:
        require_sight(grant, org)
        asked_at = time.time_ns() // 1000 if at is None else instant(at, "at")
        with database.read() as tx:
            try:
                told = told_consent(tx, org, plus(contact) or "", plus(line), channel, asked_at)
            except QuestionError as error:
                raise _problem(error) from None
        return Response(orjson.dumps(told), media_type=_JSON)

    @router.post("/gate", summary="May an employee's text be sent now? Ask just before.", response_model=GateAnswer)
    def ask_gate(grant: Annotated[Grant, Depends(needs(Scope.MESSAGES))], asked: GateQuestion) -> Response:
        require_sight(grant, asked.org)
        with database.read() as tx:
            try:
                told = told_gate(tx, asked.org, asked.line, asked.contact, asked.channel)
            except QuestionError as error:
                raise _problem(error) from None
        return Response(orjson.dumps(told), media_type=_JSON)

    return router


def _problem(error: QuestionError) -> ProblemError:
    return ProblemError(_STATUS.get(error.code, 422), error.code, f"{error.detail[0].upper()}{error.detail[1:]}.")
