"""The HTTP API behind a real server: every answer, every refusal, and nothing personal in either logs or errors."""

import hashlib
import io
import json
import logging
import shutil
import socket
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests
import structlog
import uvicorn
from sqlalchemy import make_url

from consent.database import open_database
from consent.organizations import create_organization, set_feature
from jobs.api import Token, create_app
from jobs.logs import configure_logs
from sync.intake import Intake

TOKEN = "the-token-of-this-api"
LIMIT = 200_000


class Api:
    """A client of the server, and what the server logged."""

    def __init__(self, url, logged):
        self.url, self.logged = url, logged
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["authorization"] = f"Bearer {TOKEN}"

    def get(self, path, **params):
        return self.session.get(self.url + path, params=params, timeout=20)

    def post(self, path, body=None, **more):
        return self.session.post(self.url + path, json=body, timeout=20, **more)

    def receive(self, message):
        answer = self.post("/v1/messages", message)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def served(url, more=lambda database, intake: ()):
    """Serve an organization's API from a database, with all that is logged kept; `more` gives more routers."""
    database = open_database(url)
    with database.write() as tx:
        create_organization(tx, "acme", "Acme Bank", parent=None, actor="test", now=1)
        set_feature(tx, "acme", "sms_opt_in", True, actor="test", now=1)
    intake = Intake(database)
    app = create_app(
        database, intake, Token(TOKEN), max_body_bytes=LIMIT, routers=more(database, intake), metrics=lambda: b"up 1\n"
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none"))
    logged = io.StringIO()
    kept = structlog.get_config(), logging.getLogger().handlers[:], logging.getLogger().level, warnings.filters[:]
    configure_logs("debug", logged)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.005)

    api = Api(f"http://127.0.0.1:{listener.getsockname()[1]}", logged)
    api.database = database
    try:
        yield api
    finally:
        api.session.close()
        server.should_exit = True
        thread.join()
        listener.close()
        intake.close()
        database.dispose()
        structlog.configure(**kept[0])
        logging.getLogger().handlers[:] = kept[1]
        logging.getLogger().setLevel(kept[2])
        logging.captureWarnings(False)
        warnings.filters[:] = kept[3]


@pytest.fixture(scope="module")
def api(sqlite_template, tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "assent.db"
    shutil.copyfile(sqlite_template, path)
    with served(f"sqlite:///{path}") as api:
        yield api


@pytest.fixture
def someone(request):
    """A contact of each test's own, so that the tests share a server and no conversation."""
    number = sum(map(ord, request.node.name)) * 7919 % 9_000 + 1_000
    return f"+1404555{number:04}"


@pytest.fixture
def write(text, someone, request):
    return lambda *given, **more: (
        one := text(*given, **{"contact": someone} | more),
        one | {"id": more.get("id", f"{request.node.name}-{one['id']}")},
    )[1]


def is_problem(answer, status, code):
    told = answer.json()
    return (answer.status_code, answer.headers["content-type"], told["status"], told["code"]) == (
        status, "application/problem+json", status, code,
    )  # fmt: skip


def test_a_message_is_answered_with_its_verdict_and_again_with_the_same(api, write):
    message = write("Hi", sender="employee")

    first, again = api.receive(message), api.receive(message)

    assert (first["verdict"], first["state"], first["origin"]) == ("blocked", "pending", "mo")
    assert [one["to"] for one in first["auto_messages"]] == ["contact", "employee"]
    assert again == first


def test_the_same_id_with_another_content_is_409(api, write):
    message = write("Hi")
    api.receive(message)

    assert is_problem(api.post("/v1/messages", message | {"text": "Ho"}), 409, "id_conflict")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"contact": "see you at nine o'clock"}, "invalid_number"),
        ({"line": "+1404"}, "invalid_number"),
        ({"sender": "robot"}, "invalid_message"),
        ({"sent_at": "at nine o'clock"}, "invalid_message"),
        ({"org": "nobody"}, "unknown_organization"),
        ({"id": 7}, "invalid_message"),
        ({"event": "revoked"}, "invalid_message"),
    ],
)
def test_a_message_that_cannot_be_taken_is_422_and_not_quoted(api, write, change, code):
    answer = api.post("/v1/messages", write("see you at nine o'clock") | change)

    assert is_problem(answer, 422, code)
    assert "nine o'clock" not in answer.text


