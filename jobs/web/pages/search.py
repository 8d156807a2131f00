"""One box for everything: reads what was typed as an entry's id, a date, a number or a name."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from consent import searching
from consent.canonical import parse_entry_id
from consent.conversations import Standing
from consent.organizations import read_policies
from consent.tags import Tags
from jobs import asking
from jobs.access import Viewer
from jobs.web.pages.desk import seen_ledgers, sees_standing
from jobs.web.times import Times

#: Conversations that are shown at most; who finds more types more.
MOST = 100


class EntryAsked(NamedTuple):
    """An entry's id."""

    entry: str


class DaysAsked(NamedTuple):
    """Days, both included."""

    first: date
    last: date


class NumberAsked(NamedTuple):
    """A number in any form."""

    number: str


class NameAsked(NamedTuple):
    """A name, or the beginning of one of its words."""

    name: str


Reading = EntryAsked | DaysAsked | NumberAsked | NameAsked

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SPAN = re.compile(r"\s*(?:\.\.|–|—|\bto\b|\buntil\b)\s*")
_ISO = re.compile(r"(\d{4})-(\d{1,2})(?:-(\d{1,2}))?")
_AMERICAN = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_WRITTEN = re.compile(r"(?:(\d{1,2})\.?\s+)?([a-z]{3,9})\.?(?:\s+(\d{1,2}),?)?\s+(\d{4})")
_NUMBER = re.compile(r"(?:[a-z]+\s*:)?\s*\+?[\d\s()./‐-―−-]{3,}(?:#|x|ext)?.*", re.IGNORECASE)


def read(text: str, today: date) -> Reading:
    """Return what was meant."""
    told = " ".join(text.split())
    try:
        parse_entry_id(told.lower())
    except ValueError:
        pass
    else:
        return EntryAsked(told.lower())
    days = _days(told.lower(), today)
    if days is not None:
        return days
    digits = sum(c.isdecimal() for c in told)
    if digits >= 3 and _NUMBER.fullmatch(told):
        return NumberAsked(told)
    return NameAsked(told)


def find(
    tx: Connection, tags: Tags, viewer: Viewer, asked: NumberAsked | NameAsked, org: str | None = None
) -> list[Standing]:
    """Return the conversations that are meant, of those that a viewer may see.

    Raises QuestionError where a number can be read in no organization.
    """
    found: list[Standing] = []
    errors: list[asking.QuestionError] = []
    ledgers = [name for name in seen_ledgers(tx, viewer) if org in (None, name)]
    for name in ledgers:
        if isinstance(asked, NameAsked):
            found += searching.by_name(tx, name, asked.name, limit=MOST)
            continue
        try:
            number = asking.number(asked.number, "contact", read_policies(tx, name)[name])
        except asking.QuestionError as error:
            errors.append(error)
        else:
            found += searching.by_number(tx, tags, name, number, limit=MOST)
    if errors and len(errors) == len(ledgers):
        raise errors[0]
    return [one for one in found if sees_standing(viewer, one)]


def met(tx: Connection, found: Sequence[Standing]) -> list[searching.Met]:
    """Return conversations with names and newest entries, the one of the newest first."""
    by_ledger: dict[str, list[Standing]] = {}
    for one in found[:MOST]:
        by_ledger.setdefault(one.conversation.organization, []).append(one)
    told = [one for name, some in by_ledger.items() for one in searching.met(tx, name, some)]
    return sorted(told, key=lambda one: -one.at)


def today(times: Times) -> date:
    """Return the day that it is for the viewer."""
    return date.fromisoformat(times.field(times.now)[:10])


def _days(text: str, today: date) -> DaysAsked | None:
    parts = _SPAN.split(text)
    if not 1 <= len(parts) <= 2:
        return None
    read = [_day(part, today) for part in parts]
    if any(one is None for one in read):
        return None
    return DaysAsked(min(one[0] for one in read if one), max(one[1] for one in read if one))


def _day(text: str, today: date) -> tuple[date, date] | None:
    if text in ("today", "yesterday"):
        day = today - timedelta(days=text == "yesterday")
        return day, day
    try:
        if match := _ISO.fullmatch(text):
            year, month = int(match[1]), int(match[2])
            return _whole_month(year, month) if match[3] is None else _one(year, month, int(match[3]))
        if match := _AMERICAN.fullmatch(text):
            return _one(int(match[3]), int(match[1]), int(match[2]))
        if (match := _WRITTEN.fullmatch(text)) and match[2][:3] in _MONTHS:
            year, month, told = int(match[4]), _MONTHS.index(match[2][:3]) + 1, match[1] or match[3]
            return _whole_month(year, month) if told is None else _one(year, month, int(told))
    except ValueError:
        return None
    return None


def _one(year: int, month: int, day: int) -> tuple[date, date]:
    return date(year, month, day), date(year, month, day)


def _whole_month(year: int, month: int) -> tuple[date, date]:
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, 1), following - timedelta(days=1)
