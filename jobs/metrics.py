"""`/metrics`: what Prometheus reads. What concerns everybody is read from the database, the rest is this process's own.

Units stand in the names. Labels are names of the settings, lanes and words of closed lists: no organization, and
nothing personal.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy.exc import SQLAlchemyError

from consent.database import DatabaseError
from jobs.build import Parts
from jobs.disks import disks_of
from jobs.logs import DatabaseOutage
from jobs.scheduler import Jobs
from sync import alarms, findings
from sync.status import lanes_of, status

Metrics = Callable[[], bytes]

#: A database that is asked by several Prometheus servers at once is read once in this time, seconds.
_FRESH = 2.0


def metrics_of(parts: Parts, runs: Jobs | None) -> Metrics:
    """Return what answers `/metrics`; `runs` are the scheduled jobs, where this process has any."""
    registry = CollectorRegistry()
    registry.register(_Kept(parts))
    if runs is not None:
        registry.register(_OfJobs(runs))

    def told() -> bytes:
        # The default registry holds what `sync.measures` counts, and what the library says of the process.
        return generate_latest(REGISTRY) + generate_latest(registry)

    return told


class _Kept:
    """What the database says: every process of an installation says the same of it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._read_at, self._read = float("-inf"), list[Metric]()
        self._outage = DatabaseOutage("metrics")

    def collect(self) -> Iterable[Metric]:
        if time.monotonic() - self._read_at > _FRESH:
            self._read = self._families()
            self._read_at = time.monotonic()
        return self._read

    def describe(self) -> Iterable[Metric]:
        return []  # else it would be asked at once, before anybody is

    def _families(self) -> list[Metric]:
        up = GaugeMetricFamily("assent_database_up", "1 while the database can be read.", value=1)
        try:
            found = [up, *_of_destinations(self._parts), *_of_ledgers(self._parts), *_of_disks(self._parts)]
        except (SQLAlchemyError, DatabaseError) as error:
            self._outage.met(error)
            return [GaugeMetricFamily("assent_database_up", "1 while the database can be read.", value=0)]
        self._outage.over()
        return found


def _of_destinations(parts: Parts) -> list[Metric]:
    by_destination = {
        name: GaugeMetricFamily(f"assent_{name}", words, labels=["destination"])
        for name, words in {
            "delivered_entries": "Entries that it holds, by its receipts.",
            "set_aside_entries": "Entries that failed alone and wait for their next attempt.",
            "refused_entries": "Dead letters: entries that wait for a person.",
            "destination_suspended": "1 while it refuses us and waits for a person or an hour.",
            "destination_paused": "1 while a person has paused it.",
            "destination_away": "1 while it is away for some ledger.",
            "api_calls_used": "Calls of its API that were used today.",
            "api_calls_limit": "Calls of its API that may be used today.",
        }.items()
    }
    owed = GaugeMetricFamily("assent_owed_entries", "Entries behind the cursor.", labels=["destination", "lane"])
    oldest = GaugeMetricFamily(
        "assent_oldest_owed_seconds", "How long the oldest owed entry has been recorded; 0 where none is owed.",
        labels=["destination", "lane"],
    )  # fmt: skip
    for row in status(parts.database, parts.destinations)["destinations"]:
        name, state = [row["name"]], row["state"]
        for told in ("delivered", "set_aside", "refused"):
            by_destination[f"{told}_entries"].add_metric(name, row[told])
        by_destination["destination_suspended"].add_metric(name, state == "suspended")
        by_destination["destination_paused"].add_metric(name, state == "paused")
        by_destination["destination_away"].add_metric(name, state == "retrying")
        if (budget := row["budget"]) is not None:
            by_destination["api_calls_used"].add_metric(name, budget["used"])
            by_destination["api_calls_limit"].add_metric(name, budget["limit"])
    for destination, lane, behind, seconds in lanes_of(parts.database, parts.destinations):
        owed.add_metric([destination, lane], behind)
        oldest.add_metric([destination, lane], seconds)
    return [*by_destination.values(), owed, oldest]


def _of_ledgers(parts: Parts) -> list[Metric]:
    with parts.database.read() as tx:
        opened, looks = alarms.open_alarms(tx), findings.findings(tx, parts.destinations)
    open_ = GaugeMetricFamily("assent_alarms_open", "Troubles that people were told of.", labels=["kind"])
    for kind in sorted({one.kind for one in opened}):
        open_.add_metric([kind], sum(one.kind == kind for one in opened))
    # Of ledgers together: there may be thousands, and their names are the customers'.
    differing = GaugeMetricFamily(
        "assent_differing_entries", "What the last look found to differ.", labels=["look"]
    )  # fmt: skip
    looked = GaugeMetricFamily(
        "assent_looked_timestamp_seconds", "When the oldest of the last looks was.", labels=["look"]
    )  # fmt: skip
    for look in sorted({one.look for one in looks}):
        of_look = [one for one in looks if one.look == look]
        differing.add_metric([look], sum(one.differing for one in of_look))
        looked.add_metric([look], min(one.found_at for one in of_look) / 1_000_000)
    return [open_, differing, looked]


def _of_disks(parts: Parts) -> list[Metric]:
    free = GaugeMetricFamily("assent_disk_free_bytes", "What is free on a disk of ours.", labels=["disk"])
    size = GaugeMetricFamily("assent_disk_size_bytes", "How large a disk of ours is.", labels=["disk"])
    for disk in disks_of(parts.places()):
        free.add_metric([disk.name], disk.free)
        size.add_metric([disk.name], disk.size)
    return [free, size]


class _OfJobs:
    """How the scheduled jobs of this process run."""

    def __init__(self, runs: Jobs) -> None:
        self._runs = runs

    def collect(self) -> Iterable[Metric]:
        succeeded = GaugeMetricFamily(
            "assent_job_success_timestamp_seconds", "When a job's last run here ended well; 0 where none did.",
            labels=["job"],
        )  # fmt: skip
        seconds = GaugeMetricFamily("assent_job_seconds", "What a job's last run here took.", labels=["job"])
        busy = GaugeMetricFamily("assent_job_busy_seconds", "How long the run at work has been.", labels=["job"])
        ended = CounterMetricFamily("assent_job_runs", "Runs that ended here.", labels=["job", "result"])
        stalled = GaugeMetricFamily("assent_job_stalled", "1 for a job that gives no sign of life.", labels=["job"])
        quiet: Any = set(self._runs.stalled())
        for name, told in self._runs.told().items():
            succeeded.add_metric([name], told.succeeded_at)
            seconds.add_metric([name], told.seconds)
            busy.add_metric([name], told.busy_seconds)
            ended.add_metric([name, "succeeded"], told.succeeded)
            ended.add_metric([name, "failed"], told.failed)
            stalled.add_metric([name], name in quiet)
        stalled.add_metric(["scheduler"], "scheduler" in quiet)
        return [succeeded, seconds, busy, ended, stalled]

    def describe(self) -> Iterable[Metric]:
        return []