def test_what_is_no_json_is_400(api):
    for path in ("/v1/messages", "/v1/messages/batch", "/v1/events", "/v1/gate"):
        answer = api.session.post(
            api.url + path, data=b'{"text": "nine', headers={"content-type": "application/json"}, timeout=20
        )
        assert is_problem(answer, 400, "invalid_json"), path


def test_half_an_emoji_does_not_lose_a_stop(api, write):
    api.receive(write("Hi", sender="employee"))
    cut = json.dumps(write("STOP", "10:05")).replace("STOP", r"STOP \ud83d")

    answer = api.session.post(api.url + "/v1/messages", data=cut, timeout=20)

    assert (answer.status_code, answer.json()["state"], answer.json()["flags"]) == (200, "opted_out", ["repaired"])


def test_a_batch_is_answered_in_order_and_one_fault_spoils_no_other(api, write):
    batch = [write("Hi", sender="employee"), {"id": "?"}, write("YES", "10:02"), 7, write("STOP", "10:05")]

    answer = api.post("/v1/messages/batch", batch)

    assert answer.status_code == 200
    assert [one.get("state") or one["error"]["code"] for one in answer.json()] == [
        "pending", "invalid_message", "opted_in", "invalid_message", "opted_out",
    ]  # fmt: skip
    assert is_problem(api.post("/v1/messages/batch", [{}] * 1001), 422, "too_many")
    assert is_problem(api.post("/v1/messages/batch", {}), 422, "invalid_message")


def test_callers_at_once_are_each_answered_with_their_own(api, write):
    messages = [write("Hello", contact=f"+1415777{n:04}") for n in range(200, 240)]

    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(api.receive, messages))

    assert [one["id"] for one in answers] == [one["id"] for one in messages]
    entries = [entry for one in answers for entry in one["entries"]]
    assert len(set(entries)) == len(entries) == 120


def test_without_a_token_everything_but_the_two_health_calls_is_401(api):
    paths = {"/openapi.json", "/metrics", "/v1/nothing", "/", "/docs", "//v1/entries", "/livez/", "/portals"}
    calls = {("GET", path) for path in paths} | {
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, operations in api.get("/openapi.json").json()["paths"].items()
        for method in operations
        if path not in ("/livez", "/readyz")
    }
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
        for method, path in calls:
            answer = requests.request(method, api.url + path, headers=headers, timeout=20)
            assert is_problem(answer, 401, "unauthorized"), path
            assert answer.headers["www-authenticate"] == "Bearer"


def test_another_path_is_404_and_another_method_405(api):
    assert is_problem(api.get("/v1/nothing"), 404, "not_found")
    assert is_problem(api.get("/v1/messages"), 405, "method_not_allowed")
    assert is_problem(api.post("/v1/entries"), 405, "method_not_allowed")


def test_a_body_over_the_limit_is_413_told_beforehand_or_not(api):
    large = b'"' + b"x" * LIMIT + b'"'

    assert is_problem(api.session.post(api.url + "/v1/messages", data=large, timeout=20), 413, "too_large")
    streamed = api.session.post(api.url + "/v1/messages/batch", data=iter([large[:100_000], large]), timeout=20)
    assert is_problem(streamed, 413, "too_large")


