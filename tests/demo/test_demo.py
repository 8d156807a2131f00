"""`assent demo` as a new user runs it: in a process of its own, in an empty folder, more than once."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.salesforce.standin.control import Control
from jobs.build import assembled
from jobs.demo.checks import check_all
from jobs.demo.conversations import ORGANIZATIONS, read_conversations, split
from jobs.demo.programs import Portal, StandIn
from sync.syncing import sync_now

ASSENT = Path(sys.executable).with_name("assent")
DESTINATIONS = ["salesforce", "archive", "portal"]
PATIENCE = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory in which nobody has a home, and which is not the project's."""
    return tmp_path_factory.mktemp("somewhere")


@pytest.fixture(scope="module")
def first_run(place):
    return demo(place)


@pytest.fixture(scope="module")
def second_run(place, first_run):
    """In the same folder, with what a real installation might have set in its environment."""
    return demo(place, "--json", ASSENT_DATABASE__URL="sqlite:////nowhere/at/all.db", ASSENT_NONSENSE="1")


def test_the_demo_brings_everything_everywhere_and_ends_well(first_run):
    lines = first_run.stdout.splitlines()
    rows = [line.split() for line in lines if line.split() and line.split()[0] in DESTINATIONS][-3:]

    assert first_run.returncode == 0, first_run.stderr
    assert first_run.stderr == ""
    assert [row[0] for row in rows] == DESTINATIONS
    for _, owed, delivered, refused, verified in rows:
        assert (owed, refused) == ("0", "0")
        assert delivered == verified != "0"


def test_what_is_owed_is_told_before_each_break_while_it_lasts_and_afterwards(first_run):
    told = first_run.stdout

    assert told.count("owed meanwhile") == 3
    assert told.count("(retrying)") == 3
    assert told.count("owed after ") == 4
    assert "Break 3 of 3" in told


def test_a_second_run_is_clean_and_ignores_settings_that_are_meant_for_the_real_thing(second_run):
    told = json.loads(second_run.stdout)

    assert second_run.returncode == 0, second_run.stderr
    assert told["ok"] is True
    assert [one["name"] for one in told["destinations"]] == DESTINATIONS
    for one in told["destinations"]:
        assert (one["owed"], one["refused"], one["problems"]) == (0, 0, [])
        assert one["delivered"] == one["verified"] > 60
    assert told["texts"]["taken"] == len(read_conversations())
    assert told["texts"]["repeated"] == 4
    assert told["texts"]["errors"] == {"invalid_number": 1}


def test_each_break_strikes_its_destination_holds_up_no_other_and_is_made_up_for(second_run):
    breaks = json.loads(second_run.stdout)["breaks"]

    assert [one["destination"] for one in breaks] == DESTINATIONS
    for one in breaks:
        before, during, after = (one["owed"][at] for at in ("before", "during", "after"))
        assert one["state"] == "retrying"
        assert min(before.values()) > 0
        assert during == {name: before[name] if name == one["destination"] else 0 for name in DESTINATIONS}
        assert set(after.values()) == {0}


@pytest.mark.parametrize(
    "what",
    ["what each destination is owed", "a STOP as the ledger keeps it", "all that was decided", "every hash again",
     "the archive, without the database"],
)  # fmt: skip
def test_what_it_says_to_try_next_works(second_run, place, what):
    command = json.loads(second_run.stdout)["next"][what]

    tried = subprocess.run(command, shell=True, cwd=place, env=bare(), capture_output=True, text=True)

    assert tried.returncode == 0, tried.stderr
    assert tried.stdout


def test_a_record_that_somebody_deleted_or_changed_is_a_difference(second_run, place):
    root = place / "var/demo"
    with both_running(root) as standin, assembled(root / "settings.toml") as parts:
        # What was tried in between wrote entries of its own.
        sync_now(parts.database, parts.destinations, parts.rules)
        whole = check_all(parts, root / "archive")
        control = Control(standin.address.control_url)
        first, second = [row["Entry_Id__c"] for row in control.rows("Assent_Entry__c")][:2]
        control.delete("Assent_Entry__c", "Entry_Id__c", first)
        control.change("Assent_Entry__c", "Entry_Id__c", second, Decision__c="opted_in", Text__c="not what was said")
        segment = next((root / "archive/harbor-bank/consent").glob("*.segment.jsonl"))
        segment.chmod(0o644)
        segment.write_bytes(segment.read_bytes().replace(b"opted_out", b"opted_0ut", 1))
        spoiled = {one.name: one for one in check_all(parts, root / "archive").destinations}

    assert all(one.agrees for one in whole.destinations)
    assert not spoiled["salesforce"].agrees
    assert any("missing" in problem for problem in spoiled["salesforce"].problems)
    assert f"{second} is drifted" in spoiled["salesforce"].problems
    assert spoiled["salesforce"].verified == spoiled["salesforce"].delivered - 2
    assert any(segment.name in problem for problem in spoiled["archive"].problems)
    assert spoiled["portal"].agrees


