"""`init` and `serve` as processes: what they make, what they answer, how they end."""

import itertools
import json
import signal
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import requests

from tests.jobs.conftest import Place

ROOT = Path(__file__).parents[2]
_NUMBERS = itertools.count(100)


class Served:
    """A running `assent serve`, and a caller with its token."""

    def __init__(self, place, *arguments):
        self.process = place.start("serve", "--port", "0", *arguments)
        self.token = (place.folder / "var/keys/api-token").read_text().strip()
        self.log = []
        self.url = None
        for line in self.process.stderr:
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == "server.started":
                self.url = self.log[-1]["url"]
                break

    def call(self, method, path, **how):
        headers = {"authorization": f"Bearer {self.token}"} | how.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=30, **how)

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        rest = self.process.communicate(timeout=30)[1]
        self.log += [json.loads(line) for line in rest.splitlines()]
        return self.process.returncode


@pytest.fixture(scope="module")
def served_place(tmp_path_factory):
    """One running server for all that only ask; it keeps no state between them but its ledger."""
    place = Place(tmp_path_factory.mktemp("served"))
    assert place.run("init").code == 0
    assert place.run("org", "create", "acme", "--name", "Acme Bank").code == 0
    assert place.run("feature", "set", "acme", "sms_opt_in", "on").code == 0
    return place


@pytest.fixture(scope="module")
def served(served_place):
    served = Served(served_place)
    yield served
    served.end(signal.SIGKILL)


@pytest.fixture
def message():
    """Write texts of a contact that no other test has."""
    number = next(_NUMBERS)

    def write(text, *, at="10:00", **more):
        return {
            "id": f"SM{next(_NUMBERS)}", "org": "acme", "channel": "sms", "sender": "contact", "line": "+14155550100",
            "contact": f"+1404555{number:04}", "text": text, "sent_at": f"2024-05-06T{at}:00Z", **more,
        }  # fmt: skip

    return write


def is_problem(answer, status, code):
    told = answer.json()
    return (
        answer.status_code == status
        and answer.headers["content-type"] == "application/problem+json"
        and told["status"] == status
        and told["code"] == code
        and {"type", "title", "detail"} <= told.keys()
    )


def test_init_makes_all_that_a_start_needs_and_keeps_secrets_to_their_owner(bare):
    made = bare.run("init", "--json")

    assert made.code == 0
    assert {Path(path).name for path in made.json["made"]} == {
        "settings.toml", "api-token", "portal-secret", "evidence-key",
    }  # fmt: skip
    for name in ("api-token", "portal-secret", "evidence-key"):
        assert stat.S_IMODE((bare.folder / "var/keys" / name).stat().st_mode) == 0o600
    assert bare.run("config", "check").code == 0
    assert bare.run("db", "current", "--json").json["up_to_date"]
    assert (bare.folder / "var/archive").is_dir()


def test_a_second_init_overwrites_nothing(bare):
    bare.run("init")
    (bare.folder / "settings.toml").write_text("[server]\nport = 9000\n")
    token = (bare.folder / "var/keys/api-token").read_text()

    again = bare.run("init", "--json")

    assert again.code == 0
    assert again.json["made"] == []
    assert len(again.json["kept"]) == 4
    assert (bare.folder / "settings.toml").read_text() == "[server]\nport = 9000\n"
    assert (bare.folder / "var/keys/api-token").read_text() == token


def test_the_settings_at_the_top_are_those_that_init_writes():
    shipped = (ROOT / "settings.toml").read_bytes()

    assert shipped == (ROOT / "jobs/settings/template.toml").read_bytes()
    assert tomllib.loads(shipped.decode())["destinations"]["archive"]["kind"] == "archive"


def test_serving_without_a_token_is_refused_before_anything_starts(place):
    ended = place.run("serve", "--port", "0")

    assert ended.code == 4
    assert "server.token_file" in ended.err
    assert "assent init" in ended.err


def test_a_port_that_is_taken_is_told_with_what_to_do(served_place, served):
    ended = served_place.run("serve", "--port", served.url.rsplit(":", 1)[1])

    assert ended.code == 4
    assert "choose another port" in ended.err


def test_health_needs_no_token_and_everything_else_does(served):
    assert requests.get(served.url + "/livez", timeout=30).json() == {"status": "alive"}
    assert requests.get(served.url + "/readyz", timeout=30).json() == {"status": "ready"}

    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": served.token}):
        refused = requests.post(served.url + "/v1/messages", json={}, headers=headers, timeout=30)
        assert is_problem(refused, 401, "unauthorized")
        assert refused.headers["www-authenticate"] == "Bearer"


