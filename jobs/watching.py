"""What [alerts] tells people of: looked for, kept as alarms, told once when it starts and once when it is over."""

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import structlog
from sqlalchemy import Connection

from consent.canonical import timestamp
from consent.database import Database, among, run
from consent.kinds import Lane
from consent.ledger import read_lane
from consent.reviews import backlogs
from jobs.alerting import Channel, channels_of
from jobs.build import Parts
from jobs.certificates import certificates_of
from jobs.disks import disks_of
from jobs.scheduler import alone
from sync import alarms, findings
from sync.alarms import Trouble
from sync.budgets import ask_budgets, budget_of
from sync.clock import database_now
from sync.destinations import Destination, State, standings
from sync.owed import owed_everywhere

log = structlog.get_logger()

_DAY = 86_400_000_000
_DAY_SECONDS = 86_400.0
#: What asks others is asked so often at most, seconds: a budget costs a call, a certificate a connection.
_ASK_BUDGETS, _ASK_CERTIFICATES = 900.0, 6 * 3600.0
_PATIENCE = 10.0
#: Alarms that ended longer ago than this are told to nobody any more: a channel was away all the time.
_TELL_DAYS = 7

#: Of each look: the alarm's kind, what is wrong, and what to do; `{0}` is what was looked at.
_DIFFERS = {
    findings.RECONCILE: (
        "drift",
        "what {0} holds differs from what was delivered there",
        (
            "run `assent reconcile --destination {0}` to see which, and `--repair` to bring them again; what is "
            "`extra` or `duplicate` there, a person must look at"
        ),
    ),
    findings.VERIFY: (
        "tamper",
        "{0} isn't as it was written",
        "run `assent verify --ledger`; keep the database as it is, and find out who changed it before anything else",
    ),
    findings.RESTORE: (
        "restore",
        "the {0} is a backup's and wasn't compared with the destinations",
        "run `assent db restore --compare`: nothing is taken or delivered until it ends 0",
    ),
    findings.STATEMENT: (
        "statement",
        "{0} can't be told how far it is",
        "mend what is named there: until then nobody sees in {0} whether it holds all. Entries go on arriving",
    ),
}


class Watch:
    """Looks for trouble and tells people; one process at a time does it."""

    def __init__(self, parts: Parts, stalled: Callable[[], Sequence[str]]) -> None:
        self._parts, self._stalled = parts, stalled
        self._channels = channels_of(parts.settings.alerts)
        self._asked_budgets = self._asked_certificates = float("-inf")
        self._certificates: list[Trouble] = []
        #: Channels that couldn't be told the last time.
        self._away: frozenset[str] = frozenset()

    def look(self, _stop: threading.Event) -> None:
        """Look once, and tell what is new."""
        self._ask()
        quiet = int(self._parts.settings.alerts.clear_seconds * 1_000_000)
        database = self._parts.database
        with database.write() as tx:
            # What only this process can see, and only this process or its host can say to be over.
            now, host = database_now(tx), _host()
            alarms.note_troubles(tx, list(self._of_disks()), now, quiet, place=host)
            alarms.note_troubles(tx, list(self._of_jobs()), now, quiet, place=f"{host}-{os.getpid()}")
        with alone(database, "watch") as lost:
            if lost is not None:
                self._look_at_all(quiet)
                self._away = tell_all(database, self._channels, self._away)

    def _look_at_all(self, quiet: int) -> None:
        database, settings = self._parts.database, self._parts.settings.alerts
        troubles = [*self._of_budgets(), *self._certificates]
        with database.read() as tx:
            troubles += _of_database(tx, self._parts.destinations, settings.consent_seconds)
        with database.write() as tx:
            alarms.note_troubles(tx, troubles, database_now(tx), quiet)

    def _ask(self) -> None:
        if time.monotonic() - self._asked_budgets > _ASK_BUDGETS:
            ask_budgets(self._parts.destinations, _PATIENCE)
            self._asked_budgets = time.monotonic()
        if time.monotonic() - self._asked_certificates > _ASK_CERTIFICATES:
            self._certificates = list(_of_certificates(self._parts))
            self._asked_certificates = time.monotonic()

    def _of_disks(self) -> Iterator[Trouble]:
        for disk in disks_of(self._parts.places()):
            if disk.free_percent < self._parts.settings.alerts.disk_free_percent:
                yield Trouble(
                    "disk", disk.name,
                    f"the disk of {disk.name} on {_host()} has {disk.free_percent:.1f} % left",
                    "free some space or enlarge it; `assent db forecast` says how long it lasts. A full disk refuses "
                    "texts, and loses none that was answered",
                    {"free_bytes": disk.free, "size_bytes": disk.size},
                )  # fmt: skip

    def _of_jobs(self) -> Iterator[Trouble]:
        for name in self._stalled():
            yield Trouble(
                "stalled", name, f"{name} gives no sign of life on {_host()}, process {os.getpid()}",
                "look at its last log lines there, then start that process anew: nothing is lost by it",
            )  # fmt: skip

    def _of_budgets(self) -> Iterator[Trouble]:
        for destination in self._parts.destinations:
            budget = budget_of(destination)
            if budget is not None and budget.used >= budget.limit * self._parts.settings.alerts.quota_percent / 100:
                yield Trouble(
                    "quota", destination.name,
                    f"{budget.used:,} of today's {budget.limit:,} API calls of {destination.name} are used",
                    "find out who else uses them (in Salesforce: Setup, Company Information), buy more, or wait until "
                    "tomorrow: what is owed stays owed",
                    {"used": budget.used, "limit": budget.limit},
                )  # fmt: skip


