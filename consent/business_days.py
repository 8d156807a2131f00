"""When something is due that has to be done within so many business days: Monday to Friday, but for federal holidays.

The rule that asks for it (47 CFR 64.1200(a)(10)) is the United States', and so is the calendar, whatever region an
organization dials in: a holiday of another country never moves a date further away.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holidays import HolidayBase

#: How many business days a revocation may take to be honored.
HONORED_WITHIN = 10

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
#: The calendars of the United States lie between this one (Hawaii's) and, on the safe side, Greenwich's.
_WESTERNMOST = timedelta(hours=-10)
_SATURDAY = 5


def due_after(at: int, days: int = HONORED_WITHIN) -> int:
    """Return when `days` business days are over, counted from the day after `at`; microseconds since 1970, both.

    It is the same time of the day. Which day `at` is on depends on where one stands (a text of Sunday evening in
    New York is Monday's in Greenwich): the calendar on which the time is over first counts.
    """
    moment = _EPOCH + timedelta(microseconds=at)
    due = min(moment + _run(moment + zone, days) for zone in (timedelta(0), _WESTERNMOST))
    return (due - _EPOCH) // timedelta(microseconds=1)


@cache
def federal_holidays() -> "HolidayBase":
    """Return the calendar, which works out each year when it is first asked for; to load it takes half a second."""
    # Imported where it is used: most processes never need it.
    from holidays import country_holidays

    return country_holidays("US")


def _run(moment: datetime, days: int) -> timedelta:
    """Return how long it is until that many business days after the moment's own are reached."""
    first = day = moment.date()
    while days:
        day += _DAY
        if day.weekday() < _SATURDAY and day not in federal_holidays():
            days -= 1
    return day - first
