"""Times as a person reads them: in the zone that their browser named, or in UTC, with the other one beside it."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Request
from markupsafe import Markup, escape

from consent.canonical import timestamp

#: What the browser says its zone is, and which of the two the viewer wants to read.
ZONE_COOKIE, READ_COOKIE = "assent-zone", "assent-times"

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


class Times:
    """Writes times, given in microseconds since 1970, in one zone; and reads those that a person typed in it."""

    def __init__(self, zone: str | None = None, *, utc: bool = False, now: int = 0) -> None:
        self.local = zone if zone and _zone(zone) is not None else None
        self.is_utc = utc or self.local is None
        self._zone: tzinfo = UTC if self.is_utc else (_zone(self.local or "") or UTC)
        self.now = now

    @property
    def name(self) -> str:
        """What the zone in use is called."""
        return "UTC" if self.is_utc else (self.local or "UTC").replace("_", " ")

    def day(self, micros: int) -> str:
        """Return `Mon 23 Nov 2026`."""
        at = self._at(micros)
        return f"{('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')[at.weekday()]} {_date(at)}"

    def on(self, micros: int) -> Markup:
        """Return `23 Nov 2026` as a time element."""
        return self._element(micros, _date(self._at(micros)))

    def clock(self, micros: int) -> Markup:
        """Return `10:00:12` as a time element, for what stands under its day."""
        return self._element(micros, f"{self._at(micros):%H:%M:%S}")

    def moment(self, micros: int) -> Markup:
        """Return `23 Nov 2026, 10:00:12`, the year left out in the year that it is."""
        at = self._at(micros)
        said = _date(at) if at.year != self._at(self.now).year else f"{at.day} {_MONTHS[at.month - 1]}"
        return self._element(micros, f"{said}, {at:%H:%M:%S}")

    def full(self, micros: int) -> Markup:
        """Return the instant in both zones: what a proof is read by."""
        at, utc = self._at(micros), _EPOCH + timedelta(microseconds=micros)
        said = f"{_date(at)}, {at:%H:%M:%S} {at.tzname()}"
        if at.tzname() != "UTC":
            said += f" ({utc:%H:%M:%S} UTC)" if utc.date() == at.date() else f" ({_date(utc)}, {utc:%H:%M:%S} UTC)"
        return self._element(micros, said)

    def ago(self, micros: int) -> Markup:
        """Return how long since, in one unit: `4 min ago`, `in 3 days`."""
        seconds = (self.now - micros) / 1_000_000
        span = lasting(abs(seconds))
        return self._element(micros, "just now" if abs(seconds) < 5 else f"{span} ago" if seconds > 0 else f"in {span}")

    def read(self, text: str) -> int | None:
        """Return the instant of `2026-11-23 10:00` or `2026-11-23`, in this zone unless it names one, else None."""
        try:
            at = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        at = at if at.tzinfo is not None else at.replace(tzinfo=self._zone)
        return (at - _EPOCH) // timedelta(microseconds=1)

    def days(self, first: date, last: date) -> tuple[int, int]:
        """Return when the day `first` begins and when the day `last` is over."""
        begin = datetime(first.year, first.month, first.day, tzinfo=self._zone)
        end = datetime(last.year, last.month, last.day, tzinfo=self._zone) + _DAY
        return (begin - _EPOCH) // timedelta(microseconds=1), (end - _EPOCH) // timedelta(microseconds=1)

    def field(self, micros: int) -> str:
        """Return an instant as an input for date and time holds it."""
        return f"{self._at(micros):%Y-%m-%dT%H:%M:%S}"

    def _at(self, micros: int) -> datetime:
        return (_EPOCH + timedelta(microseconds=micros)).astimezone(self._zone)

    def _element(self, micros: int, said: str) -> Markup:
        stamp = timestamp(micros)
        return Markup('<time datetime="{}" title="{}">{}</time>').format(stamp, stamp, escape(said))


def times_of(request: Request, now: int) -> Times:
    """Return how a request's viewer reads times."""
    zone = unquote(request.cookies.get(ZONE_COOKIE, ""))
    return Times(zone, utc=request.cookies.get(READ_COOKIE) == "utc", now=now)


def lasting(seconds: float) -> str:
    """Return a length of time in its largest unit: `12 s`, `4 min`, `3 h`, `5 days`."""
    for unit, size, most in (("s", 1, 90), ("min", 60, 90 * 60), ("h", 3600, 36 * 3600)):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def _date(at: datetime) -> str:
    # Not %b: it follows the locale of the process.
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}"


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