def _host() -> str:
    return socket.gethostname()[:40]


def tell_all(database: Database, channels: Sequence[Channel], known_away: Collection[str] = ()) -> frozenset[str]:
    """Tell each channel what it wasn't told yet, and return which are away: those are told the next time.

    One that is `known_away` is warned of no more.
    """
    by_name = {channel.name: channel for channel in channels}
    with database.read() as tx:
        waiting = alarms.to_tell(tx, list(by_name), database_now(tx) - _TELL_DAYS * _DAY)
    away: set[str] = set()
    for alarm, left in waiting:
        for name, end in left:
            if name in away:
                continue
            try:
                by_name[name].tell(alarm, end=end)
            except OSError as error:
                away.add(name)
                if name not in known_away:
                    log.warning("alarm.not_told", channel=name, error=type(error).__name__)
                continue
            except Exception:  # a fault of ours in one of them keeps nobody from being told of the others
                log.exception("alarm.failed", channel=name, kind=alarm.kind)
                continue
            with database.write() as tx:
                alarms.note_told(tx, alarm.id, name, end=end)
            log.info("alarm.told", channel=name, kind=alarm.kind, subject=alarm.subject, end=end)
    return frozenset(away)


def _of_database(tx: Connection, destinations: Sequence[Destination], consent_seconds: float) -> list[Trouble]:
    """Return what the database says; every process sees the same."""
    return [
        *_suspended(tx), *_late(tx, destinations, consent_seconds), *_refused(tx, destinations),
        *_differing(tx, destinations), *_overdue(tx),
    ]  # fmt: skip


def _suspended(tx: Connection) -> Iterator[Trouble]:
    for one in standings(tx):
        if one.state is State.SUSPENDED:
            yield Trouble(
                "suspended", one.name, f"{one.name} is suspended: {one.code}",
                f"{one.advice} What it is owed stays owed; then run `assent sync --destination {one.name}`",
                {"code": one.code},
            )  # fmt: skip


