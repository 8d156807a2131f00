"""Reviews as people meet them: on the command line, in status, and over HTTP."""

import json
import shutil
import threading
from contextlib import contextmanager

import pytest
import requests
import uvicorn

from consent.database import open_database
from consent.organizations import create_organization, set_feature
from jobs.api import Token, create_app
from sync.intake import Intake

TOKEN = "the-token-of-the-reviewers"
DOUBTFUL = "Yes, cancel the limit order"


@pytest.fixture
def doubted(acme, text):
    """A place whose contacts opted in and then wrote what may be a revocation; the ids of the three reviews."""
    told = "".join(
        json.dumps(text(said, at, sender=sender, contact=f"+1404555012{who}")) + "\n"
        for who in (3, 4, 5)
        for said, at, sender in (("Hi", "10:00", "employee"), ("YES", "10:05", "contact"),
                                 (f"{DOUBTFUL} {who}", f"10:1{who}", "contact"))
    )  # fmt: skip
    answers = acme.run("ingest", "-", told=told).lines
    assert [answer["flags"] for answer in answers[2::3]] == [["possible_revocation"]] * 3
    return acme, [answer["entries"][1] for answer in answers[2::3]]


def test_what_waits_is_listed_and_closed_with_a_reason(doubted):
    place, (first, second, third) = doubted

    listed, table, closed, again, other, left, everything, overdue, status = place.run_all(
        ("review", "list", "--json"),
        ("review", "list"),
        ("review", "close", first, "--as", "opted_out", "--reason", "she said so", "--json"),
        ("--json", "review", "close", first, "--as", "opted_out", "--reason", "in other words"),
        ("review", "close", first, "--as", "no_revocation", "--reason", "an order"),
        ("review", "list", "--org", "acme", "--json"),
        ("review", "list", "--all", "--json"),
        ("review", "list", "--overdue"),
        ("status", "--json"),
    )

    assert [one["id"] for one in listed.lines] == [first, second, third]
    assert listed.lines[0] | {"conversation": "", "message_id": ""} == {
        "id": first, "organization": "acme", "sub_organization": None, "conversation": "", "channel": "sms",
        "line": "+14155550100", "employee_id": "e1", "employee_name": "Ann Lee", "contact": "+14045550123",
        "message_id": "", "text": f"{DOUBTFUL} 3", "word": "cancel", "tier": 9, "before": "opted_in",
        "sent_at": "2024-05-06T10:13:00.000000Z", "due_at": "2024-05-20T10:13:00.000000Z", "overdue": True,
        "state": "opted_in", "outcome": None, "closed_at": None, "closed_by": None, "actor": None, "reason": None,
    }  # fmt: skip
    assert "2024-05-20T10:13Z OVERDUE" in table.out
    assert [one["template"] for one in closed.json["auto_messages"]] == ["mo.rejected.contact", "mo.rejected.employee"]
    assert (again.code, again.json) == (0, closed.json)
    assert (other.code, other.err) == (
        8, "assent: this review was closed before, not as no_revocation: that is final\n"
    )  # fmt: skip
    assert [one["id"] for one in left.lines] == [second, third]
    done = everything.lines[0]
    assert [one["id"] for one in everything.lines] == [first, second, third]
    assert (done["outcome"], done["reason"], done["state"], done["overdue"], done["closed_by"]) == (
        "opted_out", "she said so", "opted_out", False, closed.json["entries"][0]
    )  # fmt: skip
    assert done["actor"].startswith("cli-")
    assert overdue.out.count("OVERDUE") == 2
    assert status.json["reviews"] == [
        {"organization": "acme", "open": 2, "overdue": 2, "next_due_at": "2024-05-20T10:14:00.000000Z"}
    ]


