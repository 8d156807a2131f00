"""Salesforce: calls, share of a bare loop and processor time, against the stand-in as a process of its own."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import requests

from connectors.salesforce.connector import SalesforceConnector
from connectors.salesforce.fields import ENTRY_KEY, ENTRY_OBJECT
from connectors.salesforce.mapping import row_of
from connectors.salesforce.standin.control import Control
from consent.database import Database
from consent.entry import Entry
from consent.kinds import Kind, Lane
from consent.ledger import append, read_lane
from consent.values import Record
from tests.benchmarks.bench_bookkeeping import deliver_all
from tests.benchmarks.bench_world import NOON, ORGANIZATION, Result, Scale, Store, child_environment, middle
from tests.benchmarks.delivering import settings_of

_IN_FLIGHT, _CALL_RECORDS = 8, 200
_WAIT_SECONDS = 30.0


def salesforce(store: Store, scale: Scale) -> Iterator[Result]:
    """Deliver one lane to an org that takes its time, in turns with a bare loop over the same records."""
    with store.fresh() as database, org() as (address, control):
        entries = _fill(database, scale.salesforce_entries)
        bare = _Bare(address)
        ours, loop, processor, bare_processor, calls = [], [], [], [], []
        control.settings(latency_seconds=scale.salesforce_seconds)
        connector = SalesforceConnector(settings_of(address))
        connector.check()  # signed in, as a process at work is, and as the bare loop is
        for _ in range(scale.rounds):
            _forget(control, scale)
            delivered = deliver_all(database, connector, [Lane.CONSENT])
            processor.append(delivered.processor * 10_000 / len(entries))
            ours.append(len(entries) / delivered.seconds)
            calls.append(control.journal(after=10**9)["counters"]["requests"] * 10_000 / len(entries))
            _forget(control, scale)
            seconds, worked = bare.batches(entries)
            loop.append(len(entries) / seconds)
            bare_processor.append(worked * 10_000 / len(entries))
        connector.shut()
        single = scale.salesforce_single / bare.one_by_one(entries[: scale.salesforce_single])
        bare.shut()
    share = middle([one / other for one, other in zip(ours, loop, strict=True)])
    at = f"{scale.salesforce_seconds * 1000:.0f} ms a call"
    rate = f"{middle(ours):,.0f} entries/s"
    yield Result("Salesforce: API calls per 10,000 entries", rate, "", middle(calls), "calls", 52, at_most=True)
    yield Result(
        f"Salesforce: bare loop, {_IN_FLIGHT} in flight, {at}", rate, f"{middle(loop):,.0f}/s", share, "×", 0.9
    )
    beside = f"{middle(bare_processor):.2f} s the bare loop"
    yield Result("Salesforce: processor time per 10,000", "", beside, middle(processor), "s", 0.5, at_most=True)
    yield Result(f"Salesforce: one upsert a record, {at}", rate, f"{single:,.1f}/s", middle(ours) / single, "×")


def backlog(store: Store, scale: Scale) -> Iterator[Result]:
    """Deliver a long backlog in a process of its own: its memory, its calls, and whether it grows slow."""
    count = scale.salesforce_backlog
    with store.fresh() as database, org() as (address, control):
        _write(database, count)
        _forget(control, scale)
        told = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.delivering", database.url, str(count), address["ready_file"]],
            env=child_environment(), stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        delivered = orjson.loads(told.stdout)
        calls = control.journal(after=10**9)["counters"]["requests"] * 10_000 / count
    if delivered["settled"] != count or delivered["owed"]:
        raise RuntimeError(f"{delivered['owed']} entries are still owed")
    # The first part holds the start of a process and of its connections.
    parts, memory = delivered["processor"][1:], delivered["kib"]
    rate = f"{count / sum(delivered['seconds']):,.0f} entries/s"
    subject = f"Salesforce: backlog of {count:,}"
    yield Result(f"{subject}, memory it grows by", rate, "", (memory[-1] - memory[1]) / 1024, "MiB", 32, at_most=True)
    yield Result(f"{subject}, calls per 10,000", rate, "", calls, "calls", 52, at_most=True)
    slowest, quickest = max(parts), min(parts)
    beside = f"{parts[0]:,.1f} s of processor the second tenth; all others {quickest:,.1f} to {slowest:,.1f}"
    yield Result(
        f"{subject}, the last tenth beside the second", rate, beside, parts[-1] / parts[0], "×", 1.1, at_most=True
    )


class _Bare:
    """The same records through the same library for HTTP, with nothing around."""

    def __init__(self, address: Mapping[str, Any]) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = address["ca_file"]
        self._session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=_IN_FLIGHT))
        secret = Path(address["client_secret_file"]).read_text().strip()
        answer = self._session.post(
            f"{address['url']}/services/oauth2/token",
            data={"grant_type": "client_credentials"},
            auth=(address["client_id"], secret),
            timeout=_WAIT_SECONDS,
        ).json()
        self._headers = {"Authorization": f"Bearer {answer['access_token']}", "Content-Type": "application/json"}
        self._url = f"{answer['instance_url']}/services/data/v62.0"

    def batches(self, entries: Sequence[Entry]) -> tuple[float, float]:
        """Upsert 200 a call, 8 calls at a time; return the seconds that took, and those of processor time."""
        records = [row_of(entry).json for entry in entries]
        bodies = [
            b'{"allOrNone":false,"records":[' + b",".join(records[at : at + _CALL_RECORDS]) + b"]}"
            for at in range(0, len(records), _CALL_RECORDS)
        ]
        with ThreadPoolExecutor(_IN_FLIGHT) as pool:
            started, worked = time.perf_counter(), time.process_time()
            for answer in pool.map(self._upsert, bodies):
                if not all(row["success"] for row in answer):
                    raise RuntimeError("the stand-in refused a record of the bare loop")
            return time.perf_counter() - started, time.process_time() - worked

    def one_by_one(self, entries: Sequence[Entry]) -> float:
        """Upsert one record a call, one after the other; return the seconds that took."""
        started = time.perf_counter()
        for entry in entries:
            record = orjson.loads(row_of(entry).json)
            key = record.pop(ENTRY_KEY)
            record.pop("attributes")
            answer = self._session.patch(
                f"{self._url}/sobjects/{ENTRY_OBJECT}/{ENTRY_KEY}/{key}",
                data=orjson.dumps(record), headers=self._headers, timeout=_WAIT_SECONDS,
            )  # fmt: skip
            answer.raise_for_status()
        return time.perf_counter() - started

    def shut(self) -> None:
        """Let go of connections."""
        self._session.close()

    def _upsert(self, body: bytes) -> Any:
        url = f"{self._url}/composite/sobjects/{ENTRY_OBJECT}/{ENTRY_KEY}"
        answer = self._session.patch(url, data=body, headers=self._headers, timeout=_WAIT_SECONDS)
        answer.raise_for_status()
        return orjson.loads(answer.content)


@contextmanager
def org() -> Iterator[tuple[dict[str, Any], Control]]:
    with tempfile.TemporaryDirectory(prefix="assent-bench-") as folder:
        ready = Path(folder) / "ready.json"
        process = subprocess.Popen(
            [sys.executable, "-m", "connectors.salesforce.standin", "--package",
             str(files("connectors.salesforce") / "package"), "--state", f"{folder}/state", "--port", "0",
             "--ready-file", str(ready)],
            env=child_environment(), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until = time.monotonic() + _WAIT_SECONDS
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("the stand-in didn't start")
                time.sleep(0.02)
            address = {**json.loads(ready.read_text()), "ready_file": str(ready)}
            yield address, Control(address["control_url"])
        finally:
            process.terminate()
            process.wait()


def _forget(control: Control, scale: Scale) -> None:
    control.reset(rows=True)
    control.settings(latency_seconds=scale.salesforce_seconds)


def _fill(database: Database, count: int) -> list[Entry]:
    """Write so many automatic messages, and return them."""
    _write(database, count)
    with database.read() as tx:
        return read_lane(tx, ORGANIZATION, Lane.CONSENT, 0, count)


def _write(database: Database, count: int) -> None:
    for at in range(0, count, 1000):
        records = [_record(number) for number in range(at, min(at + 1000, count))]
        with database.write() as tx:
            append(tx, ORGANIZATION, records, NOON)


def _record(number: int) -> Record:
    facts = {
        "to": "contact", "template": "mo.request.contact", "template_version": 1, "template_sha256": "0" * 64,
        "language": "en", "channel": "sms", "before": "none", "after": "pending", "origin": "mo",
    }  # fmt: skip
    values = {
        "line": "+14155550100", "contact": f"+1404{5_550_000 + number:07d}", "employee_id": "e1",
        "employee_name": "Ann Lee", "text": "[Auto Message] Ann Lee is trying to send you a text message.",
    }  # fmt: skip
    return Record(Kind.AUTO_MESSAGE, NOON + number * 1_000_000, facts, values, f"{number:024x}", 1)