def test_every_error_is_a_problem_that_quotes_nothing(served, message):
    taken = message("YES")
    served.call("POST", "/v1/messages", json=taken)
    answers = []

    def call(method, path, **how):
        answers.append(served.call(method, path, **how))
        return answers[-1]

    assert is_problem(call("GET", "/v1/nowhere"), 404, "not_found")
    assert is_problem(call("GET", "/nowhere"), 404, "not_found")
    assert is_problem(call("DELETE", "/v1/messages"), 405, "method_not_allowed")
    assert is_problem(call("POST", "/v1/messages", data=b"{"), 400, "invalid_json")
    assert is_problem(call("POST", "/v1/messages", data=b'{"a": "\xff"}'), 400, "invalid_json")
    assert is_problem(call("POST", "/v1/messages", json=[]), 422, "invalid_message")
    assert is_problem(call("POST", "/v1/messages", json=message("Hi", org="nope")), 422, "unknown_organization")
    assert is_problem(call("POST", "/v1/messages", json=message("Hi", contact="?")), 422, "invalid_number")
    assert is_problem(call("POST", "/v1/messages", json={**taken, "text": "other"}), 409, "id_conflict")
    assert is_problem(call("POST", "/v1/events", json=taken), 422, "invalid_message")
    assert is_problem(call("POST", "/v1/messages/batch", json=[{}] * 1001), 422, "too_many")
    assert is_problem(call("GET", "/v1/entries?limit=x"), 422, "invalid_request")
    assert is_problem(call("GET", "/v1/entries?org=acme&limit=0"), 422, "invalid_request")
    assert is_problem(call("GET", "/v1/entries/acme-1"), 422, "invalid_request")
    assert is_problem(call("GET", "/v1/entries/acme-000000009999"), 404, "not_found")
    assert is_problem(call("POST", "/v1/gate", json={"contact": taken["contact"]}), 422, "invalid_request")
    assert not any(taken["contact"][1:] in answer.text for answer in answers)


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_refused_whether_its_size_is_declared_or_not(served, declared):
    def parts():
        for _ in range(130):
            yield b" " * 65536

    body = b" " * (130 * 65536) if declared else parts()

    assert is_problem(served.call("POST", "/v1/messages", data=body), 413, "too_large")


def test_a_message_is_answered_and_its_repeat_the_same(served, message):
    asked = message("hello")

    first, again = (served.call("POST", "/v1/messages", json=asked) for _ in range(2))

    assert first.status_code == 200
    assert first.json() == again.json()
    assert first.json()["verdict"] == "held"


def test_a_batch_is_answered_in_order_with_its_errors_in_place(served, message):
    messages = [message("hello"), "no object", message("YES", at="10:05")]

    answers = served.call("POST", "/v1/messages/batch", json=messages).json()

    assert [answer.get("verdict") for answer in answers] == ["held", None, "consumed"]
    assert answers[1]["error"]["code"] == "invalid_message"


def test_the_ledger_is_read_a_page_at_a_time_to_its_end(served, message):
    for at in ("10:00", "10:01", "10:02"):
        served.call("POST", "/v1/messages", json=message("hello again", at=at))

    seen, after = [], None
    while True:
        page = served.call("GET", "/v1/entries", params={"org": "acme", "limit": 2, "after": after}).json()
        seen += [entry["seq"] for entry in page["entries"]]
        after = page["next"]
        if after is None:
            break
    consent = served.call("GET", "/v1/entries", params={"org": "acme", "lane": "consent"}).json()["entries"]

    assert seen == list(range(len(seen)))
    assert {entry["lane"] for entry in consent} == {"consent"}
    assert [entry["pos"] for entry in consent] == list(range(len(consent)))


def test_what_is_documented_is_what_is_served(served):
    document = served.call("GET", "/openapi.json").json()

    assert {"/v1/messages", "/v1/messages/batch", "/v1/events", "/v1/gate", "/v1/consent", "/v1/entries",
            "/v1/entries/{entry_id}", "/livez", "/readyz"} <= document["paths"].keys()  # fmt: skip
    assert served.call("GET", "/docs").status_code == 404


def test_serve_delivers_what_it_takes_and_sigterm_ends_it_with_143(acme, text):
    acme.run("init")
    served = Served(acme)
    entries = served.call("POST", "/v1/messages", json=text("STOP")).json()["entries"]

    ended = served.end(signal.SIGTERM)

    assert ended == 143
    assert acme.run("sync").code == 0
    archived = b"".join(path.read_bytes() for path in (acme.folder / "var/archive").rglob("*") if path.is_file())
    assert all(entry.encode() in archived for entry in entries)
    events = [line["event"] for line in served.log if line["event"].startswith("server.")]
    assert events == ["server.started", "server.stopped"]
    assert "4045550123" not in json.dumps(served.log)


def test_serve_splits_into_two_processes(acme):
    acme.run("init")
    both = acme.run("serve", "--no-jobs", "--jobs-only")
    jobs = acme.start("serve", "--jobs-only")
    for line in jobs.stderr:
        if json.loads(line)["event"] == "jobs.started":
            break

    jobs.send_signal(signal.SIGTERM)
    jobs.communicate(timeout=30)

    assert both.code == 2
    assert jobs.returncode == 143


def test_help_imports_nothing_heavy():
    heavy = ("sqlalchemy", "pydantic", "fastapi", "uvicorn", "jinja2", "alembic", "simple_salesforce", "requests",
             "cryptography", "phonenumbers", "apscheduler", "orjson", "structlog")  # fmt: skip
    program = (
        "import sys\nfrom jobs.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)

    assert ended.stderr.strip() == "[]"
