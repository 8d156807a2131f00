"""`resync`, `reconcile --repair` and `refused` as an operator uses them, killed in the middle and twice at once too."""

import json
import os
import socket
from contextlib import closing

import pytest

from consent.canonical import parse_entry_id
from consent.database import open_database
from consent.ledger import read_entry
from jobs.build import host_actor
from sync.receipts import SetAside, set_aside
from sync.runs import list_runs, stop_run
from tests.jobs.test_commands import lines_of
from tests.jobs.test_serve import serving
from tests.sync.sync_world import wait_for

PORTAL = """
[destinations.portal]
kind = "portal"
url = "{url}/portal"
"""
SECRET = "whsec_" + "c2VjcmV0" * 8


@pytest.fixture
def delivered(acme, text):
    """The ids of what sixty texts of thirty contacts wrote, all of it in the archive."""
    told = [text("Hi", f"10:{n:02}", contact=f"+1404555{n:04}") for n in range(30)]
    told += [text("STOP", f"11:{n:02}", contact=f"+1404555{n:04}") for n in range(30)]
    (acme.folder / "texts").write_text(lines_of(*told))
    taken, synced = acme.run_all(("ingest", "texts"), ("sync",))
    assert (taken.code, synced.code) == (0, 0)
    return [one["entries"] for one in taken.lines]


def test_filters_choose_what_is_counted_and_what_is_brought(acme, delivered):
    one = delivered[5][0]
    counted = acme.run_all(
        ("resync", "--dry-run", "--json"),
        ("resync", "--dry-run", "--json", "--entry", one),
        ("resync", "--dry-run", "--json", "--contact", "+14045550005", "--org", "acme"),
        ("resync", "--dry-run", "--json", "--org", "acme"),
        ("resync", "--dry-run", "--json", "--since", "2100-01-01T00:00:00Z"),
        ("resync", "--dry-run", "--json", "--until", "2100-01-01T00:00:00Z", "--only", "missing"),
    )
    nobody = acme.run("resync", "--dry-run", "--contact", "garbage")
    before = acme.run("export", "--org", "system", "-o", "-").out
    brought, status = acme.run_all(("resync", "--contact", "+14045550005", "--json"), ("status", "--json"))

    sizes = {ledger["organization"]: ledger["size"] for ledger in status.json["ledgers"]}
    matched = [ended.json["destinations"][0]["matched"] for ended in counted]
    of_contact = len(delivered[5]) + len(delivered[35])
    assert matched == [sizes["acme"], 1, of_contact, sizes["acme"], 0, 0]
    assert [ended.json["destinations"][0]["calls"] for ended in counted[:3]] == [3, 1, 2]
    assert (nobody.code, nobody.out) == (2, "")
    assert "there is no conversation with this contact" in nobody.err
    assert before == ""
    [done] = brought.json["destinations"]
    assert (brought.code, done["matched"], done["taken"], done["stopped"]) == (0, of_contact, of_contact, False)


def test_a_budget_ends_a_run_that_goes_on_where_it_was(acme, delivered):
    first, listed, second = acme.run_all(
        ("resync", "--budget", "1", "--json"), ("resync", "--runs", "--json"), ("resync", "--budget", "9", "--runs")
    )
    [stopped] = first.json["destinations"]

    resumed = acme.run("resync", "--resume", stopped["run"], "--json")

    [done] = resumed.json["destinations"]
    assert (first.code, stopped["stopped"], stopped["calls"]) == (3, True, 1)
    assert [(one["run"], one["state"]) for one in listed.lines] == [(stopped["run"], "stopped")]
    assert (second.code, resumed.code, done["stopped"]) == (0, 0, False)
    assert stopped["matched"] + done["matched"] == 2 + sum(map(len, delivered))


