"""Where an entry is: what the pages ask of sync, as a type, so that they know nothing of receipts."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """How far one entry is at one destination."""

    DELIVERED = "delivered"
    OWED = "owed"  # behind the cursor: its turn has not come
    SET_ASIDE = "set_aside"  # failed alone, tried again later
    REFUSED = "refused"  # waits for a person
    DISCARDED = "discarded"  # a person gave it up
    MISSING = "missing"  # it was taken, and isn't held any more
    SKIPPED = "skipped"  # the destination was never asked to take it


class Position(NamedTuple):
    """An entry's place in a lane of a ledger."""

    organization: str
    lane: str
    pos: int


class Whereabouts(NamedTuple):
    """One entry at one destination."""

    #: The destination's name in the settings.
    destination: str
    state: State
    #: When it got there, microseconds since 1970.
    settled_at: int | None = None
    #: Why it isn't there, in words for an operator; holds no number, name or text.
    reason: str | None = None


#: For each position asked, one answer per destination that takes its lane, in the order of the settings.
Where = Callable[[Sequence[Position]], Mapping[Position, Sequence[Whereabouts]]]
