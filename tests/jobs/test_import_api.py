"""`POST /v1/consents/import` behind a real server: rows in, answers in their order."""

import json
import shutil

import pytest

from tests.jobs.test_api import served


@pytest.fixture(scope="module")
def api(sqlite_template, tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "assent.db"
    shutil.copyfile(sqlite_template, path)
    with served(f"sqlite:///{path}") as api:
        yield api


def row(number, consent="opted_in", **more):
    return {"contact": f"+1404555{number:04d}", "line": "+14155550100", "consent": consent, "evidence": "form 1",
            "at": "2025-01-02T10:00:00Z"} | more  # fmt: skip


def imported(api, rows, **parameters):
    answer = api.session.post(
        f"{api.url}/v1/consents/import", json=rows, params={"org": "acme"} | parameters, timeout=20
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_rows_are_answered_in_their_order_and_a_faulty_one_in_its_place(api):
    answers = imported(
        api, [row(1), "no object", row(2, "maybe"), row(3, "opted_out", org="nobody"), row(4, "stop"), row(1)]
    )

    assert [one["row"] for one in answers] == [1, 2, 3, 4, 5, 6]
    assert [one.get("outcome") or one["error"]["code"] for one in answers] == [
        "opted_in", "invalid_row", "invalid_consent", "unknown_organization", "opted_out", "duplicate",
    ]  # fmt: skip
    gate = api.post("/v1/gate", {"org": "acme", "line": "+14155550100", "contact": "+14045550001", "channel": "sms"})
    assert (gate.json()["allowed"], gate.json()["entry"]) == (True, answers[0]["entries"][0])


def test_the_same_rows_again_are_answered_with_the_same_entries(api):
    first, again = imported(api, [row(11)]), imported(api, [row(11, contact="(404) 555-0011")])

    assert again[0]["outcome"] == "already_imported"
    assert again[0]["entries"] == first[0]["entries"]


def test_json_lines_are_rows_too_and_a_dry_run_changes_nothing(api):
    lines = "\n".join(json.dumps(row(contact, at="2025-01-02 10:00")) for contact in (21, 22)) + "\n"
    parameters = {"org": "acme", "timezone": "America/New_York"}
    url = f"{api.url}/v1/consents/import"

    planned = api.session.post(url, data=lines, params=parameters | {"dry_run": "true"}, timeout=20).json()
    taken = api.session.post(url, data=lines, params=parameters, timeout=20).json()

    assert [one["outcome"] for one in planned] == [one["outcome"] for one in taken] == ["opted_in"] * 2
    assert [one["entries"] for one in planned] == [[], []]


def test_held_texts_are_named_when_an_import_releases_them(api, text):
    held = text("Hello?", contact="+14045550031")
    assert api.receive(held)["verdict"] == "held"

    [answer] = imported(api, [row(31)])

    assert answer["released"] == [held["id"]]
    assert answer["auto_messages"] == []


def test_what_cannot_be_read_at_all_is_a_problem(api):
    url = f"{api.url}/v1/consents/import"
    asked = [
        ("{", {}, 400, "invalid_json"),
        (json.dumps([row(at % 9_000) for at in range(1_001)]), {}, 422, "too_many"),
        (json.dumps([row(1)]), {"org": "nobody"}, 404, "unknown_organization"),
        (json.dumps([row(1)]), {"timezone": "Mars/Base"}, 422, "invalid_request"),
        (json.dumps([row(1, phone="+14045550002")]), {}, 422, "invalid_request"),
    ]

    told = [api.session.post(url, data=body, params=parameters, timeout=20) for body, parameters, _, _ in asked]

    assert [(one.status_code, one.json()["code"]) for one in told] == [(status, code) for *_, status, code in asked]
    assert "404555" not in api.logged.getvalue() + "".join(one.text for one in told)


def test_the_events_door_knows_no_import(api):
    forged = {"id": "f1", "org": "acme", "event": "imported"} | row(41)

    answers = [api.post("/v1/events", forged), api.post("/v1/messages/batch", [forged])]

    assert answers[0].json()["code"] == "invalid_message"
    assert answers[1].json()[0]["error"]["code"] == "invalid_message"


def test_the_description_names_the_call_and_its_rows(api):
    call = api.get("/openapi.json").json()["paths"]["/v1/consents/import"]["post"]

    assert call["requestBody"]["content"]["application/json"]["schema"]["maxItems"] == 1_000
    assert call["security"] == [{"token": []}]
