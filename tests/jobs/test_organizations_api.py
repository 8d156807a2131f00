"""Features, texts, words and lines over HTTP: set, read back, refused by a rule, from two sides at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from consent.organizations import create_organization
from tests.jobs.test_api import is_problem, served


@pytest.fixture
def api(make_sqlite_url):
    with served(make_sqlite_url()) as api:
        yield api


def put(api, path, body):
    return api.session.put(f"{api.url}/v1/organizations/{path}", json=body, timeout=20)


def test_an_organization_is_told_with_the_settings_in_force(api):
    told = api.get("/v1/organizations/acme").json()

    assert told == api.get("/v1/organizations").json()["organizations"][0]
    assert (told["id"], told["mode"], told["languages"], told["opt_out_scope"]) == ("acme", "consent", ["en"], "pair")
    assert is_problem(api.get("/v1/organizations/nobody"), 404, "unknown_organization")


def test_organizations_are_read_a_page_at_a_time(api):
    with api.database.write() as tx:
        for n in range(5):
            create_organization(tx, f"org-{n}", f"Org {n}", parent=None, actor="test", now=1)

    first = api.get("/v1/organizations", limit=4).json()
    rest = api.get("/v1/organizations", limit=4, after=first["next"]).json()

    ids = [one["id"] for page in (first, rest) for one in page["organizations"]]
    assert ids == ["acme", *(f"org-{n}" for n in range(5))]
    assert rest["next"] is None


def test_a_change_is_told_as_it_is_now_in_force(api):
    assert put(api, "acme/settings", {"languages": ["en", "es"], "held_inbound": "discard"}).json()["languages"] == [
        "en", "es",
    ]  # fmt: skip
    assert put(api, "acme/features", {"mode": "disclaimer"}).json() == {
        "sms_opt_in": "off", "mode": "disclaimer", "group_messaging": "off", "released": [],
    }  # fmt: skip
    text = put(api, "acme/templates/help.contact", {"text": "Call <Organization>.", "language": "es"}).json()
    assert (text["text"], text["version"], text["language"]) == ("Call <Organization>.", 1, "es")
    assert api.get("/v1/organizations/acme/templates/help.contact", language="es").json() == text
    restored = put(api, "acme/templates/help.contact", {"text": None, "language": "es"}).json()
    assert restored["text"].startswith("[Auto Message]")
    words = put(api, "acme/keywords/opt_out", {"word": "basta", "language": "es"}).json()["keywords"]
    assert next(one for one in words if (one["use"], one["language"]) == ("opt_out", "es"))["shown"] == "basta"
    assert len(api.get("/v1/organizations/acme/templates").json()["templates"]) >= 14
    assert api.get("/v1/organizations/acme/keywords").json()["keywords"] == words


def test_a_line_is_registered_and_listed(api):
    told = put(api, "acme/lines/(415) 555-0100", {"employee": {"id": "e1", "name": "Ann Lee"}}).json()

    assert (told["line"], told["employee"], told["registered"]) == (
        "+14155550100", {"id": "e1", "name": "Ann Lee"}, True,
    )  # fmt: skip
    assert [one["line"] for one in api.get("/v1/organizations/acme/lines").json()["lines"]] == ["+14155550100"]
    assert is_problem(put(api, "acme/lines/see you", {"employee": {"id": "e1", "name": "Ann"}}), 422, "invalid_number")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("acme/features", {"group_messaging": "on"}, 409, "refused_by_policy"),
        ("acme/settings", {"capability": "not_ordered"}, 409, "refused_by_policy"),
        ("acme/keywords/opt_in", {"word": "STOP"}, 409, "refused_by_policy"),
        ("acme/templates/mo.request.contact", {"text": "Hello"}, 409, "refused_by_policy"),
        ("acme/settings", {"default_region": "Atlantis"}, 422, "invalid_setting"),
        ("acme/settings", {"languages": ["tlh"]}, 422, "invalid_setting"),
        ("acme/templates/mo.request.contact", {"text": "Hello", "language": "fr"}, 422, "invalid_setting"),
        ("acme/features", {"sms_opt_in": "perhaps"}, 422, "invalid_request"),
        ("acme/features", {"sms_opt_in": "on", "mode": "off"}, 422, "invalid_request"),
        ("acme/features", {"free_lunch": "on"}, 422, "invalid_request"),
        ("acme/templates/no.such.text", {"text": "Hello"}, 404, "not_found"),
        ("nobody/features", {"mode": "off"}, 404, "unknown_organization"),
        ("nobody/keywords/help", {"word": "aid"}, 404, "unknown_organization"),
    ],
)
def test_what_cannot_be_set_says_why_and_changes_nothing(api, path, body, status, code):
    before = api.get("/v1/entries", org="acme", limit=1000).json()["entries"]

    answer = put(api, path, body)

    assert is_problem(answer, status, code), answer.text
    assert api.get("/v1/entries", org="acme", limit=1000).json()["entries"] == before


def test_one_call_may_exchange_the_two_features_that_exclude_each_other(api):
    told = put(api, "acme/features", {"group_messaging": "on", "sms_opt_in": "off"}).json()

    assert (told["sms_opt_in"], told["group_messaging"]) == ("off", "on")
    assert put(api, "acme/features", {"group_messaging": "off", "sms_opt_in": "on"}).json()["mode"] == "consent"


def test_of_the_two_features_enabled_at_once_exactly_one_succeeds(make_database_url):
    with served(make_database_url()) as api:
        put(api, "acme/features", {"sms_opt_in": "off"})
        for _ in range(5):
            together = threading.Barrier(2)

            def switch(feature, together=together):
                together.wait()
                return put(api, "acme/features", {feature: "on"})

            with ThreadPoolExecutor(2) as pool:
                answers = list(pool.map(switch, ("sms_opt_in", "group_messaging")))

            refused = [one for one in answers if one.status_code != 200]
            assert len(refused) == 1
            assert is_problem(refused[0], 409, "refused_by_policy")
            told = api.get("/v1/organizations/acme/features").json()
            assert [told["sms_opt_in"], told["group_messaging"]].count("on") == 1
            put(api, "acme/features", {"sms_opt_in": "off", "group_messaging": "off"})
