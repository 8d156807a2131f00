"""`status --watch`, `doctor` and `alert` say what is seen, and what to do."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import requests

from connectors.salesforce.standin.certificates import make_server_certificate
from tests.jobs.test_commands import lines_of
from tests.jobs.test_serve import TOKEN, serving


def test_a_whole_installation_is_found_well(acme):
    (acme.folder / "var/assent.db").chmod(0o600)
    acme.run("sync")

    ended = acme.run("doctor", "--json")

    subjects = {one["subject"] for one in ended.json["findings"]}
    assert (ended.code, ended.json["ok"]) == (0, True)
    assert subjects >= {"schema", "sqlite journal_mode", "clock of the database", "disk of database"}
    assert any(one.startswith("archive") for one in subjects)


def test_each_fault_is_told_with_its_fix(acme):
    (acme.folder / "token").write_text("a-token-of-enough-letters")
    (acme.folder / "token").chmod(0o644)
    (acme.folder / "var/assent.db").chmod(0o644)
    certificates = acme.folder / "tls"
    certificates.mkdir()
    make_server_certificate(certificates)
    acme.run("sync")
    shutil.rmtree(acme.folder / "var/archive")

    ended = acme.run(
        "doctor", "--json", ASSENT_SERVER__TOKEN_FILE="token", ASSENT_ALERTS__DISK_FREE_PERCENT="100",
        ASSENT_ALERTS__CERTIFICATE_DAYS="36500", ASSENT_DESTINATIONS__ARCHIVE__CA_BUNDLE="tls/ca.pem",
    )  # fmt: skip

    wrong = {one["subject"]: one["advice"] for one in ended.json["findings"] if not one["ok"]}
    assert ended.code == 4
    assert wrong["rights on server.token_file"].startswith("chmod 600 ")
    assert wrong["rights on the database"].startswith("chmod 600 ")
    assert "db forecast" in wrong["disk of database"]
    assert "renewed" in wrong["certificate of archive (ca.pem)"]
    assert any(one.startswith("archive") and advice for one, advice in wrong.items())


def test_a_database_that_cannot_be_used_is_told_and_the_rest_is_looked_at(place):
    (place.folder / "var/assent.db").write_bytes(b"Dear Sir, " * 1000)

    ended = place.run("doctor", "--json")

    wrong = [one["advice"] for one in ended.json["findings"] if not one["ok"]]
    assert ended.code == 4
    assert any("no SQLite database" in advice for advice in wrong)
    assert any(one["subject"] == "disk of database" for one in ended.json["findings"])


def test_status_is_watched_until_it_is_interrupted(acme, text):
    (acme.folder / "texts").write_text(lines_of(text("STOP")))
    watching = acme.start("status", "--watch", "--interval", "0.2", "--json")
    first = json.loads(watching.stdout.readline())
    acme.run("ingest", "texts")

    while (seen := json.loads(watching.stdout.readline()))["destinations"][0]["owed"] == 2:
        pass
    watching.send_signal(2)
    watching.communicate()

    assert first["destinations"][0]["owed"] == 2
    assert seen["destinations"][0]["owed"] == 2 + 4
    assert watching.returncode == 130


def test_status_is_watched_on_a_terminal(acme):
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).parent / "assent"), "status", "--watch", "--interval", "0.2"]
    watching = subprocess.Popen(
        command, cwd=acme.folder, env=acme.environ(TERM="xterm", COLUMNS="120", LINES="40"), stdin=theirs,
        stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while shown.count(b"DESTINATION") < 2:
        shown += os.read(ours, 65536)
    watching.send_signal(2)
    watching.wait(20)
    os.close(ours)

    assert b"archive" in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown)
    assert watching.returncode == 130


def test_a_channel_is_tried_before_it_is_needed(acme):
    none, away, listed = acme.run_all(
        ("alert", "test", "--json"), ("alert", "list", "--json"), ("alert", "list", "--all")
    )
    tried = acme.run(
        "alert", "test", "--json", ASSENT_ALERTS__WEBHOOK_URL="http://127.0.0.1:9/",
        ASSENT_ALERTS__WEBHOOK_SECRET="whsec_" + "c2VjcmV0" * 8,
    )  # fmt: skip

    assert (none.code, none.out, "[alerts]" in none.err) == (0, "", True)
    assert (away.out, listed.out) == ("", "No trouble.\n")
    assert (tried.code, tried.lines[0]["ok"]) == (5, False)


def test_a_process_that_takes_texts_answers_prometheus_too(acme):
    with serving(acme) as (_, url):
        told = requests.get(f"{url}/metrics", headers={"authorization": f"Bearer {TOKEN}"}, timeout=20)

    assert told.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "assent_database_up 1.0" in told.text
