"""Passwords: which are taken, and how they are kept.

Length is what counts, no rules of composition and no expiry (NIST SP 800-63B-4, 3.1.1.2); kept as argon2id with the
parameters of RFC 9106 for little memory: 64 MiB, 3 passes.
"""

import threading
import unicodedata
from functools import cache
from itertools import pairwise

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

#: Letters, at least and at most. A password that stands alone is at least 15 (NIST SP 800-63B-4).
LEAST, MOST = 15, 256
#: Different letters that a password has at least: `aaaaaaaaaaaaaaaa` is long and no password.
_DIFFERENT = 6

_HASHER = PasswordHasher()
# Each takes 64 MiB and a core: many sign-ins at once wait for each other here, not for memory.
_AT_ONCE = threading.Semaphore(2)


class PasswordError(Exception):
    """A password that isn't taken; the message says why, and never quotes it."""


def check_password(password: str, *known: str) -> None:
    """Raise PasswordError unless a password may be chosen; `known` is what others know of its owner."""
    letters = _normal(password)
    if not LEAST <= len(letters) <= MOST:
        raise PasswordError(f"a password has {LEAST} to {MOST} letters: four or five words make a good one")
    rest = letters.casefold()
    for told in ("assent", "password", *known):
        if len(told) >= 3:
            rest = rest.replace(_normal(told).casefold(), "")
    if len(set(rest)) < _DIFFERENT or _is_run(rest):
        raise PasswordError("this password is easy to guess: choose words that have nothing to do with you")


def hash_password(password: str) -> str:
    """Return what is kept of a password."""
    with _AT_ONCE:
        return _HASHER.hash(_normal(password))


def fits(kept: str | None, password: str) -> bool:
    """Compare; where nothing is kept it takes as long and never fits."""
    with _AT_ONCE:
        try:
            return _HASHER.verify(kept or _nobodys(), _normal(password)) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(kept: str) -> bool:
    """Say whether a password was kept with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


def _normal(text: str) -> str:
    # The same password from another keyboard.
    return unicodedata.normalize("NFKC", text)


def _is_run(letters: str) -> bool:
    """Tell `abcdefghij…` and `1234567890…`."""
    steps = [ord(right) - ord(left) for left, right in pairwise(letters)]
    return sum(step in (0, 1, -1) for step in steps) > len(steps) // 2


@cache
def _nobodys() -> str:
    return _HASHER.hash("nobody's")