def test_consent_at_an_instant_names_the_entry_that_proves_it(api, write, someone):
    api.receive(write("Hi", sender="employee"))
    agreed = api.receive(write("YES", "10:02"))

    [now] = api.get("/v1/consent", org="acme", contact=someone).json()
    [then] = api.get("/v1/consent", org="acme", contact=someone, channel="text", at="2024-05-06T10:01:00Z").json()
    # A `+` that nobody wrote as %2B is one all the same.
    careless = f"{api.url}/v1/consent?org=acme&contact={someone}&line=+14155550100&at=2024-05-06T12:01:00+02:00"
    [same] = api.session.get(careless, timeout=20).json()

    assert (now["allowed"], now["state"], now["origin"], now["entry"]) == (True, "opted_in", "mo", agreed["entries"][1])
    assert (now["org"], now["line"], now["contact"], now["channel"]) == ("acme", "+14155550100", someone, "text")
    assert now["known"] == {"allowed": True, "state": "opted_in", "entry": agreed["entries"][1]}
    assert (then["allowed"], then["state"], then["at"]) == (False, "pending", "2024-05-06T10:01:00.000000Z")
    assert same == then
    assert api.get("/v1/consent", org="acme", contact="+14045559999").json() == []


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"contact": "nine o'clock"}, 422, "invalid_number"),
        ({"org": "nobody"}, 404, "unknown_organization"),
        ({"at": "nine o'clock"}, 422, "invalid_request"),
        ({"at": "2024-05-06T10:00:00"}, 422, "invalid_request"),
        ({"channel": "pigeon"}, 422, "invalid_request"),
        ({"line": "12"}, 422, "invalid_number"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(api, asked, status, code):
    answer = api.get("/v1/consent", **{"org": "acme", "contact": "+14045550123"} | asked)

    assert is_problem(answer, status, code)
    assert "nine o'clock" not in answer.text


def test_the_gate_is_asked_just_before_a_text_is_sent(api, write, someone):
    asked = {"org": "acme", "line": "+14155550100", "contact": someone, "channel": "sms"}
    assert api.post("/v1/gate", asked).json() == {
        "allowed": False, "state": "none", "reason": "consent_required", "entry": None,
    }  # fmt: skip
    api.receive(write("Hi", sender="employee"))
    api.receive(write("YES", "10:02"))
    assert api.post("/v1/gate", asked).json()["allowed"] is True

    stopped = api.receive(write("STOP", "10:05"))

    assert api.post("/v1/gate", asked).json() == {
        "allowed": False, "state": "opted_out", "reason": "opted_out", "entry": stopped["entries"][1],
    }  # fmt: skip
    assert is_problem(api.post("/v1/gate", asked | {"org": "nobody"}), 404, "unknown_organization")
    assert is_problem(api.post("/v1/gate", asked | {"contact": "nine o'clock"}), 422, "invalid_number")
    del asked["line"]
    assert is_problem(api.post("/v1/gate", asked), 422, "invalid_request")


def test_the_ledger_is_read_a_page_at_a_time_without_gap_or_repeat(api, write):
    for n in range(5):
        api.receive(write("Hello", contact=f"+1628555{n:04}"))
    pages, after = [], None
    while True:
        page = api.get("/v1/entries", org="acme", limit=7, **({"after": after} if after else {})).json()
        pages.append(page["entries"])
        after = page["next"]
        if after is None:
            break

    entries = [entry for page in pages for entry in page]
    assert [entry["seq"] for entry in entries] == list(range(len(entries)))
    assert all(len(page) == 7 for page in pages[:-1])
    assert api.get(f"/v1/entries/{entries[-1]['id']}").json() == entries[-1]
    requests_only = api.get("/v1/entries", org="acme", kind="auto_message", lane="consent", limit=1000).json()[
        "entries"
    ]
    assert requests_only == [entry for entry in entries if entry["kind"] == "auto_message"]


def test_an_entrys_proof_leads_from_its_leaf_to_the_ledgers_root(api, write):
    for n in range(3):
        api.receive(write("Hello", contact=f"+1628556{n:04}"))
    entries = api.get("/v1/entries", org="acme", limit=1000).json()["entries"]

    for entry in entries:
        told = api.get(f"/v1/entries/{entry['id']}/proof").json()
        index, last, top = entry["seq"], told["size"] - 1, bytes.fromhex(entry["leaf_hash"])
        # RFC 9162, 2.1.3.2, written anew.
        for step in map(bytes.fromhex, told["path"]):
            if index & 1 or index == last:
                top = hashlib.sha256(b"\x01" + step + top).digest()
                while not index & 1 and index:
                    index, last = index >> 1, last >> 1
            else:
                top = hashlib.sha256(b"\x01" + top + step).digest()
            index, last = index >> 1, last >> 1
        assert (top.hex(), last) == (told["root"], 0)
        assert told["entry"] == entry
    assert is_problem(api.get("/v1/entries/acme-000000999999/proof"), 404, "not_found")


def test_entries_are_found_by_contact_line_employee_and_time_from_page_to_page(api, write, someone):
    other = write("Hello", contact="+16285550299")
    api.receive(other)
    for minute in range(4):
        api.receive(write(f"Text {minute}", f"10:0{minute}"))

    def walk(**filters):
        found, after = [], None
        while True:
            page = api.get("/v1/entries", org="acme", limit=3, **filters, **({"after": after} if after else {})).json()
            found += page["entries"]
            after = page["next"]
            if after is None:
                return found

    mine = walk(contact=someone)
    texts = walk(contact=someone, kind="message")
    assert [one["values"]["text"]["value"] for one in texts] == [f"Text {minute}" for minute in range(4)]
    assert {one["values"]["contact"]["value"] for one in mine} == {someone}
    assert [one["seq"] for one in mine] == sorted({one["seq"] for one in mine})
    assert walk(contact=someone, line="+14155550100", employee="e1") == mine
    assert walk(contact=someone, employee="nobody") == []
    instant = texts[2]["recorded_at"]
    assert walk(contact=someone, since=instant) == [one for one in mine if one["recorded_at"] >= instant]
    assert walk(contact=someone, until=instant, lane="messages") == [
        one for one in mine if one["recorded_at"] < instant and one["lane"] == "messages"
    ]
    assert walk(kind="setting", since="2100-01-01T00:00:00Z") == []
    assert is_problem(api.get("/v1/entries", org="acme", contact="nine o'clock"), 422, "invalid_number")
    assert is_problem(api.get("/v1/entries", org="acme", since="soon"), 422, "invalid_request")


def test_the_only_ledger_need_not_be_named_and_one_of_several_must_be(api):
    assert api.get("/v1/entries", limit=3).json() == api.get("/v1/entries", org="acme", limit=3).json()

    with api.database.write() as tx:
        create_organization(tx, "other", "Other Bank", parent=None, actor="test", now=1)

    assert is_problem(api.get("/v1/entries"), 422, "invalid_request")


def test_an_entry_that_is_not_there_is_404_and_what_is_no_id_422(api):
    assert is_problem(api.get("/v1/entries/acme-000000999999"), 404, "not_found")
    assert is_problem(api.get("/v1/entries/acme-7"), 422, "invalid_request")
    assert is_problem(api.get("/v1/entries", org="nobody"), 404, "unknown_organization")
    assert is_problem(api.get("/v1/entries", org="acme", limit=0), 422, "invalid_request")
    assert is_problem(api.get("/v1/entries", org="other", after="acme-000000000001"), 422, "invalid_request")


def test_health_needs_no_token(api):
    assert requests.get(api.url + "/livez", timeout=20).json() == {"status": "alive"}
    assert requests.get(api.url + "/readyz", timeout=20).json() == {"status": "ready"}


def test_the_description_names_every_call_and_the_token(api):
    told = api.get("/openapi.json").json()

    calls = {"/v1/messages", "/v1/messages/batch", "/v1/events", "/v1/gate", "/v1/consent", "/v1/entries",
             "/v1/entries/{entry_id}", "/livez", "/readyz"}  # fmt: skip
    assert calls <= told["paths"].keys()
    for path, operations in told["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == path.startswith(("/v1/", "/metrics"))
            assert operation["summary"]


def test_a_database_that_is_away_is_503_and_the_message_is_taken_when_it_is_back(
    make_postgres_url, postgres, write, someone
):
    url = make_postgres_url()
    name = make_url(url).database
    asked = {"org": "acme", "line": "+14155550100", "contact": someone, "channel": "sms"}
    with served(url) as api:
        api.receive(write("Hello"))
        postgres.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
        stop = write("STOP", "10:05")

        for answer in (
            api.post("/v1/messages", stop),
            api.post("/v1/messages/batch", [stop]),
            api.post("/v1/gate", asked),
        ):
            assert is_problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"]
            assert someone not in answer.text
        assert is_problem(api.get("/readyz"), 503, "unavailable")
        assert api.get("/livez").status_code == 200

        postgres.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert api.receive(stop)["state"] == "opted_out"
        assert api.post("/v1/gate", asked).json()["allowed"] is False
    assert someone not in api.logged.getvalue()


def test_no_number_name_or_text_was_logged(api, write):
    api.post("/v1/messages", write("see you at nine o'clock") | {"sender": 1})
    api.get("/v1/consent", org="acme", contact="+14045550123", at="x")

    logged = api.logged.getvalue()

    assert not [one for one in ("404555", "415555", "Ann Lee", "nine o'clock", TOKEN) if one in logged]
