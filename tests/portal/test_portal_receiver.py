"""What the receiving end takes from whom, byte by byte."""

import json
import time
from datetime import UTC, datetime

import orjson
import pytest
import requests
from standardwebhooks import Webhook

from connectors.portal import protocol
from consent.entry import Entry, entry_json
from tests.portal.portal_world import text_entry, texts

ROUTES = (protocol.BATCHES, protocol.HELD, protocol.HEADS)


def ask(portal, path, body, headers=None):
    headers = protocol.sign([portal.secret], body, time.time()) if headers is None else headers
    with requests.Session() as session:
        session.trust_env = False
        return session.post(portal.url + path, data=body, headers=headers, allow_redirects=False)


def documents(entries):
    return protocol.batch_request(entries[0].organization, entries[0].lane, [entry_json(entry) for entry in entries])


@pytest.mark.parametrize("path", ROUTES)
def test_nothing_is_taken_or_told_without_a_signature(portal, path):
    answer = ask(portal, path, documents(texts(1)), headers={})

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "signature"
    assert portal.count() == 0


@pytest.mark.parametrize(
    "signature",
    ["v1,AAAA", "v1", "v1,!!", "v2,AAAA", ",", "v1,é", "v1,AAAA v1,BBBB " * 50],
)
def test_a_signature_that_is_none_is_refused(portal, signature):
    body = documents(texts(1))
    signed = protocol.sign([portal.secret], body, time.time()) | {"webhook-signature": signature.encode()}

    assert ask(portal, protocol.BATCHES, body, signed).status_code == 401


@pytest.mark.parametrize(("off", "code"), [(-301, "timestamp"), (302, "timestamp"), (-290, None), (290, None)])
def test_an_old_request_and_one_from_the_future_are_refused(portal, off, code):
    body = documents(texts(1))

    answer = ask(portal, protocol.BATCHES, body, protocol.sign([portal.secret], body, time.time() + off))

    assert (answer.status_code, answer.json().get("code")) == ((401, code) if code else (200, None))


@pytest.mark.parametrize("when", ["", "soon", "nan", "inf", "-1", "9" * 30])
def test_a_timestamp_that_is_none_is_refused(portal, when):
    body = documents(texts(1))
    signed = protocol.sign([portal.secret], body, time.time()) | {"webhook-timestamp": when}

    assert ask(portal, protocol.BATCHES, body, signed).status_code == 401


def test_a_request_changed_on_the_way_is_refused(portal):
    body = documents(texts(1))
    signed = protocol.sign([portal.secret], body, time.time())

    for changed in (body + b" ", body.replace(b"delivered", b"blocked"), b"\xff" + body):
        assert ask(portal, protocol.BATCHES, changed, signed).status_code == 401
    for name, value in (("webhook-id", "msg_other"), ("webhook-timestamp", str(int(time.time()) - 60))):
        assert ask(portal, protocol.BATCHES, body, signed | {name: value}).status_code == 401
    assert portal.count() == 0


def test_a_replayed_request_changes_nothing(portal):
    body = documents(texts(5))
    signed = protocol.sign([portal.secret], body, time.time())

    answers = [ask(portal, protocol.BATCHES, body, signed).json()["results"] for _ in range(2)]
    portal.now += 1
    answers.append(ask(portal, protocol.BATCHES, body, signed).json()["results"])

    assert {result["status"] for result in answers[0]} == {"stored"}
    assert {result["status"] for result in answers[2]} == {"duplicate"}
    assert [result["digest"] for result in answers[0]] == [result["digest"] for result in answers[2]]
    assert portal.count() == 5


def test_a_request_signed_for_one_path_does_nothing_at_another(portal):
    body = documents(texts(1))

    assert [ask(portal, path, body).status_code for path in (protocol.HELD, protocol.HEADS)] == [422, 422]


def test_the_library_of_any_sender_makes_the_same_signature(portal):
    body, now = documents(texts(1)), int(time.time())
    signature = Webhook(portal.secret).sign("msg_1", datetime.fromtimestamp(now, UTC), body.decode())
    headers = {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(now), "Webhook-Signature": f"v1,AAAA {signature}"}

    assert ask(portal, protocol.BATCHES, body, headers).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"\\ud800"',
        b"[" * 10_000,
        b'{"organization":"acme","lane":"messages","entries":[]}',
        b'{"organization":"acme","lane":"messages","entries":{}}',
        b'{"organization":"acme","lane":"chat","entries":[{}]}',
        b'{"organization":"acme","lane":["messages"],"entries":[{}]}',
        b'{"organization":"Acme Corp","lane":"messages","entries":[{}]}',
        b'{"organization":"acme","lane":"messages","entries":[{}],"more":1}',
        b'{"organization":"acme","lane":"messages","entries":[%s]}' % b",".join([b"{}"] * 1_001),
    ],
)
def test_a_batch_of_another_shape_is_refused_whole(portal, body):
    answer = ask(portal, protocol.BATCHES, body)

    assert answer.status_code == 422
    assert answer.json()["code"] == "malformed"


