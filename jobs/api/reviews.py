"""`GET /v1/reviews` and `POST /v1/reviews/{id}/close`: texts that may have been revocations, for a person to judge."""

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from consent.canonical import parse_entry_id
from consent.database import Database
from consent.ledger import read_entry
from consent.reviews import NoReviewError, Outcome, ReviewClosedError, State
from jobs.access import Grant, Scope
from jobs.api.keys import needs, require_sight
from jobs.api.queries import PROBLEMS
from jobs.asking import QuestionError
from jobs.reviewing import Closes, close, told_reviews
from jobs.web.problems import ProblemError

_JSON = "application/json"

Consents = Literal["none", "pending", "opted_in", "opted_out"]
ReviewId = Annotated[str, Path(description="The entry that opened it, as in acme-000000000005.")]


class Told(BaseModel):
    """One review; what was lawfully erased is null."""

    id: str
    organization: str
    sub_organization: str | None
    conversation: str
    channel: str | None
    line: str | None
    employee_id: str | None
    employee_name: str | None
    contact: str | None
    message_id: str | None
    text: str | None
    word: str | None
    tier: int | None
    before: Consents | None
    sent_at: str
    due_at: str
    overdue: bool
    state: Consents = Field(description="what the contact agrees to now")
    outcome: Outcome | None
    closed_at: str | None
    closed_by: str | None = Field(description="the entry that closed it")
    actor: str | None
    reason: str | None


class ToldPage(BaseModel):
    """A page of them."""

    reviews: list[Told]
    next: str | None


class Judgment(BaseModel):
    """What a person found."""

    model_config = ConfigDict(extra="forbid")

    outcome: Outcome = Field(alias="as")
    reason: str = Field(description="why; it stands in the records", max_length=10_000)


class Closed(BaseModel):
    """What it came to; the same outcome again is answered the same."""

    id: str
    event: Literal["review_closed"]
    outcome: Outcome
    reason: str | None = Field(description="of a revocation: opted_out, duplicate, late or number_reassigned")
    changed: list[dict[str, Any]]
    auto_messages: list[dict[str, Any]]
    entries: list[str]


def review_router(database: Database, intake: Closes) -> APIRouter:
    """Return both routes."""
    other: dict[int | str, dict[str, Any]] = {409: PROBLEMS[404] | {"description": "Closed before, as the other"}}
    router = APIRouter(prefix="/v1", tags=["reviews"], responses=PROBLEMS)

    @router.get("/reviews", summary="Possible revocations, the one due first at the top.", response_model=ToldPage)
    def list_reviews(
        grant: Annotated[Grant, Depends(needs(Scope.REVIEWS_READ))],
        org: str | None = None,
        state: Annotated[State, Query(description="`all`: closed ones too, as they were opened.")] = State.OPEN,
        after: Annotated[str | None, Query(description="A review's id: begin behind it.")] = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> Response:
        org = grant.organization if org is None else org
        if org is not None:
            require_sight(grant, org)
        with database.read() as tx:
            try:
                page = told_reviews(tx, org=org, state=state, after=after, limit=limit)
            except QuestionError as error:
                raise ProblemError(404, error.code, _sentence(error)) from None
            except NoReviewError as error:
                raise ProblemError(422, "invalid_request", _sentence(error)) from None
        return Response(orjson.dumps(page._asdict()), media_type=_JSON)

    @router.post(
        "/reviews/{review_id}/close", summary="Say what a text was.", response_model=Closed, responses=other
    )  # fmt: skip
    def close_review(
        grant: Annotated[Grant, Depends(needs(Scope.REVIEWS_CLOSE))], review_id: ReviewId, asked: Judgment
    ) -> Response:
        _require_sight_of(database, grant, review_id)
        try:
            told = close(intake, review_id, asked.outcome, asked.reason, grant.id)
        except QuestionError as error:
            raise ProblemError(422, error.code, _sentence(error)) from None
        except NoReviewError as error:
            raise ProblemError(404, "not_found", _sentence(error)) from None
        except ReviewClosedError as error:
            raise ProblemError(409, "review_closed", _sentence(error)) from None
        return Response(orjson.dumps(told), media_type=_JSON)

    return router


def _require_sight_of(database: Database, grant: Grant, review_id: str) -> None:
    """Answer for a review outside a token's tree as if it weren't there."""
    if grant.organizations is None:
        return
    try:
        organization, seq = parse_entry_id(review_id)
    except ValueError:
        return  # what is no id is told so
    with database.read() as tx:
        opened = read_entry(tx, organization, seq)
    if opened is None or not grant.sees_entry(opened):
        raise ProblemError(404, "not_found", "There is no review of this id: see `assent review list`.")


def _sentence(error: Exception) -> str:
    told = str(error)
    return f"{told[0].upper()}{told[1:]}."
