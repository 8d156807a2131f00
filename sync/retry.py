"""How long to wait before the next attempt: pure arithmetic.

Seconds of trouble are ridden out inside a connector, by tenacity; minutes and days are counted here.
"""

#: No wait is longer, whatever a destination asks for or a clock says: a STOP mustn't sleep for a day.
LONGEST_SECONDS = 900.0


def delay(attempts: int, chance: float, *, retry_after: float | None = None, base: float = 2.0) -> float:
    """Return seconds to wait after `attempts` failures: full jitter under a doubling cap, never below Retry-After.

    `chance` is a random number from 0 to 1. (AWS Architecture Blog, "Exponential Backoff and Jitter".)
    """
    cap: float = min(LONGEST_SECONDS, base * 2.0 ** min(attempts - 1, 16))
    wait = cap * chance
    if retry_after is not None:
        wait = max(wait, min(retry_after, LONGEST_SECONDS)) + min(base, 1.0) * chance
    return min(wait, LONGEST_SECONDS)