@pytest.mark.parametrize("path", [protocol.HELD, protocol.HEADS])
@pytest.mark.parametrize(
    "changes",
    [
        {"organization": 7},
        {"organization": "a\u0000b"},
        {"lane": "chat", "lanes": {"chat": {"size": 1, "settled": 1}}},
        {"first": -1, "size": -1},
        {"last": 2**64, "size": 2**63},
        {"last": True, "size": True},
        {"first": "0", "root": "00"},
        {"last": None, "recorded_at": "yesterday"},
        {"lane": {}, "lanes": []},
        {"lane": None, "lanes": {"consent": {"size": 1}}},
        {"first": 1.0, "checkpoint": 5},
    ],
)
def test_a_question_of_another_shape_is_refused(portal, path, changes):
    asked = {
        protocol.HELD: {"organization": "acme", "lane": "consent", "first": 0, "last": 9},
        protocol.HEADS: {
            "organization": "acme", "size": 1, "root": "00" * 32, "lanes": {"consent": {"size": 1, "settled": 1}},
            "recorded_at": "2026-11-23T10:00:00.000000Z", "checkpoint": None,
        },
    }[path]  # fmt: skip
    assert ask(portal, path, orjson.dumps(asked)).status_code == 200

    spoiled = asked | {name: value for name, value in changes.items() if name in asked}

    assert ask(portal, path, json.dumps(spoiled).encode()).status_code == 422


@pytest.mark.parametrize("name", sorted(orjson.loads(entry_json(text_entry(0)))))
@pytest.mark.parametrize("value", [None, -1, 2**63, 1.5, True, "", "\u0000", "x" * 5_000, [], {}, {"text": 1}])
def test_an_entry_with_anything_anywhere_is_refused_alone_and_never_breaks_the_portal(portal, name, value):
    spoiled = orjson.loads(entry_json(text_entry(0)))
    if spoiled[name] == value or (name, value) == ("values", None) or (name, value) == ("values", {}):
        spoiled["leaf_hash"] = "0" * 64
    else:
        spoiled[name] = value

    good = orjson.loads(entry_json(text_entry(1)))

    body = orjson.dumps({"organization": "acme", "lane": "messages", "entries": [spoiled, good]})
    answer = ask(portal, protocol.BATCHES, body)

    assert answer.status_code == 200
    assert [result["status"] for result in answer.json()["results"]] == ["invalid", "stored"]


@pytest.mark.parametrize("thing", [None, 1, "x", [], {}, {"id": 5}, {"id": "acme-000000000000"}])
def test_an_entry_that_is_none_is_refused_alone(portal, thing):
    body = orjson.dumps({"organization": "acme", "lane": "messages", "entries": [thing]})

    (result,) = ask(portal, protocol.BATCHES, body).json()["results"]

    assert (result["status"], result["reason"], result["digest"]) == ("invalid", "malformed", None)


def test_a_body_beyond_the_limit_is_refused_unread(portal):
    body = b"x" * (protocol.MAX_BYTES + 1)
    signed = protocol.sign([portal.secret], b"", time.time())

    declared = requests.Request("POST", portal.url + protocol.BATCHES, data=b"", headers=signed).prepare()
    declared.headers["content-length"] = str(len(body))
    with requests.Session() as session:
        assert session.send(declared).status_code == 413


def test_a_body_that_hides_its_size_is_stopped_at_the_limit(portal):
    signed = protocol.sign([portal.secret], b"", time.time())
    pieces = (b"x" * 65_536 for _ in range(protocol.MAX_BYTES // 65_536 + 2))

    try:
        status = ask(portal, protocol.BATCHES, pieces, signed).status_code
    except requests.ConnectionError:  # the portal hung up before we had sent it all
        status = 413

    assert status == 413
    assert portal.count() == 0


def test_what_is_stored_are_the_bytes_that_the_hashes_were_made_of(portal):
    entry = text_entry(0, "nul \u0000, bidi \u202e, emoji 👋🏽")

    ask(portal, protocol.BATCHES, documents([entry]))

    with portal.store.database.read() as tx:
        stored = tx.exec_driver_sql(
            f"SELECT {', '.join(Entry._fields)} FROM portal_entry".replace("values", "personal")
        )
        assert [Entry._make(row) for row in stored] == [entry]


def test_a_database_that_is_away_is_an_outage_and_says_what_to_do(portal):
    with portal.store.database.write() as tx:
        tx.exec_driver_sql("ALTER TABLE portal_entry RENAME TO portal_entry_elsewhere")
    try:
        answer = ask(portal, protocol.BATCHES, documents(texts(1)))
    finally:
        with portal.store.database.write() as tx:
            tx.exec_driver_sql("ALTER TABLE portal_entry_elsewhere RENAME TO portal_entry")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "db upgrade" in answer.json()["detail"]
    assert "portal_entry" not in answer.text


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_carries_the_security_headers(portal, path):
    answer = ask(portal, path, b"{}")

    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_the_openapi_document_names_the_receiving_end(portal):
    paths = portal.app.openapi()["paths"]

    assert {f"/portal{path}" for path in ROUTES} <= set(paths)