def test_a_page_names_where_the_next_one_begins(doubted):
    place, reviews = doubted

    first, rest, status, closed = place.run_all(
        ("review", "list", "--limit", "2", "--json"),
        ("review", "list", "--limit", "2", "--after", reviews[1], "--json"),
        ("status",),
        ("review", "close", reviews[0], "--as", "no_revocation", "--reason", "an order"),
    )

    assert [one["id"] for one in first.lines + rest.lines] == reviews
    assert (first.err, rest.err) == (f"there are more: --after {reviews[1]}\n", "")
    assert status.out.splitlines()[-1].split() == ["acme", "3", "3", "2024-05-20T10:13:00.000000Z"]
    assert closed.out == f"closed {reviews[0]} as no_revocation\n"


def test_a_person_who_comes_too_late_is_told_what_stands(doubted, text):
    place, (first, second, _) = doubted
    later = [text("STOP", "11:00", contact="+14045550123"), text("STOP", "11:00", contact="+14045550124"),
             text("YES", "11:05", contact="+14045550124")]  # fmt: skip
    place.run("ingest", "-", told="".join(json.dumps(one) + "\n" for one in later))

    stopped, agreed = place.run_all(
        *(("review", "close", review, "--as", "opted_out", "--reason", "she said so") for review in (first, second))
    )

    assert stopped.out == f"closed {first} as opted_out; the contact was opted out already\n"
    assert agreed.out == f"closed {second} as opted_out; the contact decided again after that text, and that stands\n"


def test_what_cannot_be_done_says_what_to_do_and_changes_nothing(doubted):
    place, (review, *_) = doubted
    close = ("review", "close", review, "--as", "opted_out", "--reason")

    before, blank, *wrong, both, nobody, bad_page, after = place.run_all(
        ("export", "-o", "-", "--org", "acme"),
        (*close, "  "),
        ("review", "close", "acme-000000000001", "--as", "opted_out", "--reason", "R"),
        ("review", "close", "globex-000000000001", "--as", "opted_out", "--reason", "R"),
        ("review", "close", "+14045550123", "--as", "opted_out", "--reason", "R"),
        ("review", "close", review, "--as", "maybe", "--reason", "R"),
        ("review", "close", review, "--as", "opted_out"),
        ("review", "list", "--all", "--overdue"),
        ("review", "list", "--org", "globex"),
        ("review", "list", "--after", "acme-000000000001"),
        ("export", "-o", "-", "--org", "acme"),
    )

    ended = [blank, *wrong, both, nobody, bad_page]
    assert [one.code for one in ended] == [2] * len(ended)
    assert "`reason` is blank" in blank.err
    assert all("assent review list" in one.err for one in wrong[:3])
    assert not any("4045550123" in one.err for one in ended)
    assert "--all and --overdue exclude each other" in both.err
    assert "there is no organization of this id" in nobody.err
    assert after.out == before.out


class Api:
    """A client of a served organization."""

    def __init__(self, url, intake):
        self.url, self.intake = url, intake
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["authorization"] = f"Bearer {TOKEN}"

    def get(self, path, **params):
        return self.session.get(self.url + path, params=params, timeout=20)

    def close(self, review, **body):
        return self.session.post(f"{self.url}/v1/reviews/{review}/close", json=body, timeout=20)


