"""JSON as it comes in and goes out: read as liberally as can be told apart, since what is refused may be a STOP."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson


class Takes(Protocol):
    """Whoever takes messages and events: the intake."""

    def take(self, objects: Sequence[Any]) -> list[dict[str, Any]]:
        """Answer each in its order."""
        ...


def read_json(data: bytes) -> Any:
    """Return the value of JSON bytes; ValueError for what is none, and for what is nested too deep."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        # It refuses half of a surrogate pair, as phones and providers write when they cut a text in an emoji:
        # "STOP \ud83d" must not be lost for that. The intake mends the text.
        pass
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None


def write_json(value: Any) -> bytes:
    """Return a value as JSON bytes; half of a surrogate pair, which UTF-8 has no place for, escaped."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


def take(intake: Takes, objects: Sequence[Any]) -> list[dict[str, Any]]:
    """Hand messages and events over and return their answers in order, those with an unusable id in their place."""
    refused = [unusable(asked) for asked in objects]
    good = [asked for asked, refusal in zip(objects, refused, strict=True) if refusal is None]
    answers = iter(intake.take(good) if good else ())
    return [next(answers) if refusal is None else refusal for refusal in refused]


def unusable(asked: Any) -> dict[str, Any] | None:
    """Return the answer to a message whose id is no valid Unicode: nothing can be kept under it."""
    given = asked.get("id") if isinstance(asked, Mapping) else None
    if not isinstance(given, str) or given.isascii():
        return None
    try:
        given.encode()
    except UnicodeEncodeError:
        return refusal(given, "`id` holds half of a surrogate pair: an id is valid Unicode")
    return None


def refusal(message_id: str | None, detail: str) -> dict[str, Any]:
    """Return the answer to what is no message."""
    return {"id": message_id, "error": {"code": "invalid_message", "detail": detail}}
