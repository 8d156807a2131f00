"""Reads the dates of a list: when exactly, in which zone; refused where that would be a guess."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

from jobs.exits import Exit, Problem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


class MomentError(ValueError):
    """A date that can't be read; the message says what to do and doesn't quote it."""


@dataclass(frozen=True, slots=True)
class Moments:
    """How a list writes its dates."""

    #: The zone of times that name none.
    zone: tzinfo | None = None
    #: As `datetime.strptime` takes it, for dates that are written in no common form.
    pattern: str | None = None

    def read(self, text: str, *, latest: bool) -> int:
        """Return microseconds since 1970.

        A day without a time of day is its first instant, or its last where the `latest` is meant.
        """
        when, whole_day = self._parsed(text)
        if when.tzinfo is None:
            if self.zone is None:
                raise MomentError("`at` names no zone: write it as 2026-11-23T10:00:00Z, or name the list's --timezone")
            when = when.replace(tzinfo=self.zone)
        if whole_day and latest:
            # In the list's own calendar: a day may have 23 or 25 hours.
            when = (when.replace(tzinfo=None) + _DAY).replace(tzinfo=when.tzinfo).astimezone(UTC) - _MICROSECOND
        try:
            return (when.astimezone(UTC) - _EPOCH) // _MICROSECOND
        except OverflowError:
            raise MomentError("`at` lies in the future, or before 1990") from None

    def _parsed(self, text: str) -> tuple[datetime, bool]:
        if self.pattern is not None:
            try:
                when = datetime.strptime(text, self.pattern)  # noqa: DTZ007 (the zone follows)
            except ValueError:
                when = None
            if when is not None:
                return when, not any(mark in self.pattern for mark in ("%H", "%I", "%X", "%c"))
        try:
            return datetime.fromisoformat(text), len(text) <= 10
        except ValueError:
            pass
        try:
            return parsedate_to_datetime(text), False
        except (ValueError, IndexError):
            pass
        raise MomentError(
            "`at` is no date that can be told without guessing: write it as 2026-11-23T10:00:00Z or 2026-11-23, or say "
            "how with --date-format, as in '%m/%d/%Y %I:%M %p'"
        )


def zone_of(name: str | None) -> tzinfo | None:
    """Return a zone by its IANA name."""
    if name is None:
        return None
    try:
        return UTC if name.upper() == "UTC" else ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise Problem(Exit.USAGE, "--timezone is a zone's name, as in America/New_York or UTC") from None
