"""The stand-in as a process: killed, started again, given what it can't serve."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from connectors.salesforce.standin import Address, Control, StandIn
from connectors.salesforce.standin.schema import SchemaError, load_schema
from tests.salesforce_standin.documents.sample_world import FIELDS, OBJECT, RULE, Caller, V, write_package

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "connectors" / "salesforce" / "package"


@pytest.fixture
def launch(tmp_path):
    """Start the stand-in on its folder; returns the process and its address."""
    processes = []

    def start(package):
        ready = tmp_path / "ready.json"
        ready.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "connectors.salesforce.standin", "--package", str(package),
             "--state", str(tmp_path / "state"), "--ready-file", str(ready)],
            cwd=ROOT, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        processes.append(process)
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.02)
        return process, Address(**json.loads(ready.read_text()))

    yield start
    for each in processes:
        each.kill()
        each.wait()


def test_what_was_answered_survives_a_kill_and_the_org_comes_back_as_it_was(launch, sample_package):
    process, address = launch(sample_package)
    caller, answered = Caller(address).login(), []
    Control(address.control_url).settings(latency_seconds=0.01)

    def write():
        for first in range(0, 1_000_000, 50):
            keys = [f"{n:07}" for n in range(first, first + 50)]
            try:
                caller.upsert(*({"Key__c": key} for key in keys))
            except (OSError, ValueError):
                return
            answered.extend(keys)

    writer = threading.Thread(target=write)
    writer.start()
    while len(answered) < 300:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    writer.join()
    _, again = launch(sample_package)

    assert (again.url, again.client_id) == (address.url, address.client_id)
    caller = Caller(again)  # which still trusts the same authority
    assert caller.call("GET", f"{V}/limits").status == 401
    held = [each["Key__c"] for each in Control(again.control_url).rows(OBJECT)]
    assert held[: len(answered)] == answered
    assert len(held) - len(answered) in {0, 50}
    assert caller.login().upsert({"Key__c": answered[0]}, {"Key__c": "new"}).json[1]["created"]
    caller.close()


def test_the_process_ends_well_when_it_is_asked_to(launch, sample_package):
    process, address = launch(sample_package)
    caller = Caller(address).login()

    process.terminate()

    assert process.wait(timeout=20) == 0
    caller.close()


def test_the_command_of_the_readme_starts_it(tmp_path):
    readme = (ROOT / "connectors" / "salesforce" / "standin" / "README.md").read_text()
    command = readme.partition("```sh\n")[2].partition("\n```")[0].replace("var/", f"{tmp_path}/").split()

    process = subprocess.Popen([sys.executable, *command[1:]], cwd=ROOT, stderr=subprocess.DEVNULL)
    while not (tmp_path / "standin" / "ready.json").exists():
        assert process.poll() is None
        time.sleep(0.02)

    process.terminate()
    assert process.wait(timeout=20) == 0


def test_a_package_that_cannot_be_served_stops_the_start(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "connectors.salesforce.standin", "--package", str(tmp_path), "--state", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ended.returncode == 4
    assert "is no folder" in json.loads(ended.stderr)["reason"]


def test_a_newer_package_widens_what_is_there(tmp_path):
    narrow = {name: FIELDS[name] for name in ("Key__c", "Hash__c", "Seq__c")}
    with StandIn(package=write_package(tmp_path / "one", narrow), state=tmp_path / "state") as org:
        caller = Caller(org.address).login()
        caller.upsert({"Key__c": "a", "Hash__c": "1"})
        caller.close()

    with StandIn(package=write_package(tmp_path / "two"), state=tmp_path / "state") as org:
        caller = Caller(org.address).login()
        assert not caller.upsert({"Key__c": "a", "Text__c": "new"}).json[0]["created"]
        assert caller.values("Text__c") == ["new"]
        caller.close()


def test_our_own_package_is_served(tmp_path):
    with StandIn(package=PACKAGE, state=tmp_path) as org:
        caller = Caller(org.address).login()
        names = {each["name"] for each in caller.call("GET", f"{V}/sobjects").json["sobjects"] if each["custom"]}
        described = [caller.call("GET", f"{V}/sobjects/{name}/describe").status for name in names]
        caller.close()

    assert {"Assent_Entry__c", "Assent_Sync_Run__c"} <= names
    assert set(described) == {200}


@pytest.mark.parametrize(
    ("fields", "rule", "reason"),
    [
        ({"X__c": {"type": "Location"}}, RULE, "'Location' are not served"),
        ({"X__c": {"type": "Lookup", "referenceTo": "Nothing__c"}}, RULE, "refers to Nothing__c"),
        ({}, "REGEX(Hash__c, 'x')", "REGEX\\(\\), which is not served"),
        ({}, "ISCHANGED(Nothing__c)", "Nothing__c, which is no field"),
        ({}, "ISCHANGED('x')", "takes a field"),
        ({}, "NOT(ISNEW()", "was meant"),
        ({}, "NOT(ISNEW(),TRUE)", "takes 1 arguments"),
        ({}, "a § b", "can't be read"),
    ],
)
def test_what_the_org_cannot_do_faithfully_is_refused_when_the_package_is_read(tmp_path, fields, rule, reason):
    with pytest.raises(SchemaError, match=reason):
        load_schema(write_package(tmp_path, {**FIELDS, **fields}, rule))
