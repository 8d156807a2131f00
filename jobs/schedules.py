"""Schedules as settings write them: an interval, or a cron line in UTC."""

import re

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

_INTERVAL = re.compile(r"(\d{1,6})\s*([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def trigger_of(schedule: str) -> BaseTrigger:
    """Return when a schedule fires: an interval (`30s`, `10m`, `6h`, `1d`), or a cron line in UTC; ValueError."""
    seconds = interval_seconds(schedule)
    if seconds is not None:
        if not seconds:
            raise ValueError("an interval is at least 1s")
        return IntervalTrigger(seconds=seconds, timezone="UTC")
    if len(schedule.split()) != 5:
        raise ValueError("a schedule is an interval as 30s, 10m, 6h, 1d, or minute hour day month weekday")
    return CronTrigger.from_crontab(schedule, "UTC")


def interval_seconds(schedule: str) -> int | None:
    """Return the seconds of an interval, None for a cron line."""
    match = _INTERVAL.fullmatch(schedule.strip())
    return int(match[1]) * _UNITS[match[2]] if match else None
