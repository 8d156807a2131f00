"""Jobs come back as the settings say: never twice at once, late rather than never, and seen when they hang."""

import asyncio
import threading
import time

import pytest
import requests
from structlog.testing import capture_logs

from consent.database import open_database
from jobs.api.health import health_routes
from jobs.scheduler import Job, Jobs, alone
from jobs.schedules import trigger_of
from jobs.settings import SettingsError, load_settings
from sync.migrate import require
from tests.jobs.test_serve import TOKEN, lines_until, serving
from tests.sync.sync_world import wait_for

AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def start(database):
    """Run jobs, ended at the end of the test."""
    started = []

    def begin(*jobs, on=database):
        started.append(Jobs(on, jobs))
        return started[-1]

    yield begin
    for runs in started:
        runs.end(10)


class Work:
    """Work that waits for its gate, and counts."""

    def __init__(self):
        self.gate, self.began, self.at_once, self.most_at_once = threading.Event(), 0, 0, 0
        self._lock = threading.Lock()

    def __call__(self, stop):
        with self._lock:
            self.began += 1
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        self.gate.wait(20)
        with self._lock:
            self.at_once -= 1


def test_a_tick_that_comes_while_a_run_is_at_work_is_made_up_for_once(start):
    work = Work()
    runs = start(Job("count", "1s", work, most_seconds=0.5))

    wait_for(lambda: work.began == 1)
    time.sleep(2.5)  # two ticks and more go by
    held_up = runs.stalled()
    work.gate.set()
    wait_for(lambda: runs.told()["count"].succeeded >= 2)

    assert held_up == ["count"]
    assert work.most_at_once == 1
    assert work.began <= 4
    assert runs.stalled() == []


def test_of_several_processes_one_at_a_time_does_a_job_and_none_again_what_was_just_done(start, database, database_url):
    work, other = Work(), open_database(database_url)
    job = Job("reconcile", "0 3 1 1 *", work)
    first, second = start(job), start(job, on=other)

    first.wake("reconcile")
    wait_for(lambda: work.began == 1)
    second.wake("reconcile")
    with alone(database, "reconcile") as lost:
        assert lost is None
    work.gate.set()
    wait_for(lambda: first.told()["reconcile"].succeeded == 1)
    second.wake("reconcile")
    wait_for(lambda: second.told()["reconcile"].busy_seconds == 0.0)

    assert work.began == 1
    assert second.told()["reconcile"].succeeded == 0
    second.end(10)
    other.dispose()


def test_a_job_that_fails_is_counted_and_runs_again(start):
    failures = iter([RuntimeError("once"), None])

    def work(_stop):
        if (error := next(failures)) is not None:
            raise error

    runs = start(Job("shaky", "", work))
    runs.wake("shaky")
    wait_for(lambda: runs.told()["shaky"].failed == 1)
    runs.wake("shaky")
    wait_for(lambda: runs.told()["shaky"].succeeded == 1)

    assert runs.told()["shaky"].succeeded_at == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize("schedule", ["often", "0s", "61 * * * *", "* * * *", "5 minutes"])
def test_a_schedule_that_never_comes_is_told_with_its_key(schedule, tmp_path):
    with pytest.raises(ValueError, match=r"interval|schedule|value|range"):
        trigger_of(schedule)
    with pytest.raises(SettingsError, match=r"jobs\.reconcile"):
        load_settings(None, {"ASSENT_JOBS__RECONCILE": schedule})


def test_jobs_alone_deliver_and_say_how_they_are(acme, text):
    with serving(acme, "--no-jobs") as (_, api):
        answer = requests.post(f"{api}/v1/messages", json=text("STOP"), headers=AUTHORIZED, timeout=20)
        assert answer.status_code == 200
        jobs = acme.start(
            "serve", "--jobs-only", ASSENT_JOBS__HEALTH_PORT="0", ASSENT_JOBS__HOUSEKEEPING="1s",
            ASSENT_SERVER__TOKEN=TOKEN,
        )  # fmt: skip
        try:
            health = lines_until(jobs, "jobs.started")["url"]

            def metrics():
                return requests.get(f"{health}/metrics", headers=AUTHORIZED, timeout=20).text

            wait_for(lambda: 'assent_owed_entries{destination="archive",lane="consent"} 0.0' in metrics())
            wait_for(lambda: 'assent_job_runs_total{job="housekeeping",result="succeeded"} 0.0' not in metrics())
            told = metrics()
            ready = requests.get(f"{health}/readyz", timeout=20)
            others = requests.get(f"{health}/v1/entries", headers=AUTHORIZED, timeout=20)
            nobody = requests.get(f"{health}/metrics", timeout=20)
        finally:
            jobs.kill()
            jobs.communicate()

    assert ready.status_code == 200
    assert (others.status_code, nobody.status_code) == (404, 401)
    assert 'assent_pushed_entries_total{answer="taken",destination="archive"}' in told
    assert 'assent_job_stalled{job="scheduler"} 0.0' in told
    assert "acme" not in told
    assert "+1404" not in told


def test_a_database_that_is_away_is_warned_of_when_it_goes_and_when_it_is_back_however_often_it_is_asked(
    postgres, postgres_template, open_databases
):
    postgres.run(f"CREATE DATABASE going_away TEMPLATE {postgres_template} STRATEGY file_copy")
    away = open_databases(postgres.url("going_away"))
    _, ready = health_routes(away, lambda: False)

    with capture_logs() as events:
        runs = Jobs(away, [Job("look", "1s", lambda _: require(away))])
        wait_for(lambda: runs.told()["look"].succeeded)
        postgres.run("ALTER DATABASE going_away ALLOW_CONNECTIONS false")
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'going_away'")
        wait_for(lambda: runs.told()["look"].failed >= 2)
        answers = [asyncio.run(ready.endpoint(None)).status_code for _ in range(3)]
        postgres.run("ALTER DATABASE going_away ALLOW_CONNECTIONS true")
        succeeded = runs.told()["look"].succeeded
        wait_for(lambda: runs.told()["look"].succeeded > succeeded)
        answers.append(asyncio.run(ready.endpoint(None)).status_code)
        runs.end(10)

    told = [event["event"] for event in events]
    assert answers == [503, 503, 503, 200]
    for part in ("job", "readiness"):
        assert [one for one in told if one.startswith(f"{part}.")] == [f"{part}.database_away", f"{part}.database_back"]
