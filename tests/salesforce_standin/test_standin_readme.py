"""What the README says can be done, done as it says."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from connectors.salesforce.standin import StandIn
from tests.salesforce_standin.standin_world import PACKAGE, Caller, entry

README = (PACKAGE.parent / "standin" / "README.md").read_text()


def block(language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return found


def test_the_command_starts_an_org_that_answers_and_ends_well(tmp_path):
    ready = tmp_path / "ready.json"
    _, *arguments = shlex.split(block("sh").replace("var/standin", str(tmp_path)))

    process = subprocess.Popen([sys.executable, *arguments], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    try:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.01)
        listed = json.loads(ready.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        ended = process.wait()

    assert ended == 0
    assert f"`{'`, `'.join(listed)}`" in " ".join(README.split())


def test_the_lines_for_a_test_arm_a_fault_that_strikes(tmp_path):
    def deliver_to(url, ca_file):
        made = Caller(org.address)
        statuses.extend(made.upsert(entry(n)).status for n in range(4))
        made.close()

    statuses = []
    with StandIn(package=PACKAGE, state=tmp_path) as org:
        lines = block("python").replace("StandIn(package=package, state=folder)", "nullcontext(started)")
        names = {"started": org, "deliver_to": deliver_to}
        exec(f"from contextlib import nullcontext\n{lines}", names)

    assert statuses == [200, 200, 503, 200]