@contextmanager
def served(url, woken):
    database = open_database(url)
    with database.write() as tx:
        create_organization(tx, "acme", "Acme Bank", parent=None, actor="test", now=1)
        set_feature(tx, "acme", "sms_opt_in", True, actor="test", now=1)
    intake = Intake(database, committed=woken.extend)
    app = create_app(database, intake, Token(TOKEN), max_body_bytes=100_000)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        threading.Event().wait(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    api = Api(f"http://127.0.0.1:{port}", intake)
    try:
        yield api
    finally:
        api.session.close()
        server.should_exit = True
        thread.join()
        intake.close()
        database.dispose()


@pytest.fixture
def woken():
    """The ledgers whose commits the deliveries of this process were told of."""
    return []


@pytest.fixture
def api(sqlite_template, tmp_path, woken):
    shutil.copyfile(sqlite_template, tmp_path / "assent.db")
    with served(f"sqlite:///{tmp_path}/assent.db", woken) as api:
        yield api


@pytest.fixture
def reviews(api, text):
    """Three reviews of one contact, in the order they are due."""
    answers = api.intake.take([
        text("Hi", "10:00", sender="employee"), text("YES", "10:05"),
        *(text(f"{DOUBTFUL} {count}", f"10:1{count}") for count in range(3)),
    ])  # fmt: skip
    return [answer["entries"][1] for answer in answers[2:]]


def test_reviews_are_read_and_closed_over_http(api, reviews, woken):
    page = api.get("/v1/reviews", limit=2).json()
    rest = api.get("/v1/reviews", limit=2, after=page["next"], org="acme").json()
    before = len(woken)

    closed = api.close(reviews[0], **{"as": "opted_out", "reason": "she said so"})
    again = api.close(reviews[0], **{"as": "opted_out", "reason": "in other words"})
    other = api.close(reviews[0], **{"as": "no_revocation", "reason": "an order"})
    late = api.close(reviews[1], **{"as": "opted_out", "reason": "she said so"})

    assert [one["id"] for one in page["reviews"] + rest["reviews"]] == reviews
    assert (page["next"], rest["next"]) == (reviews[1], None)
    assert (closed.status_code, again.json()) == (200, closed.json())
    assert closed.json()["reason"] == "opted_out"
    assert [one["to"] for one in closed.json()["auto_messages"]] == ["contact", "employee"]
    assert (other.status_code, other.json()["code"]) == (409, "review_closed")
    assert other.json()["detail"] == "This review was closed before, not as no_revocation: that is final."
    assert (late.json()["reason"], late.json()["changed"]) == ("duplicate", [])
    # Whoever delivers hears of an opt-out at once.
    assert len(woken) >= before + 2
    [done, *_] = api.get("/v1/reviews", state="all").json()["reviews"]
    assert (done["outcome"], done["reason"], done["actor"]) == ("opted_out", "she said so", "api")
    assert [one["id"] for one in api.get("/v1/reviews", state="overdue").json()["reviews"]] == reviews[2:]


@pytest.mark.parametrize(
    ("review", "body", "status", "code"),
    [
        (None, {"as": "maybe", "reason": "R"}, 422, "invalid_request"),
        (None, {"as": "opted_out"}, 422, "invalid_request"),
        (None, {"as": "opted_out", "reason": " "}, 422, "invalid_request"),
        (None, {"as": "opted_out", "reason": 5}, 422, "invalid_request"),
        (None, {"as": "opted_out", "reason": "R", "note": "R"}, 422, "invalid_request"),
        ("acme-000000000001", {"as": "opted_out", "reason": "R"}, 404, "not_found"),
        ("globex-000000000001", {"as": "opted_out", "reason": "R"}, 404, "not_found"),
        ("14045550123", {"as": "opted_out", "reason": "R"}, 404, "not_found"),
    ],
)
def test_a_judgment_that_cannot_be_taken_is_refused_and_nothing_is_quoted(api, reviews, review, body, status, code):
    answer = api.close(review or reviews[0], **body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "4045550123" not in answer.text
    assert len(api.get("/v1/reviews").json()["reviews"]) == 3


def test_a_list_that_cannot_be_given_is_refused(api, reviews):
    nobody, wrong, unknown = (
        api.get("/v1/reviews", org="globex"), api.get("/v1/reviews", after="x"), api.get("/v1/reviews", state="done"),
    )  # fmt: skip
    api.session.headers["authorization"] = "Bearer another"

    assert (nobody.status_code, nobody.json()["code"]) == (404, "unknown_organization")
    assert (wrong.status_code, unknown.status_code) == (422, 422)
    assert (api.get("/v1/reviews").status_code, api.close(reviews[0]).status_code) == (401, 401)
