"""The push protocol: signed requests, and the shapes of what goes there and comes back.

Client and receiving end share this file; README.md says the same in words for a portal of another company.
"""

import binascii
import hashlib
import re
import secrets as randomness
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson
from standardwebhooks import Webhook, WebhookVerificationError

from consent.canonical import base64url, canonical, parse_timestamp, timestamp
from consent.entry import Entry, entry_json
from consent.kinds import Lane
from sync.port import Statement

BATCHES, HELD, HEADS = "/v1/batches", "/v1/held", "/v1/heads"

#: What one request may carry; both ends keep to it, so that neither has to guess.
MAX_ENTRIES = 1_000
MAX_BYTES = 8 * 1024 * 1024
#: Entries on one page of an answer to `/v1/held`.
PAGE = 5_000

ORGANIZATION = re.compile(r"[a-z0-9-]{2,32}")

_PREFIX = "whsec_"


class Status(StrEnum):
    """What became of one entry of a batch."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # held already, with this very content
    CONFLICT = "conflict"  # held already under this id or position, with another content
    INVALID = "invalid"  # not stored: `reason` says which rule it breaks


class SignatureError(Exception):
    """A request isn't signed by a secret we know, or not now: `code` is `signature` or `timestamp`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ShapeError(Exception):
    """A request or an answer isn't shaped as the protocol says."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer for one entry."""

    id: str
    status: Status
    #: 16 bytes over what the portal holds now under this id; None where it holds nothing.
    digest: bytes | None = None
    #: Why it is invalid, a word of `reading.REASONS`.
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """A question to `/v1/held`: positions `first` to `last` of one lane, both included."""

    organization: str
    lane: str
    first: int
    last: int


def new_secret() -> str:
    """Return a new signing secret: `whsec_` and the base64 of 32 random bytes."""
    return _PREFIX + b64encode(randomness.token_bytes(32)).decode()


def read_secret(text: str) -> str:
    """Return a secret as it stood in its file, checked; raise ValueError where it is none."""
    # The library drops what isn't base64 without a word, so a mistyped secret would be a weaker one.
    secret = text.strip()
    try:
        key = b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError("a portal secret is `whsec_` and the base64 of 24 to 64 bytes")
    return secret


def sign(secrets: Sequence[str], body: bytes, now: float) -> dict[str, str]:
    """Return the three headers for a body; one signature a secret, so that both ends can rotate apart.

    The same body gets the same id, so a repeated push says that it is one. `now` is in seconds since 1970.
    """
    message = "msg_" + base64url(hashlib.sha256(body).digest()[:18])
    # The library relabels the time as UTC instead of converting it, so it must be UTC already.
    when, text = datetime.fromtimestamp(int(now), UTC), body.decode()
    return {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(Webhook(secret).sign(message, when, text) for secret in secrets),
    }


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> None:
    """Check a request's signature over its raw body, in constant time; raise SignatureError where none holds."""
    code = "signature"
    for secret in secrets:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
        except WebhookVerificationError as error:
            # The only ground that the sender's clock can mend; the library tells it by its words alone.
            code = "timestamp" if str(error).startswith("Message timestamp") else "signature"
        except ValueError:  # no UTF-8, no base64, no comma: the library lets them through
            code = "signature"
        else:
            return
    raise SignatureError(code)


def digest(entry: Entry) -> bytes:
    """Return the first 16 bytes of SHA-256 over an entry's canonical JSON: each end computes it for itself."""
    return document_digest(entry_json(entry))


def document_digest(document: bytes) -> bytes:
    """Return the digest of an entry given as canonical JSON."""
    return hashlib.sha256(document).digest()[:16]


def batch_request(organization: str, lane: str, documents: Iterable[bytes]) -> bytes:
    """Return the body of `POST /v1/batches` for entries given as canonical JSON."""
    return b'{"organization":"%b","lane":"%b","entries":[%b]}' % (
        organization.encode(),
        lane.encode(),
        b",".join(documents),
    )


def read_batch(body: bytes) -> tuple[str, str, list[Any]]:
    """Return (organization, lane, entry objects as they came) of a batch; raise ShapeError."""
    organization, lane, entries = _members(body, "organization", "lane", "entries")
    if not _names(organization) or lane not in tuple(Lane) or not isinstance(entries, list):
        raise ShapeError("a batch is {organization, lane, entries}")
    if not 0 < len(entries) <= MAX_ENTRIES:
        raise ShapeError(f"a batch holds 1 to {MAX_ENTRIES:,} entries")
    return organization, lane, entries