def test_whatever_is_read_back_or_brought_again_stands_among_the_runs_with_what_it_came_to(acme, delivered):
    segment = acme.folder / "var/archive/acme/consent/000000000000.segment.jsonl"
    segment.rename(acme.folder / "elsewhere")
    acme.run_all(
        ("resync", "--dry-run"),  # changes nothing, and is no run
        ("reconcile",),
        ("reconcile", "--repair", "--org", "acme"),  # a damaged archive takes nothing
    )
    (acme.folder / "elsewhere").rename(segment)
    acme.run_all(
        ("resync", "--budget", "1"),
        ("destination", "pause", "archive", "--reason", "Migration"),
        ("resync",),  # brings nothing, and is none either
        ("reconcile",),
    )

    database = open_database(f"sqlite:///{acme.folder}/var/assent.db")
    with database.read() as tx:
        after, brought, failed, found = list_runs(tx)
    database.dispose()
    assert {one.actor for one in (after, brought, failed, found)} == {host_actor()}
    assert [one.work for one in (found, failed, brought, after)] == ["reconcile", "reconcile", "resync", "reconcile"]
    assert (found.state, found.told["counts"]["missing"] > 50, len(found.told["named"])) == ("done", True, 50)
    assert (failed.state, failed.organization, failed.asked) == ("failed", "acme", {"repair": True})
    assert "which the newest manifest lists, is missing" in failed.advice
    assert (brought.state, brought.told["calls"]) == ("stopped", 1)
    assert brought.told["total"] == 2 + sum(map(len, delivered))
    assert (after.state, after.told["differences"]) == ("done", 0)


def test_a_reconcile_that_is_stopped_in_the_middle_does_not_say_that_all_is_well(acme, delivered):
    segment = acme.folder / "var/archive/acme/consent/000000000000.segment.jsonl"
    held = segment.rename(acme.folder / "elsewhere")
    os.mkfifo(segment)  # reading it back takes until somebody writes
    database = open_database(f"sqlite:///{acme.folder}/var/assent.db")
    running = acme.start("reconcile", "--json")
    wait_for(lambda: [one for one in newest_runs(database) if one.state == "running"])
    with database.write() as tx:
        stop_run(tx, list_runs(tx)[0].id)
    asked_at = newest_runs(database)[0].told_at
    wait_for(lambda: newest_runs(database)[0].told_at > asked_at + 600_000)  # it has been told by then
    with segment.open("wb") as slow:
        slow.write(held.read_bytes())
        held.rename(segment)  # it is looked at again
    out, _ = running.communicate(timeout=60)
    ended = newest_runs(database)[0]
    database.dispose()

    [archive] = json.loads(out)["destinations"]
    assert (running.returncode, archive["stopped"], ended.state) == (3, True, "stopped")
    assert archive["checked"] < sum(map(len, delivered))


def newest_runs(database):
    with database.read() as tx:
        return list_runs(tx)


WRONG = [
    (("resync", "--entry", "acme-000000009999"), 2, "no entry"),
    (("resync", "--org", "nobody"), 2, "assent org list"),
    (("resync", "--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"), 2, "nothing lies between"),
    (("resync", "--resume", "abc"), 2, "--runs"),
    (("resync", "--budget", "0"), 2, "greater than"),
    (("refused", "retry", "acme-000000000002"), 2, "refused list"),
    (("refused", "retry", "--code", "NOPE"), 2, "refused list"),
    (("refused", "show", "acme-000000000002"), 2, "refused list"),
    (("refused", "discard", "--reason", " ", "--yes"), 2, "--reason is empty"),
    (("refused", "list", "--after", "acme-000000000002"), 2, "--after"),
    (("refused", "list", "--destination", "nope"), 2, "known are: archive"),
    (("refused", "list", "--org", "nobody"), 2, "assent org list"),
    (("refused", "retry", "--org", "nobody"), 2, "assent org list"),
    (("hold", "list", "--org", "nobody"), 2, "assent org list"),
    (("destination", "pause", "nowhere", "--reason", "x"), 2, "switched on are: archive"),
]


def test_a_wrong_call_says_what_to_do(acme, delivered):
    ended = acme.run_all(*(arguments for arguments, _, _ in WRONG))

    for (arguments, code, told), one in zip(WRONG, ended, strict=True):
        assert (one.code, one.out) == (code, ""), arguments
        assert told in one.err, arguments


def test_a_paused_destination_is_brought_nothing(acme, delivered):
    paused, listed, brought, resumed, again = acme.run_all(
        ("destination", "pause", "archive", "--reason", "Migration"),
        ("destination", "list", "--json"),
        ("resync", "--json"),
        ("destination", "resume", "archive", "--reason", "Done"),
        ("resync", "--json"),
    )

    assert (paused.code, resumed.code, again.code) == (0, 0, 0)
    assert [(one["name"], one["state"], one["reason"]) for one in listed.lines] == [("archive", "paused", "Migration")]
    assert (brought.code, "destination resume archive" in brought.json["destinations"][0]["error"]) == (5, True)