def _late(tx: Connection, destinations: Sequence[Destination], most: float) -> Iterator[Trouble]:
    """Yield the destinations where a decision is late: behind the cursor, or set aside."""
    now = database_now(tx)
    for destination in destinations:
        if Lane.CONSENT not in destination.lanes:
            continue
        taken, ledgers = destination.only_taken(tx, "organization")
        oldest = run(
            tx,
            f"""SELECT min(since) FROM set_aside
            WHERE destination = ? AND lane = 'consent' AND state = 'waiting' AND {taken}""",
            [destination.name, *ledgers],
        ).scalar()
        for share in owed_everywhere(tx, destination):
            cursor, size = share.lanes[Lane.CONSENT]
            if cursor < size:
                recorded_at = read_lane(tx, share.organization, Lane.CONSENT, cursor, 1)[0].recorded_at
                oldest = recorded_at if oldest is None else min(oldest, recorded_at)
        if oldest is not None and now - oldest > most * 1_000_000:
            yield Trouble(
                "late", destination.name,
                f"a decision has been waiting for {destination.name} since {timestamp(oldest)[:19]}Z",
                "`assent status` says why; a STOP is in force here, and must get there",
                {"seconds": round((now - oldest) / 1_000_000)},
            )  # fmt: skip


def _refused(tx: Connection, destinations: Sequence[Destination]) -> Iterator[Trouble]:
    for destination in destinations:
        taken, ledgers = destination.only_taken(tx, "organization")
        lane, lanes = among(tx, "lane", [lane.value for lane in destination.lanes])
        sql = f"""SELECT code, count(*) AS entries FROM set_aside
        WHERE destination = ? AND state = 'refused' AND {taken} AND {lane} GROUP BY code"""
        codes = {row.code: int(row.entries) for row in run(tx, sql, [destination.name, *ledgers, *lanes])}
        if tampered := codes.pop("tamper", 0):
            yield Trouble(
                "tamper", destination.name, f"{destination.name} holds another content under {tampered:,} entries",
                "run `assent verify --archive`; find out which of the two is true before anything else is done",
                {"entries": tampered},
            )  # fmt: skip
        if codes:
            yield Trouble(
                "refused", destination.name, f"{destination.name} refused {sum(codes.values()):,} entries",
                "`assent refused list --by-cause` says why and what to do; then `assent refused retry`",
                {"entries": sum(codes.values()), "codes": codes},
            )  # fmt: skip


def _differing(tx: Connection, destinations: Sequence[Destination]) -> Iterator[Trouble]:
    # One alarm for all ledgers of a destination: what is wrong there is mostly wrong for each of them.
    together: dict[tuple[str, str], list[findings.Found]] = {}
    for one in findings.findings(tx, destinations):
        if one.differing:
            subject = findings.destination_of(one.subject) if one.look == findings.STATEMENT else one.subject
            together.setdefault((one.look, subject), []).append(one)
    for (look, subject), found in together.items():
        kind, wrong, advice = _DIFFERS[look]
        what = wrong.format(subject) + (f": {found[0].told}" if found[0].told else "")
        yield Trouble(
            kind, subject, what, advice.format(subject), {"differing": sum(one.differing for one in found)}
        )  # fmt: skip


def _overdue(tx: Connection) -> Iterator[Trouble]:
    for one in backlogs(tx, database_now(tx)):
        if one.overdue:
            yield Trouble(
                "review", one.organization, f"{one.overdue:,} reviews of {one.organization} are overdue",
                f"close them: `assent review list --org {one.organization}`; a possible revocation must be honored "
                "within ten business days (47 CFR 64.1200(a)(10))",
                {"overdue": one.overdue, "open": one.open},
            )  # fmt: skip


def _of_certificates(parts: Parts) -> Iterator[Trouble]:
    for one in certificates_of(parts.settings, _PATIENCE):
        days = one.days_left(time.time())
        if days is not None and days < parts.settings.alerts.certificate_days:
            left = f"expires in {days:.0f} days" if days > 0 else "has expired"
            yield Trouble(
                "certificate", one.subject, f"the certificate of {one.subject} {left}",
                "have it renewed; deliveries stop when it has expired",
                {"days": round(days, 1)},
            )  # fmt: skip
