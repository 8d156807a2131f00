"""An operator's day with an org: `sync`, `status`, `reconcile --repair` and `resync`, by their commands."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from consent.database import open_database
from sync.migrate import upgrade
from sync.resync_runs import restored
from tests.jobs.conftest import Place
from tests.salesforce.salesforce_world import OBJECT, fill, short_record

ENTRIES = 6_600  # a page of a resync, and some more


@pytest.fixture(scope="module")
def acme(empty_org, org_address, tmp_path_factory):
    """A folder with a ledger, and an org that holds all of it."""
    folder = tmp_path_factory.mktemp("acme")
    (folder / "settings.toml").write_text(
        f'[database]\nurl = "sqlite:///{folder}/assent.db"\n'
        '[destinations.salesforce]\nkind = "salesforce"\nenabled = true\nlanes = ["consent"]\n'
        f'login_url = "{org_address["url"]}"\nclient_id = "{org_address["client_id"]}"\n'
        f'username = "{org_address["username"]}"\nprivate_key_file = "{org_address["private_key_file"]}"\n'
        f'ca_bundle = "{org_address["ca_file"]}"\n'
    )
    database = open_database(f"sqlite:///{folder}/assent.db")
    upgrade(database)
    fill(database, ["Reply YES to talk"] * ENTRIES, make=short_record)
    database.dispose()
    place = Place(folder)
    assert place.run("sync").code == 0
    return place


def test_a_dry_run_says_what_a_resync_takes_of_todays_calls_and_the_status_what_is_used(acme, empty_org):
    empty_org.settings(quota_limit=1_000, quota_used=400, latency_seconds=0.1)

    status, dry = acme.run_all(("status", "--json"), ("resync", "--dry-run", "--json"))

    budget = status.json["destinations"][0]["budget"]
    assert budget["limit"] == 1_000
    assert 400 <= budget["used"] <= 410
    [would] = dry.json["destinations"]
    assert (would["matched"], would["calls"], would["error"]) == (ENTRIES, ENTRIES // 200, None)
    assert 500 <= would["calls_left"] <= 550  # less what is kept for others
    assert 0.2 <= would["seconds"] <= 5  # 33 calls, 8 at a time, of 0.1 seconds each


def test_a_resync_shows_on_a_terminal_how_far_and_how_fast_it_is_and_the_time_left(acme, empty_org):
    empty_org.settings(quota_limit=100_000, latency_seconds=0.05)

    shown = shown_on_a_terminal(acme, "resync", "--destination", "salesforce")

    assert re.search(r"salesforce.* 6,600 [1-9][\d,]*/s \d:\d\d:\d\d \d:\d\d:\d\d", shown)


def test_a_resync_killed_in_its_first_page_and_again_in_its_last_goes_on_and_brings_each_entry_once(acme, empty_org):
    org, brief, page = empty_org, {"ASSENT_DELIVERY__LEASE_SECONDS": "1"}, 6_400
    database = open_database(f"sqlite:///{acme.folder}/assent.db")
    org.reset(rows=True)  # the org lost all of it
    org.settings(latency_seconds=0.1)

    running = acme.start("resync", "--destination", "salesforce", **brief)
    run = killed_as_soon_as(running, lambda: org.counts()[OBJECT] >= 1_600)
    held_first = org.counts()[OBJECT]
    org.settings(latency_seconds=0.5)
    running = acme.start("resync", "--resume", run, **brief)
    again = killed_as_soon_as(running, lambda: noted(database, run) == page - 1)
    held_then = org.counts()[OBJECT]
    org.reset()
    resumed, reconciled, listed = acme.run_all(
        ("resync", "--resume", run, "--json"), ("reconcile", "--json"), ("resync", "--runs", "--json"), **brief
    )
    database.dispose()

    [done], [compared] = resumed.json["destinations"], reconciled.json["destinations"]
    assert again == run
    assert 1_600 <= held_first < page <= held_then <= ENTRIES
    # What was through isn't brought again, and what was there already isn't there twice.
    assert (resumed.code, done["taken"]) == (0, ENTRIES - page)
    assert len({row["Entry_Id__c"] for row in org.rows(OBJECT)}) == org.counts()[OBJECT] == ENTRIES
    assert (reconciled.code, compared["checked"], compared["missing"], compared["drifted"]) == (0, ENTRIES, 0, 0)
    assert [one["state"] for one in listed.lines if one["run"] == run] == ["done"]


def test_what_an_admin_broke_is_found_mended_where_it_may_be_and_the_rest_named(acme, empty_org):
    org = empty_org
    org.settings(latency_seconds=0)
    org.delete(OBJECT, "Entry_Id__c", "acme-000000000017")
    org.change(OBJECT, "Entry_Id__c", "acme-000000000400", Text__c="Reply NO")
    org.change(OBJECT, "Entry_Id__c", "acme-000000000401", Kind__c="review")

    found, repaired, again = acme.run_all(
        ("reconcile", "--destination", "salesforce", "--json"),
        ("reconcile", "--destination", "salesforce", "--repair", "--json"),
        ("reconcile", "--destination", "salesforce"),
    )

    [told], [mended] = found.json["destinations"], repaired.json["destinations"]
    assert (found.code, told["checked"], told["missing"], told["drifted"]) == (6, ENTRIES, 1, 2)
    assert (repaired.code, mended["repaired"], mended["left"]) == (6, 2, 1)
    assert (again.code, "acme-000000000401 is drifted" in again.out) == (6, True)
    texts = {row["Entry_Id__c"]: row["Text__c"] for row in org.rows(OBJECT)}
    assert (len(texts), set(texts.values())) == (ENTRIES, {"Reply YES to talk"})


def noted(database, run):
    """Return the position up to which a run is through."""
    with database.read() as tx:
        return restored(tx, run, "salesforce")[1][2]


def killed_as_soon_as(running, reached):
    """Kill a resync as soon as it came so far, and return the name of its run."""
    run = running.stderr.readline().split("run ")[1].split(";")[0]
    while not reached():
        assert running.poll() is None
        time.sleep(0.02)
    running.kill()
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    return run


def shown_on_a_terminal(place, *arguments):
    """Return what a command writes to a terminal until it ends, without colors."""
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [str(Path(sys.executable).parent / "assent"), *arguments], cwd=place.folder,
        env=place.environ(TERM="xterm", COLUMNS="160", LINES="40"), stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while some := os.read(ours, 65536):
            shown += some
    except OSError:  # the other end is closed: it ended
        pass
    os.close(ours)
    assert running.wait(20) == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