def test_no_log_of_the_demo_holds_a_number_a_name_or_a_text(second_run, place):
    logs = "".join(file.read_text() for file in (place / "var/demo/logs").glob("*.log"))

    assert "batch.settled" in logs
    for text in read_conversations():
        for secret in (text["contact"], text["line"], text.get("contact_name"), text["text"]):
            # A short text ("yes") may stand in any word.
            assert not secret or len(secret) < 6 or secret not in logs


def test_nothing_of_the_demo_is_still_running_when_it_has_ended(second_run, place):
    assert running_for(place) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_demo_that_is_ended_half_way_takes_its_children_along(place, second_run, number, code):
    with begun(place) as process:
        wait_for(lambda: b"Break 1" in (place / "told").read_bytes(), process)
        children = running_for(place)
        process.send_signal(number)
        ended = process.wait(PATIENCE)
    if number == signal.SIGKILL:
        # It can't have waited for them: they see for themselves that it is gone.
        wait_for(lambda: not running_for(place))

    assert ended == code
    assert len(children) >= 2, "both of its programs should have been running"
    assert running_for(place) == []
    assert b"Traceback" not in (place / "told").read_bytes()


def test_a_folder_with_somebody_elses_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "var/demo").mkdir(parents=True)
    (tmp_path / "var/demo/settings.toml").write_text("mine")

    refused = demo(tmp_path)

    assert refused.returncode == 2
    assert "--folder" in refused.stderr
    assert [file.name for file in (tmp_path / "var/demo").iterdir()] == ["settings.toml"]
    assert (tmp_path / "var/demo/settings.toml").read_text() == "mine"


def test_the_sample_is_as_large_and_as_mixed_as_promised():
    texts = read_conversations()
    ids = [text["id"] for text in texts]
    times = [text["sent_at"] for text in texts]
    first_texts = {}
    for text in texts:
        first_texts.setdefault((text["line"], text["contact"], text["channel"]), text["sender"])

    assert len(texts) >= 60
    assert {text["org"] for text in texts} == set(ORGANIZATIONS)
    assert len(ids) > len(set(ids)), "some ids come again"
    assert times != sorted(times), "some texts come out of order"
    assert set(first_texts.values()) == {"employee", "contact"}
    assert sum(map(len, split(texts))) == len(texts)
    assert max(map(len, split(texts))) == len(split(texts)[1])


def test_every_number_of_the_sample_is_kept_for_fiction():
    for text in read_conversations():
        for number in (text["line"], text["contact"], *text.get("group", ())):
            fictional = len(number) == 12 and number.startswith("+1") and number[5:10] == "55501"
            assert fictional or len(number) < 10, "555-0100 to 555-0199, a short code, or the one that is no number"


def demo(place, *arguments, **variables):
    return subprocess.run(
        [ASSENT, "demo", *arguments], cwd=place, env=bare() | variables, capture_output=True, text=True,
        timeout=PATIENCE,
    )  # fmt: skip


@contextmanager
def both_running(root):
    """Give the stand-in of a demo that has ended, started again beside the portal."""
    standin, portal = StandIn(root), Portal(root)
    try:
        standin.wait()
        portal.wait()
        yield standin
    finally:
        portal.end()
        standin.end()


@contextmanager
def begun(place):
    """Give a demo at work that tells into a file; it is ended in any case."""
    with (place / "told").open("wb") as told:
        process = subprocess.Popen(
            [ASSENT, "demo"], cwd=place, env=bare() | {"PYTHONUNBUFFERED": "1"}, stdout=told, stderr=told
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def bare():
    """Return an environment as a scheduler or a container gives it: no home, no locale."""
    return {"PATH": os.environ["PATH"]}


def running_for(place):
    """Return the command lines of processes that work in a directory's demo."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended meanwhile
            continue
        if f"{place}/" in line:
            found.append(line)
    return found


def wait_for(true, process=None):
    until = time.monotonic() + PATIENCE
    while not true():
        assert process is None or process.poll() is None, "it ended too early"
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
