"""How long to wait: pure arithmetic for what is tried again, and the short patience inside one push."""

import threading
from collections.abc import Callable
from typing import TypeVar

import tenacity

from sync.port import TransientError

#: No wait is longer, whatever a destination asks for or a clock says: a STOP mustn't sleep for a day.
LONGEST_SECONDS = 900.0

_PUSH_ATTEMPTS = 3
_PUSH_SECONDS = 10.0

T = TypeVar("T")


def delay(attempts: int, chance: float, *, retry_after: float | None = None, base: float = 2.0) -> float:
    """Return seconds to wait after `attempts` failures: full jitter under a doubling cap, never below Retry-After.

    `chance` is a random number from 0 to 1. (AWS Architecture Blog, "Exponential Backoff and Jitter".)
    """
    cap: float = min(LONGEST_SECONDS, base * 2.0 ** min(attempts - 1, 16))
    wait = cap * chance
    if retry_after is not None:
        wait = max(wait, min(retry_after, LONGEST_SECONDS)) + min(base, 1.0) * chance
    return min(wait, LONGEST_SECONDS)


def patiently(call: Callable[[], T], stop: threading.Event) -> T:
    """Ride out seconds of trouble inside one push: at most 3 attempts in 10 s, none after `stop` is set."""
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        wait=_wait,
        stop=tenacity.stop_any(
            tenacity.stop_after_attempt(_PUSH_ATTEMPTS),
            tenacity.stop_before_delay(_PUSH_SECONDS),
            tenacity.stop_when_event_set(stop),
        ),
        sleep=tenacity.sleep_using_event(stop),
        reraise=True,
    )
    return retrying(call)


_JITTER = tenacity.wait_random_exponential(multiplier=0.2, max=3.0)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, TransientError) else None
    return max(float(_JITTER(state)), asked or 0.0)
