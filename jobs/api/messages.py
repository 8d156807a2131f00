"""`POST /v1/messages`, `/v1/messages/batch`, `/v1/events`: the hot path, raw JSON in and out.

No model of the body here: the intake checks every field itself and answers with an error code, and a second
check would cost more than the decision.
"""

from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consent.database import DatabaseError
from jobs import wire
from jobs.access import Grant, Scope
from jobs.api.keys import require
from jobs.web.problems import ProblemError, problem
from sync.intake import BusyError, Intake

#: Messages in one batch at most.
BATCH = 1_000

_STATUS = {"id_conflict": 409}
_JSON = "application/json"


def message_routes(intake: Intake) -> list[Route]:
    """Return the routes that take messages and events."""

    async def post_message(request: Request) -> Response:
        return await _take_one(intake, request, is_event=False)

    async def post_event(request: Request) -> Response:
        return await _take_one(intake, request, is_event=True)

    async def post_batch(request: Request) -> Response:
        grant = require(request, Scope.MESSAGES)
        asked = await _json(request)
        if not isinstance(asked, list):
            raise ProblemError(422, "invalid_message", "A batch is a JSON array of messages.")
        if len(asked) > BATCH:
            raise ProblemError(422, "too_many", f"A batch holds at most {BATCH:,} messages; send the rest in another.")
        takes = intake if grant.organizations is None else _Within(intake, grant)
        return Response(wire.write_json(await run_in_threadpool(wire.take, takes, asked)), media_type=_JSON)

    return [
        Route("/v1/messages", post_message, methods=["POST"]),
        Route("/v1/messages/batch", post_batch, methods=["POST"]),
        Route("/v1/events", post_event, methods=["POST"]),
    ]


async def _take_one(intake: Intake, request: Request, *, is_event: bool) -> Response:
    grant = require(request, Scope.MESSAGES)
    asked = await _json(request)
    if isinstance(asked, dict) and ("event" in asked) is not is_event:
        wanted = "/v1/messages takes messages: send an event to /v1/events"
        raise ProblemError(
            422, "invalid_message", wanted if not is_event else "`event` is missing: it names the event."
        )
    refused = wire.unusable(asked) or _outside(grant, asked)
    if refused is not None:
        return _refused(refused)
    try:
        answer = await intake.receive(asked)
    except BusyError as error:
        raise ProblemError(503, "busy", str(error), headers={"retry-after": "1"}) from error
    except DatabaseError as error:
        raise ProblemError(503, "unavailable", str(error), headers={"retry-after": "5"}) from error
    if "error" in answer:
        return _refused(answer)
    return Response(wire.write_json(answer), media_type=_JSON)


class _Within:
    """Takes what belongs to a token's organizations, and answers the rest as if there were no such organization."""

    def __init__(self, intake: wire.Takes, grant: Grant) -> None:
        self._intake, self._grant = intake, grant

    def take(self, objects: Sequence[Any]) -> list[dict[str, Any]]:
        """Answer each in its order."""
        refused = [_outside(self._grant, asked) for asked in objects]
        good = [asked for asked, refusal in zip(objects, refused, strict=True) if refusal is None]
        answers = iter(self._intake.take(good) if good else ())
        return [next(answers) if refusal is None else refusal for refusal in refused]


def _outside(grant: Grant, asked: Any) -> dict[str, Any] | None:
    """Return the answer to what names an organization outside a token's tree; the intake answers what names none."""
    org = asked.get("org") if isinstance(asked, dict) else None
    if grant.organizations is None or not isinstance(org, str) or org in grant.organizations:
        return None
    given = asked.get("id")
    error = {"code": "unknown_organization", "detail": "there is no organization of this id"}
    return {"id": given if isinstance(given, str) else None, "error": error}


def _refused(answer: dict[str, Any]) -> Response:
    """Answer with the intake's own error."""
    code, detail = answer["error"]["code"], answer["error"]["detail"]
    return problem(ProblemError(_STATUS.get(code, 422), code, detail))


async def _json(request: Request) -> Any:
    try:
        return wire.read_json(await request.body())
    except ValueError as error:
        raise ProblemError(400, "invalid_json", "The body is no JSON in UTF-8.") from error
