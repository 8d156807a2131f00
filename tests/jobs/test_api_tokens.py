"""Tokens over HTTP: each reaches what its scopes and its organization allow, from its first request to its last."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from consent.organizations import create_organization, set_feature
from jobs.access.tokens import Scope, create_token, revoke_token
from tests.jobs.test_api import Api, is_problem, served

NOW = time.time_ns() // 1_000


@pytest.fixture(scope="module")
def server(sqlite_template, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "assent.db"
    shutil.copyfile(sqlite_template, path)
    with served(f"sqlite:///{path}") as api:
        with api.database.write() as tx:
            for org, parent in (("acme-west", "acme"), ("acme-west-1", "acme-west"), ("acme-east", "acme"),
                                ("globex", None)):  # fmt: skip
                create_organization(tx, org, org.title(), parent=parent, actor="test", now=1)
            set_feature(tx, "globex", "sms_opt_in", True, actor="test", now=1)
        yield api


def made(server, *scopes, org=None, expires_at=None):
    with server.database.write() as tx:
        return create_token(
            tx, "a test's", scopes or Scope, organization=org, expires_at=expires_at, actor="test", now=NOW
        )


def client(server, secret):
    api = Api(server.url, server.logged)
    api.session.headers["authorization"] = f"Bearer {secret}"
    return api


@pytest.fixture
def token(server):
    """Make clients with tokens of their own."""
    opened = []

    def make(*scopes, **more):
        opened.append(client(server, made(server, *scopes, **more)[1]))
        return opened[-1]

    yield make
    for api in opened:
        api.session.close()


def test_a_token_is_refused_from_the_request_after_its_revocation_on(server):
    one, secret = made(server, Scope.MESSAGES, Scope.ENTRIES_READ)
    api = client(server, secret)
    before = api.get("/v1/entries", org="acme").status_code
    with server.database.write() as tx:
        revoke_token(tx, one.id, actor="test", now=NOW)

    for _ in range(3):
        assert is_problem(api.get("/v1/entries", org="acme"), 401, "unauthorized")
        assert is_problem(api.post("/v1/messages", {}), 401, "unauthorized")
    assert before == 200
    api.session.close()


def test_a_token_ends_with_its_time(server):
    api = client(server, made(server, expires_at=NOW + 1)[1])

    assert is_problem(api.get("/v1/entries", org="acme"), 401, "unauthorized")
    api.session.close()


def test_callers_at_once_each_get_the_grant_of_their_own_token(server, token):
    allowed, other = token(Scope.ENTRIES_READ), token(Scope.MESSAGES)

    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(one.get, "/v1/entries", org="acme") for one in [allowed, other] * 20]
        statuses = [one.result().status_code for one in asked]

    assert statuses == [200, 403] * 20


def test_every_call_needs_a_scope_that_a_token_without_it_is_told_of(server, token):
    paths = server.get("/openapi.json").json()["paths"]
    calls = [(method, path) for path, operations in paths.items() for method in operations if path.startswith("/v1/")]
    asked = {"/v1/consent": {"org": "acme", "contact": "+14045550123"}, "/v1/entries": {"org": "acme"}}
    bodies = {
        "/v1/gate": {"org": "acme", "line": "+14155550100", "contact": "+14045550123", "channel": "sms"},
        "/v1/reviews/{review_id}/close": {"as": "opted_out", "reason": "r"},
        "/v1/organizations/{org}/templates/{key}": {"text": None},
        "/v1/organizations/{org}/keywords/{use}": {"word": "x"},
        "/v1/organizations/{org}/lines/{line}": {"employee": {"id": "e", "name": "n"}},
    }
    given = {"org": "acme", "entry_id": "acme-000000000000", "review_id": "acme-000000000000", "use": "help",
             "key": "help.contact", "line": "+14155550100"}  # fmt: skip
    powerless = token(Scope.METRICS)

    assert len(calls) >= 19
    for method, path in calls:
        answer = powerless.session.request(
            method, server.url + path.format(**given), params=asked.get(path), json=bodies.get(path, {}), timeout=20
        )
        assert is_problem(answer, 403, "missing_scope"), (method, path, answer.text)


def test_a_token_of_one_organization_takes_texts_of_its_tree_only(token, text):
    api = token(org="acme-west")
    own, below = (
        text("Hi", org="acme-west", contact="+14045550171"),
        text("Hi", org="acme-west-1", contact="+14045550172"),
    )
    others = [text("Hi", org=org) for org in ("acme", "acme-east", "globex", "nobody")]

    assert api.receive(own)["verdict"]
    answers = api.post("/v1/messages/batch", [others[0], below, *others[1:], 7, {"id": "x"}]).json()
    single = [api.post("/v1/messages", other) for other in others]

    assert [one.get("error", {}).get("code") for one in answers] == [
        "unknown_organization", None, *["unknown_organization"] * 3, "invalid_message", "invalid_message",
    ]  # fmt: skip
    assert len({one.json()["detail"] for one in single}) == 1
    assert all(is_problem(one, 422, "unknown_organization") for one in single)


def test_a_token_of_one_organization_reads_its_own_and_what_is_others_is_as_if_it_were_not_there(server, token, text):
    for org, contact in (("acme-west", "+14045550181"), ("acme-east", "+14045550182"), ("globex", "+14045550183")):
        server.receive(text("Hi", org=org, contact=contact, id=f"of-{org}"))
    west, acme = token(org="acme-west"), token(org="acme")
    of_east = next(
        one for one in server.get("/v1/entries", org="acme", contact="+14045550182").json()["entries"]
        if one["kind"] == "message"
    )  # fmt: skip

    shown = west.get("/v1/entries", limit=1000).json()["entries"]
    assert shown
    assert {one["body"].get("sub_organization") or one["body"].get("id") for one in shown} == {"acme-west"}
    assert acme.get(f"/v1/entries/{of_east['id']}").json() == of_east
    for other in ("acme", "acme-east", "globex", "system", "nobody"):
        assert is_problem(west.get("/v1/entries", org=other), 404, "unknown_organization")
        assert is_problem(west.get("/v1/consent", org=other, contact="+14045550182"), 404, "unknown_organization")
        assert is_problem(west.get("/v1/reviews", org=other), 404, "unknown_organization")
        assert is_problem(west.get(f"/v1/organizations/{other}"), 404, "unknown_organization")
        assert is_problem(
            west.session.put(f"{west.url}/v1/organizations/{other}/features", json={"mode": "off"}, timeout=20),
            404, "unknown_organization",
        )  # fmt: skip
    assert is_problem(west.get(f"/v1/entries/{of_east['id']}"), 404, "not_found")
    assert is_problem(acme.get("/v1/entries/globex-000000000000"), 404, "not_found")
    assert is_problem(acme.get("/v1/entries/system-000000000000"), 404, "not_found")
    gate = {"org": "acme-east", "line": "+14155550100", "contact": "+14045550182", "channel": "sms"}
    assert is_problem(west.post("/v1/gate", gate), 404, "unknown_organization")
    assert [one["id"] for one in west.get("/v1/organizations").json()["organizations"]] == ["acme-west", "acme-west-1"]


def test_a_row_of_another_organization_is_not_imported_with_a_tokens_of_one(token):
    api = token(org="acme-west")
    row = {"contact": "+14045550191", "line": "+14155550100", "consent": "opted_in", "evidence": "form 1",
           "at": "2025-01-02T10:00:00Z"}  # fmt: skip

    answers = api.post("/v1/consents/import", [row | {"org": "acme-east"}, row | {"org": "acme-west"}]).json()

    assert [one.get("error", {}).get("code") for one in answers] == ["unknown_organization", None]
    assert is_problem(api.post("/v1/consents/import?org=globex", [row]), 404, "unknown_organization")


def test_what_a_token_changes_names_it_as_the_actor(server, token):
    api = token(Scope.ORGANIZATIONS_WRITE)

    answer = api.session.put(f"{api.url}/v1/organizations/globex/settings", json={"opt_out_scope": "org"}, timeout=20)

    assert answer.json()["opt_out_scope"] == "org"
    changed = server.get("/v1/entries", org="globex", kind="setting", limit=1000).json()["entries"][-1]
    assert changed["body"]["actor"].startswith("tok-")
    assert changed["body"]["after"] == {"opt_out_scope": "org"}


def test_metrics_and_the_description_are_behind_a_token_too(server, token):
    assert is_problem(token(Scope.MESSAGES).get("/metrics"), 403, "missing_scope")
    assert token(Scope.MESSAGES).get("/openapi.json").status_code == 200
    assert is_problem(requests.get(f"{server.url}/openapi.json", timeout=20), 401, "unauthorized")


def test_a_tokens_last_use_is_noted(server):
    one, secret = made(server)
    api = client(server, secret)
    api.get("/v1/entries", org="acme")
    with server.database.read() as tx:
        used = tx.exec_driver_sql("SELECT used_at FROM access_token WHERE id = ?", (one.id,)).scalar()

    assert used is not None
    assert secret not in server.logged.getvalue()
    api.session.close()


def test_a_token_of_one_organization_takes_no_line_from_another(server, token):
    east, west = token(org="acme-east"), token(org="acme-west")
    ann, bo = ({"employee": {"id": name, "name": name}} for name in ("ann", "bo"))
    url = "/v1/organizations/{}/lines/+14155550190"
    east.session.put(east.url + url.format("acme-east"), json=ann, timeout=20).raise_for_status()

    refused = west.session.put(west.url + url.format("acme-west"), json=bo, timeout=20)

    assert is_problem(refused, 409, "refused_by_policy")
    told = east.get("/v1/organizations/acme-east/lines").json()["lines"]
    assert [one["employee"]["id"] for one in told if one["line"] == "+14155550190"] == ["ann"]
    moved = server.session.put(server.url + url.format("acme-west"), json=bo, timeout=20)
    assert moved.json()["employee"] == bo["employee"]
