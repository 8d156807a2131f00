"""What an answer other than 200 means for what happens next. The answer's body is never quoted."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import MappingProxyType

import orjson

from sync.port import SuspendedError, TransientError

_SIGNATURE = (
    "signature",
    "the portal refuses our signature: the secret in `secret_file` must be one that the portal knows",
)
_TIMESTAMP = (
    "timestamp",
    "the portal finds our signature's time off by more than 5 minutes: set this machine's clock, or the portal's",
)
_WRONG_URL = ("wrong_url", "there is no portal at `url`: it is the address to which the paths /v1/… are added")

#: Statuses at which a person must act, on the destination as a whole.
_SUSPENDING: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        **dict.fromkeys((301, 302, 303, 307, 308), (
            "moved", "the portal has moved: set `url` to the new address; texts aren't sent after a redirect",
        )),
        401: _SIGNATURE,
        403: _SIGNATURE,
        404: _WRONG_URL,
        405: _WRONG_URL,
        410: _WRONG_URL,
        409: ("tamper", "the portal was told another ledger under this name before: run `assent verify --ledger`"),
    }
)  # fmt: skip

#: Statuses that say something of what was sent: the batch is halved until the culprit is alone.
_NOT_TAKEN: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        400: ("rejected", "the portal can't read this entry: compare the versions of both sides"),
        413: ("too_large", "this entry alone is larger than the portal takes: raise the portal's limit"),
        415: ("rejected", "the portal doesn't take JSON: compare the versions of both sides"),
        422: ("rejected", "the portal can't read this entry: compare the versions of both sides"),
    }
)


class NotTakenError(Exception):
    """The portal didn't take a request for what stands in it; nothing of it was stored."""

    def __init__(self, code: str, advice: str) -> None:
        super().__init__(f"{code}: {advice}")
        self.code, self.advice = code, advice


def translate(status: int, headers: Mapping[str, str], body: bytes) -> TransientError | SuspendedError | NotTakenError:
    """Return the error that an answer stands for."""
    if status in _NOT_TAKEN:
        return NotTakenError(*_NOT_TAKEN[status])
    if status in _SUSPENDING:
        clock = status in (401, 403) and _code(body) == "timestamp"
        return SuspendedError(*(_TIMESTAMP if clock else _SUSPENDING[status]))
    code, advice = "unavailable", f"the portal answers with status {status}"
    if status == 429:
        code, advice = "busy", "the portal asks us to slow down"
    return TransientError(code, advice, retry_after=_retry_after(headers))


def strange() -> TransientError:
    """Return the error for an answer of 200 that no portal gives: a proxy's page, another program."""
    return TransientError("bad_answer", "what answers at `url` doesn't speak the push protocol: check `url`")


def passes_soon(error: BaseException) -> bool:
    """Say whether trying again within seconds is worth it: not after a long silence, nor against a named wait."""
    return isinstance(error, TransientError) and error.code in ("unreachable", "unavailable") and not error.retry_after


def _code(body: bytes) -> str | None:
    try:
        problem = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    code = problem.get("code") if isinstance(problem, dict) else None
    return code if isinstance(code, str) else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return seconds, from either form of RFC 9110, 10.2.3."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