def batch_answer(results: Iterable[Result]) -> bytes:
    """Return the body that answers a batch."""
    return orjson.dumps({"results": [_result(result) for result in results]})


def read_results(body: bytes) -> list[Result]:
    """Return the results of a batch; raise ShapeError."""
    (results,) = _members(body, "results")
    try:
        return [
            Result(
                found["id"],
                Status(found["status"]),
                bytes.fromhex(found["digest"]) if found.get("digest") else None,
                found.get("reason"),
            )
            for found in results
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ShapeError("results aren't a list of {id, status, digest}") from error


def held_request(asked: Range) -> bytes:
    """Return the body of `POST /v1/held`."""
    return canonical({"organization": asked.organization, "lane": asked.lane, "first": asked.first, "last": asked.last})


def read_range(body: bytes) -> Range:
    """Return what `/v1/held` was asked; raise ShapeError."""
    organization, lane, first, last = _members(body, "organization", "lane", "first", "last")
    if not _names(organization) or lane not in tuple(Lane) or not _counts(first) or not _counts(last):
        raise ShapeError("a range is {organization, lane, first, last}")
    return Range(organization, lane, first, last)


def held_answer(page: Sequence[tuple[str, int, bytes]], following: int | None) -> bytes:
    """Return the body that answers `/v1/held`: (id, pos, digest) in order of position, and where to go on."""
    entries = [{"id": entry_id, "pos": pos, "digest": held.hex()} for entry_id, pos, held in page]
    return orjson.dumps({"entries": entries, "next": following})


def read_held(body: bytes) -> tuple[list[tuple[str, int, bytes]], int | None]:
    """Return a page of (id, pos, digest) and the position to go on from, None at the end; raise ShapeError."""
    entries, following = _members(body, "entries", "next")
    try:
        page = [(str(held["id"]), int(held["pos"]), bytes.fromhex(held["digest"])) for held in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise ShapeError("a page is {entries: [{id, pos, digest}], next}") from error
    if following is not None and not _counts(following):
        raise ShapeError("next is a position or null")
    return page, following


def head_request(statement: Statement) -> bytes:
    """Return the body of `POST /v1/heads`."""
    return canonical(
        {
            "organization": statement.organization,
            "size": statement.size,
            "root": statement.root.hex(),
            "lanes": {lane: {"size": size, "settled": done} for lane, (size, done) in statement.lanes.items()},
            "recorded_at": timestamp(statement.recorded_at),
            "checkpoint": statement.checkpoint,
        }
    )


def read_head(body: bytes) -> Statement:
    """Return the statement that came to `/v1/heads`; raise ShapeError."""
    organization, size, root, lanes, recorded_at, checkpoint = _members(
        body, "organization", "size", "root", "lanes", "recorded_at", "checkpoint"
    )
    try:
        told = {lane: (told["size"], told["settled"]) for lane, told in lanes.items()}
        root, recorded_at = bytes.fromhex(root), parse_timestamp(recorded_at)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ShapeError("a head is {organization, size, root, lanes, recorded_at, checkpoint}") from error
    counts = [size, *(count for pair in told.values() for count in pair)]
    if (
        not _names(organization)
        or not told.keys() <= set(Lane)
        or len(root) != 32
        or not all(_counts(count) for count in counts)
        or not (checkpoint is None or isinstance(checkpoint, str))
    ):
        raise ShapeError("a head is {organization, size, root, lanes, recorded_at, checkpoint}")
    return Statement(organization, size, root, told, recorded_at, checkpoint)


def _members(body: bytes, *names: str) -> tuple[Any, ...]:
    """Return the members of an object that has exactly these."""
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ShapeError("the body isn't JSON") from error
    if not isinstance(read, dict) or read.keys() != set(names):
        raise ShapeError(f"an object with the members {', '.join(names)} was expected")
    return tuple(read[name] for name in names)


def _result(result: Result) -> dict[str, str | None]:
    answer: dict[str, str | None] = {
        "id": result.id,
        "status": result.status,
        "digest": result.digest.hex() if result.digest else None,
    }
    if result.reason:
        answer["reason"] = result.reason
    return answer


def _names(organization: Any) -> bool:
    return isinstance(organization, str) and ORGANIZATION.fullmatch(organization) is not None


def _counts(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**53
