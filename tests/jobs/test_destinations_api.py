"""Destinations over HTTP: told, paused and resumed with who and why, brought again in runs that can be followed."""

import time

import pytest

from connectors.memory import MemoryConnector
from consent.kinds import Lane
from jobs.access.tokens import Scope, create_token
from jobs.api.destinations import destination_router
from jobs.running import Runs
from sync.delivery import Rules
from sync.destinations import Destination
from sync.receipts import SetAside, set_aside
from sync.syncing import sync_now
from tests.jobs.test_api import is_problem, served


@pytest.fixture
def memory():
    return MemoryConnector()


@pytest.fixture
def destinations(memory):
    everybodys = Destination("everybodys", memory, tuple(Lane))
    return [everybodys, Destination("acmes", MemoryConnector(), (Lane.CONSENT,), frozenset({"acme"}))]


@pytest.fixture
def api(make_sqlite_url, destinations, text):
    def routers(database, _intake):
        return [destination_router(database, destinations, Runs(database, destinations, Rules()))]

    with served(make_sqlite_url(), routers) as api:
        api.receive(text("Hi"))
        yield api


def deliver(api, destinations):
    sync_now(api.database, destinations, Rules())


def ended(api, answer):
    """Follow a run to its end."""
    assert answer.status_code == 202, answer.text
    where = answer.headers["location"]
    while (told := api.get(where).json())["state"] == "running":
        time.sleep(0.05)
    return told


def of_acme(api, *scopes):
    with api.database.write() as tx:
        _, secret = create_token(tx, "acme's", scopes or Scope, organization="acme", expires_at=None, actor="t", now=1)
    return {"authorization": f"Bearer {secret}"}


def test_each_destination_is_told_with_what_it_is_owed(api, destinations):
    before = {one["name"]: one for one in api.get("/v1/destinations").json()["destinations"]}
    deliver(api, destinations)
    after = {one["name"]: one for one in api.get("/v1/destinations").json()["destinations"]}

    assert before["everybodys"]["owed"] > before["acmes"]["owed"] > 0
    assert (after["everybodys"]["owed"], after["everybodys"]["state"]) == (0, "ok")


def test_a_pause_holds_until_it_is_resumed_and_both_are_entries_with_their_reason(api, destinations, memory):
    paused = api.post("/v1/destinations/everybodys/pause", {"reason": "an audit"})
    deliver(api, destinations[:1])
    states = {one["name"]: one for one in api.get("/v1/destinations").json()["destinations"]}
    refused = api.post("/v1/destinations/everybodys/resync")
    resumed = api.post("/v1/destinations/everybodys/resume")
    deliver(api, destinations[:1])

    assert paused.json() == {"name": "everybodys", "state": "paused"}
    assert (states["everybodys"]["state"], states["everybodys"]["reason"]) == ("paused", "an audit")
    assert is_problem(refused, 409, "paused")
    assert resumed.json() == {"name": "everybodys", "state": "ok"}
    operations = api.get("/v1/entries", org="system", kind="operation").json()["entries"]
    assert [(one["body"]["operation"], one["body"]["actor"]) for one in operations] == [
        ("pause", "api"), ("resume", "api"),
    ]  # fmt: skip
    assert operations[0]["values"]["note"]["value"] == "an audit"


def test_a_dry_run_says_what_a_resync_would_do_and_the_resync_does_it(api, destinations, memory):
    deliver(api, destinations)
    pushed = len(memory.pushes)

    planned = api.post("/v1/destinations/everybodys/resync", {"org": "acme", "dry_run": True})
    untouched = len(memory.pushes) == pushed
    told = ended(api, api.post("/v1/destinations/everybodys/resync", {"org": "acme"}))

    assert planned.status_code == 200
    assert planned.json()["matched"] > 0
    assert untouched
    assert (told["state"], told["told"]["taken"], told["actor"]) == ("done", planned.json()["matched"], "api")
    assert [one["run"] for one in api.get("/v1/destinations/everybodys/runs").json()["runs"]] == [told["run"]]


def test_a_resync_of_one_contact_or_entry_brings_no_other(api, destinations, memory, text):
    other = api.receive(text("Hi", contact="+14045550199"))
    deliver(api, destinations)

    one = api.post("/v1/destinations/everybodys/resync", {"entry": other["entries"][0], "dry_run": True}).json()
    contact = api.post(
        "/v1/destinations/everybodys/resync", {"contact": "+14045550199", "org": "acme", "dry_run": True}
    ).json()

    assert (one["matched"], contact["matched"]) == (1, len(other["entries"]))


def test_a_retry_says_what_it_did_not_bring_because_the_destination_takes_it_no_more(api, destinations):
    deliver(api, destinations)
    with api.database.write() as tx:
        set_aside(tx, [SetAside("system", "acmes", "audit", 0, 0, "refused", 1, 0, 1, "TOO_LONG", "Shorten it.")])

    told = ended(api, api.post("/v1/destinations/acmes/resync", {"only": "refused"}))

    assert (told["state"], told["told"]["matched"]) == ("done", 0)
    assert told["advice"].startswith("1 are of ledgers or lanes that it takes no more")


def test_a_reconcile_is_a_run_too(api, destinations):
    deliver(api, destinations)

    told = ended(api, api.post("/v1/destinations/everybodys/reconcile"))

    assert (told["work"], told["state"], told["told"]["differences"]) == ("reconcile", "done", 0)
    assert api.post(f"/v1/runs/{told['run']}/stop").json()["state"] == "done"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("nowhere/pause", None, 404, "not_found"),
        ("nowhere/resync", {"dry_run": True}, 404, "not_found"),
        ("everybodys/resync", {"contact": "nine o'clock", "org": "acme"}, 422, "invalid_number"),
        ("everybodys/resync", {"org": "nobody", "contact": "+14045550123"}, 404, "unknown_organization"),
        ("everybodys/resync", {"org": "nobody"}, 404, "unknown_organization"),
        ("everybodys/reconcile", {"org": "nobody"}, 404, "unknown_organization"),
        ("everybodys/resync", {"contact": "+14045550177"}, 404, "not_found"),
        ("everybodys/resync", {"entry": "7"}, 422, "invalid_request"),
        ("everybodys/resync", {"entry": "acme-000000009999"}, 404, "not_found"),
        ("everybodys/resync", {"since": "soon"}, 422, "invalid_request"),
        ("everybodys/resync", {"only": "some"}, 422, "invalid_request"),
        ("everybodys/resync", {"dry_run": 1}, 422, "invalid_request"),
    ],
)
def test_what_cannot_be_done_says_why(api, path, body, status, code):
    answer = api.post(f"/v1/destinations/{path}", body)

    assert is_problem(answer, status, code), answer.text
    assert "nine" not in answer.text


def test_a_token_of_one_organization_operates_only_what_serves_nobody_else(api):
    headers = of_acme(api)

    def post(path):
        return api.session.post(f"{api.url}/v1/destinations/{path}", headers=headers, timeout=20)

    listed = api.session.get(f"{api.url}/v1/destinations", headers=headers, timeout=20).json()["destinations"]
    told = ended(api, api.post("/v1/destinations/everybodys/resync"))

    assert [one["name"] for one in listed] == ["acmes"]
    assert post("acmes/pause").status_code == 200
    assert is_problem(post("everybodys/pause"), 404, "not_found")
    assert is_problem(post("everybodys/resync"), 404, "not_found")
    run = api.session.get(f"{api.url}/v1/runs/{told['run']}", headers=headers, timeout=20)
    assert is_problem(run, 404, "not_found")