def test_a_missing_segment_is_found_and_brought_again(acme, delivered):
    segment = acme.folder / "var/archive/acme/consent/000000000000.segment.jsonl"
    before = acme.run("reconcile", "--json")
    segment.unlink()

    found, alone = acme.run_all(("reconcile", "--json"), ("status", "--json"))

    assert (before.code, before.json["destinations"][0]["missing"]) == (0, 0)
    assert (found.code, found.json["destinations"][0]["missing"] > 0) == (6, True)
    assert alone.code == 0


def test_two_at_once_are_refused_and_a_killed_one_goes_on(acme, delivered):
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:  # takes connections and never answers
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        settings = acme.folder / "settings.toml"
        plain = settings.read_text()
        with serving(acme, "--no-jobs", ASSENT_SERVER__PORTAL_SECRET=SECRET) as (_, portal):
            there = {"ASSENT_DESTINATIONS__PORTAL__SECRET": SECRET, "ASSENT_DELIVERY__LEASE_SECONDS": "2"}
            settings.write_text(plain + PORTAL.format(url=portal))
            assert acme.run("sync", **there).code == 0
            settings.write_text(plain + PORTAL.format(url=url))
            running = acme.start("resync", "--destination", "portal", **there)
            line = running.stderr.readline()
            second = acme.run("resync", "--destination", "portal", "--json", **there)
            running.kill()
            running.communicate()
            settings.write_text(plain + PORTAL.format(url=portal))
            run = line.split("run ")[1].split(";")[0]
            resumed = acme.run("resync", "--resume", run, "--json", **there)

    assert (second.code, "already" in second.err or "is running" in second.err) == (7, True)
    database = open_database(f"sqlite:///{acme.folder}/var/assent.db")
    with database.read() as tx:
        _, told, _ = list_runs(tx)
    database.dispose()
    waits = "another resync or repair of this destination is running: wait for it"
    assert (told.state, told.advice) == ("stopped", waits)
    [done] = resumed.json["destinations"]
    assert (resumed.code, done["destination"], done["taken"]) == (0, "portal", 2 + sum(map(len, delivered)))


def test_dead_letters_are_listed_by_cause_and_retried_or_discarded_by_cause_id_or_all(acme, delivered):
    database = open_database(f"sqlite:///{acme.folder}/var/assent.db")
    ids = [entries[0] for entries in delivered[:6]]
    with database.write() as tx:
        for n, one in enumerate(ids):
            entry = read_entry(tx, *parse_entry_id(one))
            code = "STRING_TOO_LONG" if n < 4 else "REQUIRED_FIELD_MISSING"
            key = (entry.organization, "archive", entry.lane, entry.pos, entry.seq)
            set_aside(tx, [SetAside(*key, "refused", 1, 0, 1_000_000 * n, code, "Shorten it.")])
    database.dispose()

    elsewhere = acme.run("refused", "retry", ids[4], ASSENT_DESTINATIONS__ARCHIVE__ORGANIZATIONS="system")
    causes, page, rest, shown, asked, retried, one, discarded, left = acme.run_all(
        ("refused", "list", "--by-cause", "--json"),
        ("refused", "list", "--limit", "4", "--json"),
        ("refused", "list", "--after", f"{ids[3]}@archive", "--json"),
        ("refused", "show", ids[0], "--json"),
        ("refused", "discard", "--reason", "x"),
        ("refused", "retry", "--code", "STRING_TOO_LONG", "--json"),
        ("refused", "retry", ids[4], "--json"),
        ("refused", "discard", "--code", "REQUIRED_FIELD_MISSING", "--reason", "closed by legal", "--yes", "--json"),
        ("refused", "list", "--json"),
    )

    assert (elsewhere.code, "takes no more" in elsewhere.err, elsewhere.out) == (2, True, "")
    assert [(row["destination"], row["code"], row["entries"]) for row in causes.lines] == [
        ("archive", "STRING_TOO_LONG", 4), ("archive", "REQUIRED_FIELD_MISSING", 2),
    ]  # fmt: skip
    assert [row["entry"] for row in page.lines] == ids[:4]
    assert [row["entry"] for row in rest.lines] == ids[4:]
    assert shown.lines[0]["code"] == "STRING_TOO_LONG"
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert (retried.code, retried.json["destinations"][0]["taken"]) == (0, 4)
    assert (one.code, one.json["destinations"][0]["taken"]) == (0, 1)
    assert discarded.json == {"discarded": 1}
    assert left.out == ""
