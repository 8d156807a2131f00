"""`db backup`, `db restore`, `db forecast` as an operator runs them, with what is lost and what comes back."""

import json
import os
import shutil
import subprocess
import sys

from tests.jobs.test_commands import lines_of
from tests.jobs.test_serve import TOKEN, serving


def test_a_backup_is_restored_and_what_was_recorded_since_comes_back_from_the_archive(acme, text):
    (acme.folder / "one").write_text(lines_of(text("Hi", sender="employee"), text("YES", "10:05")))
    (acme.folder / "two").write_text(lines_of(text("STOP", "11:00")))
    taken, _, backed, _, _ = acme.run_all(
        ("ingest", "one"), ("sync",), ("db", "backup", "var/b", "--json"), ("ingest", "two"), ("sync",)
    )
    whole = acme.run("export", "--org", "acme", "-o", "-").out

    asked, planned, restored, after, shown = acme.run_all(
        ("db", "restore", "var/b"),
        ("db", "restore", "var/b", "--dry-run", "--json"),
        ("db", "restore", "var/b", "--yes", "--json"),
        ("export", "--org", "acme", "-o", "-"),
        ("consent", "show", "+14045550123", "--json"),
    )

    assert [one.code for one in (taken, backed)] == [0, 0]
    assert backed.json["ledgers"]["acme"] == 2 + len([e for one in taken.lines for e in one["entries"]])
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert planned.json["ledgers"]["acme"]["here"] > planned.json["ledgers"]["acme"]["there"]
    assert (restored.code, restored.json["ok"], list(restored.json["brought_back"])) == (0, True, ["acme"])
    assert after.out == whole
    assert [one["state"] for one in shown.json] == ["opted_out"]


def test_what_a_killed_backup_or_restore_left_beside_its_file_goes_with_the_next(acme):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder = acme.folder / "var"
    uses = ("part", "restoring", "restoring-wal")
    left = [folder / f".b.{pid}.{use}" for pid in (dead.pid, os.getpid()) for use in uses]
    for file in left:
        file.write_bytes(b"+14045550123")

    acme.run_all(("db", "backup", "var/b"), ("db", "restore", "var/b", "--yes"))

    assert [file.exists() for file in left] == [False] * 3 + [True] * 3


def test_nothing_is_taken_or_delivered_while_a_destination_holds_what_a_restored_database_does_not_know(acme, text):
    (acme.folder / "one").write_text(lines_of(text("Hi", sender="employee")))
    (acme.folder / "two").write_text(lines_of(text("STOP", "11:00")))
    acme.run_all(("ingest", "one"), ("sync",), ("db", "backup", "var/b"), ("ingest", "two"), ("sync",))
    shutil.move(acme.folder / "var/archive", acme.folder / "var/elsewhere")

    restored, taken, synced, status = acme.run_all(
        ("db", "restore", "var/b", "--yes", "--json"), ("ingest", "two"), ("sync",), ("status", "--json")
    )
    shutil.move(acme.folder / "var/elsewhere", acme.folder / "var/archive")
    compared, again = acme.run_all(("db", "restore", "--compare", "--json"), ("ingest", "two"))

    assert (restored.code, list(restored.json["unreachable"])) == (5, ["archive"])
    for one in (taken, synced):
        assert (one.code, "assent db restore --compare" in one.err) == (4, True)
    assert status.code == 0
    assert (compared.code, compared.json["ok"], again.code) == (0, True, 0)
    assert again.lines[0]["state"] == "opted_out"


def test_serve_stops_before_serving_where_the_database_was_replaced_by_an_older_file(acme, text):
    (acme.folder / "one").write_text(lines_of(text("Hi", sender="employee")))
    acme.run_all(("sync",), ("db", "backup", "var/b"), ("ingest", "one"), ("sync",))
    for suffix in ("", "-wal", "-shm"):
        (acme.folder / f"var/assent.db{suffix}").unlink(missing_ok=True)
    shutil.copyfile(acme.folder / "var/b", acme.folder / "var/assent.db")

    ended = acme.run("serve", "--port", "0", ASSENT_SERVER__TOKEN=TOKEN)
    compared = acme.run("db", "restore", "--compare", "--json")

    assert ended.code == 4
    assert "archive holds 3 entries that it doesn't know of, from acme-000000000002 on" in ended.err
    assert compared.json["brought_back"] == {"acme": 3}
    with serving(acme) as (running, _):
        assert running.poll() is None


def test_a_restore_waits_until_every_other_process_has_let_go(acme):
    acme.run("db", "backup", "var/b")

    with serving(acme, "--no-jobs"):
        ended = acme.run("db", "restore", "var/b", "--yes")

    assert (ended.code, "stop every `serve`" in ended.err) == (7, True)


def test_a_wrong_backup_says_what_to_do(acme):
    (acme.folder / "letter").write_text("Dear Sir")
    there, letter, nothing, both = acme.run_all(
        ("db", "backup", "settings.toml"), ("db", "restore", "letter", "--yes"), ("db", "restore"),
        ("db", "restore", "letter", "--compare"),
    )  # fmt: skip

    assert [one.code for one in (there, letter, nothing, both)] == [2, 2, 2, 2]
    assert "overwrites nothing" in there.err
    assert "no backup that can be read" in letter.err
    assert "--compare" in nothing.err


def test_a_forecast_is_measured(acme, text):
    (acme.folder / "texts").write_text("".join(json.dumps(text("Hi", contact=f"+1404555{n:04}")) + "\n"
                                               for n in range(200)))  # fmt: skip
    _, told = acme.run_all(("ingest", "texts"), ("db", "forecast", "--json"))

    found = told.json
    assert found["entries"] == 602
    assert 100 < found["bytes_per_entry"] == found["bytes"] / found["entries"]
    assert found["bytes_per_day"] == found["entries_per_day"] * found["bytes_per_entry"]
    assert found["days_left"] == found["free_bytes"] / found["bytes_per_day"]
