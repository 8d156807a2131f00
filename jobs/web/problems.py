"""Errors as `application/problem+json` (RFC 9457): a status, a sentence that says what to do, a word for programs."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from fastapi import Response


class ProblemError(Exception):
    """A request that can't be answered as asked."""

    def __init__(self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.status, self.code, self.detail = status, code, detail
        self.headers = dict(headers or {})


def problem(error: ProblemError) -> Response:
    """Return the answer for programs."""
    told = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
    }
    return Response(orjson.dumps(told), error.status, error.headers, media_type="application/problem+json")
