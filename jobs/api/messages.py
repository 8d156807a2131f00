"""`POST /v1/messages`, `/v1/messages/batch`, `/v1/events`: the hot path, raw JSON in and out.

No model of the body here: the intake checks every field itself and answers with an error code, and a second
check would cost more than the decision.
"""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consent.database import DatabaseError
from jobs import wire
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
        asked = await _json(request)
        if not isinstance(asked, list):
            raise ProblemError(422, "invalid_message", "A batch is a JSON array of messages.")
        if len(asked) > BATCH:
            raise ProblemError(422, "too_many", f"A batch holds at most {BATCH:,} messages; send the rest in another.")
        return Response(wire.write_json(await run_in_threadpool(wire.take, intake, asked)), media_type=_JSON)

    return [
        Route("/v1/messages", post_message, methods=["POST"]),
        Route("/v1/messages/batch", post_batch, methods=["POST"]),
        Route("/v1/events", post_event, methods=["POST"]),
    ]


async def _take_one(intake: Intake, request: Request, *, is_event: bool) -> Response:
    asked = await _json(request)
    if isinstance(asked, dict) and ("event" in asked) is not is_event:
        wanted = "/v1/messages takes messages: send an event to /v1/events"
        raise ProblemError(
            422, "invalid_message", wanted if not is_event else "`event` is missing: it names the event."
        )
    unusable = wire.unusable(asked)
    if unusable is not None:
        return _refused(unusable)
    try:
        answer = await intake.receive(asked)
    except BusyError as error:
        raise ProblemError(503, "busy", str(error), headers={"retry-after": "1"}) from error
    except DatabaseError as error:
        raise ProblemError(503, "unavailable", str(error), headers={"retry-after": "5"}) from error
    if "error" in answer:
        return _refused(answer)
    return Response(wire.write_json(answer), media_type=_JSON)


def _refused(answer: dict[str, Any]) -> Response:
    """Answer with the intake's own error."""
    code, detail = answer["error"]["code"], answer["error"]["detail"]
    return problem(ProblemError(_STATUS.get(code, 422), code, detail))


async def _json(request: Request) -> Any:
    try:
        return wire.read_json(await request.body())
    except ValueError as error:
        raise ProblemError(400, "invalid_json", "The body is no JSON in UTF-8.") from error
