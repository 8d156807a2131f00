"""The description at `/openapi.json` and what the server does are one and the same, whatever it is sent."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from connectors.memory import MemoryConnector
from connectors.portal import migrate
from connectors.portal.protocol import new_secret
from connectors.portal.store import PortalStore
from consent.kinds import Lane
from jobs.api.destinations import destination_router
from jobs.api.webhooks import Providers, webhook_router
from jobs.running import Runs
from jobs.web.receiver import receiver_router
from sync.delivery import Rules
from sync.destinations import Destination
from tests.jobs.test_api import TOKEN, served

HERE = Path(__file__).parent


def routers(database, intake):
    """Return every router that `assent serve` adds to those of the API itself."""
    destinations = [Destination("memory", MemoryConnector(), tuple(Lane))]
    return [
        destination_router(database, destinations, Runs(database, destinations, Rules())),
        webhook_router(database, intake, Providers("https://assent.bank.example", "a" * 20, "b" * 20, "c" * 20)),
        receiver_router(PortalStore(database), [new_secret()], lambda: time.time_ns() // 1_000),
    ]


@pytest.fixture
def api(make_sqlite_url, open_databases):
    url = make_sqlite_url()
    migrate.upgrade(open_databases(url))
    with served(url, routers) as api:
        yield api


def test_schemathesis_finds_nothing_in_any_call(api, tmp_path):
    # One worker: with two, hypothesis met "AST constructor recursion depth mismatch" of CPython's compiler now and then
    # (https://github.com/python/cpython/issues/106905), and two were no faster.
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(HERE / "schemathesis.toml"), "run",
        f"{api.url}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}", "--phases", "coverage,fuzzing", "-n", "1",
        "--seed", "1", "--workers", "1",
    ]  # fmt: skip

    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)

    assert ended.returncode == 0, ended.stdout[-6000:]
    assert "No issues found" in ended.stdout or "Failures:" not in ended.stdout
    assert '"level":"error"' not in api.logged.getvalue().replace(" ", "")


def test_every_call_of_the_interface_is_described(api):
    told = api.get("/openapi.json").json()["paths"]

    calls = {(method.upper(), path) for path, operations in told.items() for method in operations}
    assert {
        ("POST", "/v1/messages"), ("POST", "/v1/messages/batch"), ("POST", "/v1/events"), ("POST", "/v1/gate"),
        ("GET", "/v1/consent"), ("GET", "/v1/entries"), ("GET", "/v1/entries/{entry_id}"),
        ("GET", "/v1/entries/{entry_id}/proof"),
        ("POST", "/v1/consents/import"), ("GET", "/v1/reviews"), ("POST", "/v1/reviews/{review_id}/close"),
        ("GET", "/v1/organizations/{org}/features"), ("PUT", "/v1/organizations/{org}/features"),
        ("GET", "/v1/organizations/{org}/templates"), ("PUT", "/v1/organizations/{org}/templates/{key}"),
        ("GET", "/v1/organizations/{org}/keywords"), ("PUT", "/v1/organizations/{org}/keywords/{use}"),
        ("GET", "/v1/destinations"), ("POST", "/v1/destinations/{name}/pause"),
        ("POST", "/v1/destinations/{name}/resume"), ("POST", "/v1/destinations/{name}/resync"),
        ("POST", "/webhooks/twilio"), ("GET", "/webhooks/whatsapp"), ("POST", "/webhooks/whatsapp"),
        ("GET", "/livez"), ("GET", "/readyz"),
    } <= calls  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/organizations/acme/features", "/webhooks/whatsapp", "/v1/destinations"])
def test_another_method_is_told_all_that_a_path_takes(api, path):
    told = api.get("/openapi.json").json()["paths"][path.replace("acme", "{org}")]

    answer = api.session.delete(api.url + path, timeout=20)

    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) - {"HEAD"} == {method.upper() for method in told}
