"""Providers' webhooks: who may call, what a text of theirs becomes, and that none is lost for how it is written."""

import hmac
import itertools
import json
import shutil
from base64 import b64encode
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pytest
import requests

from consent.lines import set_line
from consent.organizations import create_organization, set_feature
from consent.tags import Tags
from jobs.api.twilio import is_signed
from jobs.api.webhooks import Providers, webhook_router
from sync.migrate import tag_key
from tests.jobs.test_api import is_problem, served

AUTH, SECRET, VERIFY = "twilio-auth-token", "meta-app-secret", "typed into a form"
PUBLIC = "https://assent.bank.example"
PROVIDERS = Providers(PUBLIC, AUTH, SECRET, VERIFY)
_ids = itertools.count(1)


@pytest.fixture(scope="module")
def api(sqlite_template, tmp_path_factory):
    path = tmp_path_factory.mktemp("webhooks") / "assent.db"
    shutil.copyfile(sqlite_template, path)
    with served(f"sqlite:///{path}", lambda *parts: [webhook_router(*parts, PROVIDERS)]) as api:
        with api.database.write() as tx:
            create_organization(tx, "globex", "Globex", parent=None, actor="test", now=1)
            set_feature(tx, "globex", "sms_opt_in", True, actor="test", now=1)
            for org, line in (("acme", "+14155550100"), ("globex", "+14155550200")):
                set_line(tx, Tags(tag_key(tx)), org, line, "e1", "Ann Lee", sub_organization=None, actor="t", now=2)
        yield api


def twilio(api, query="", sign_with=AUTH, url=PUBLIC, **fields):
    """Post a form as Twilio would, signed by its rule written anew here."""
    fields = {name: value for name, value in fields.items() if value is not None}
    signed = f"{url}/webhooks/twilio{query}" + "".join(name + fields[name] for name in sorted(fields))
    signature = b64encode(hmac.digest(sign_with.encode(), signed.encode(), "sha1")).decode()
    return requests.post(
        f"{api.url}/webhooks/twilio{query}", data=fields, headers={"x-twilio-signature": signature}, timeout=20
    )


def text(body="Hi", **more):
    return {
        "MessageSid": f"SM{next(_ids)}", "AccountSid": "AC1", "From": "+14045550123", "To": "+14155550100",
        "Body": body, "NumMedia": "0",
    } | more  # fmt: skip


def said(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/xml")
    return [(one.text, one.get("statusCallback")) for one in ElementTree.fromstring(answer.content)]


def meta(api, value, sign_with=SECRET, field="messages", body=None):
    told = {
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": field, "value": value}]}],
    }
    body = body if body is not None else json.dumps(told).encode()
    signature = "sha256=" + hmac.new(sign_with.encode(), body, "sha256").hexdigest()
    return requests.post(
        f"{api.url}/webhooks/whatsapp", data=body, headers={"x-hub-signature-256": signature}, timeout=20
    )


def whatsapp(*messages, line="1 415-555-0200", **more):
    number = messages[0]["from"] if messages else "14045550177"
    return {
        "messaging_product": "whatsapp", "metadata": {"display_phone_number": line, "phone_number_id": "1"},
        "contacts": [{"profile": {"name": "Kim Doe"}, "wa_id": number}], "messages": list(messages),
    } | more  # fmt: skip


def wrote(contact, body, kind="text", **more):
    return {
        "from": contact.removeprefix("+"), "id": f"wamid.{next(_ids)}", "timestamp": "1714989600", "type": kind,
        kind: {"body": body} if kind == "text" else body,
    } | more  # fmt: skip


def state(api, org, contact, line):
    found = api.get("/v1/consent", org=org, contact=contact, line=line).json()
    return found[0]["state"] if found else None


def newest(api, org, kind="message"):
    return api.get("/v1/entries", org=org, kind=kind, limit=1000).json()["entries"][-1]


def test_the_signature_is_that_of_twilios_own_example():
    form = {
        "CallSid": ["CA1234567890ABCDE"], "Caller": ["+14158675309"], "Digits": ["1234"], "From": ["+14158675309"],
        "To": ["+18005551212"],
    }  # fmt: skip
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"

    assert is_signed("12345", url, form, "RSOYDt4T1cUTdK1PDd93/VVr8B8=")
    assert is_signed("12345", url.replace(".com", ".com:443"), form, "RSOYDt4T1cUTdK1PDd93/VVr8B8=")
    assert not is_signed("12345", url, form | {"Digits": ["1235"]}, "RSOYDt4T1cUTdK1PDd93/VVr8B8=")


def test_a_first_text_is_answered_with_the_request_and_yes_with_its_confirmation(api):
    [(request, callback)] = said(twilio(api, **text(From="+14045550131")))
    [(confirmation, _)] = said(twilio(api, **text("YES", From="+14045550131")))

    assert "YES" in request
    assert callback.startswith(f"{PUBLIC}/webhooks/twilio?entry=acme-")
    assert confirmation.startswith("[Auto Message]")
    assert state(api, "acme", "+14045550131", "+14155550100") == "opted_in"


def test_the_same_text_again_is_answered_the_same_and_written_once(api):
    one = text(From="+14045550132")

    first, again = said(twilio(api, **one)), said(twilio(api, **one))

    assert first == again
    assert is_problem(twilio(api, **one | {"Body": "Ho"}), 409, "id_conflict")


def test_a_stop_that_twilio_confirmed_already_is_recorded_and_answered_with_nothing(api):
    twilio(api, **text(From="+14045550133"))

    assert said(twilio(api, **text("STOP", From="+14045550133", OptOutType="STOP"))) == []
    assert state(api, "acme", "+14045550133", "+14155550100") == "opted_out"
    assert newest(api, "acme", "decision")["body"]["source"] == "carrier"


def test_a_stop_is_taken_however_it_is_written(api):
    for n, body in enumerate(("Stop\ud83d", "ＳＴＯＰ", "STOP\x00", "stop 🙏")):
        contact = f"+1404555014{n}"
        escaped = text(body, From=contact)
        signed = f"{PUBLIC}/webhooks/twilio".encode() + b"".join(
            name.encode() + escaped[name].encode("utf-8", "surrogatepass") for name in sorted(escaped)
        )
        data = urlencode({k: v.encode("utf-8", "surrogatepass") for k, v in escaped.items()})
        headers = {
            "x-twilio-signature": b64encode(hmac.digest(AUTH.encode(), signed, "sha1")).decode(),
            "content-type": "application/x-www-form-urlencoded",
        }
        answer = requests.post(f"{api.url}/webhooks/twilio", data=data, headers=headers, timeout=20)

        assert answer.status_code == 200, answer.text
        assert state(api, "acme", contact, "+14155550100") == "opted_out", body


def test_pictures_and_whatsapp_by_twilio_keep_their_channel(api):
    twilio(
        api,
        **text(
            "", From="+14045550134", NumMedia="1", MediaUrl0="https://api.twilio.com/m", MediaContentType0="image/png"
        ),
    )
    picture = newest(api, "acme")
    twilio(api, **text("Hola", From="whatsapp:+14045550134", To="whatsapp:+14155550100", ProfileName="Kim"))
    chat = newest(api, "acme")

    assert picture["body"]["channel"] == "mms"
    assert picture["values"]["media"]["value"] == [{"url": "https://api.twilio.com/m", "content_type": "image/png"}]
    assert (chat["body"]["channel"], chat["values"]["contact_name"]["value"]) == ("whatsapp", "Kim")


@pytest.mark.parametrize(
    ("status", "code", "recorded", "after"),
    [
        ("delivered", None, "delivered", "pending"),
        ("undelivered", "30005", "undeliverable", "none"),
        ("failed", "21610", "opted_out", "opted_out"),
    ],
)
def test_what_became_of_a_request_is_told_by_its_callback(api, status, code, recorded, after):
    contact = f"+1404555{9000 + next(_ids)}"
    [(_, callback)] = said(twilio(api, **text(From=contact)))
    query = callback.removeprefix(f"{PUBLIC}/webhooks/twilio")

    on_its_way = twilio(api, query, MessageSid="SMo1", MessageStatus="sent")
    told = twilio(api, query, MessageSid=f"SMo{next(_ids)}", MessageStatus=status, ErrorCode=code)

    assert (on_its_way.status_code, told.status_code) == (204, 204)
    assert state(api, "acme", contact, "+14155550100") == after
    if recorded != "opted_out":
        assert newest(api, "acme", "delivery")["body"]["status"] == recorded


def test_a_call_that_twilio_did_not_sign_is_refused_and_not_quoted(api):
    wrong = [
        twilio(api, sign_with="another-token", **text("see you at nine o'clock")),
        twilio(api, url="https://elsewhere.example", **text("see you at nine o'clock")),
        requests.post(f"{api.url}/webhooks/twilio", data=text("see you at nine o'clock"), timeout=20),
        requests.post(
            f"{api.url}/webhooks/twilio", data=text(), headers={"x-twilio-signature": "é".encode()}, timeout=20
        ),
    ]

    for answer in wrong:
        assert is_problem(answer, 401, "signature")
        assert "nine" not in answer.text


def test_a_text_to_a_line_of_nobodys_is_refused_so_that_it_stands_in_the_providers_log(api):
    answer = twilio(api, **text("STOP", To="+14155550999"))

    assert is_problem(answer, 404, "unknown_organization")
    assert "assent line set" in answer.json()["detail"]


def test_where_there_is_one_organization_or_one_is_named_its_lines_need_not_be_registered(make_sqlite_url):
    with served(make_sqlite_url(), lambda *parts: [webhook_router(*parts, PROVIDERS)]) as api:
        assert said(twilio(api, **text()))
    named = Providers(PUBLIC, AUTH, organization="globex")
    with served(make_sqlite_url(), lambda *parts: [webhook_router(*parts, named)]) as api:
        with api.database.write() as tx:
            create_organization(tx, "globex", "Globex", parent=None, actor="test", now=1)
        assert said(twilio(api, **text())) == []
        assert newest(api, "globex")["organization"] == "globex"


def test_whatsapp_texts_are_taken_in_order_under_their_own_time(api):
    answer = meta(api, whatsapp(wrote("+14045550151", "Hi"), wrote("+14045550151", "YES", timestamp="1714989660")))

    assert (answer.status_code, answer.json()) == (200, {"taken": 2})
    assert state(api, "globex", "+14045550151", "+14155550200") == "opted_in"
    text_entry = api.get("/v1/entries", org="globex", contact="+14045550151", kind="message").json()["entries"][0]
    assert text_entry["occurred_at"] == "2024-05-06T10:00:00.000000Z"
    assert (text_entry["body"]["channel"], text_entry["values"]["contact_name"]["value"]) == ("whatsapp", "Kim Doe")


@pytest.mark.parametrize(
    ("kind", "part", "shown"),
    [
        ("button", {"text": "Stop", "payload": "x"}, "Stop"),
        ("interactive", {"type": "button_reply", "button_reply": {"id": "1", "title": "Tuesday"}}, "Tuesday"),
        ("interactive", {"type": "list_reply", "list_reply": {"id": "1", "title": "Noon"}}, "Noon"),
        ("image", {"caption": "the form", "mime_type": "image/jpeg", "sha256": "AbC=", "id": "9"}, "the form"),
        ("audio", {"mime_type": "audio/ogg", "id": "9"}, ""),
        ("location", {"latitude": 1.5, "longitude": 2}, "[location]"),
        ("reaction", {"message_id": "wamid.0", "emoji": "👍"}, "Reacted 👍 to “”"),
        ("carrier_pigeon", {}, "[carrier_pigeon]"),
    ],
)
def test_whatever_a_contact_sends_is_kept_as_a_text(api, kind, part, shown):
    contact = f"+1404556{1000 + next(_ids)}"

    answer = meta(api, whatsapp(wrote(contact, part, kind)))

    assert answer.status_code == 200, answer.text
    [entry] = api.get("/v1/entries", org="globex", contact=contact, kind="message").json()["entries"]
    assert entry["values"]["text"]["value"] == shown
    assert ("media" in entry["values"]) == (kind in ("image", "audio"))


def test_a_preference_to_stop_is_a_revocation_and_to_resume_is_not_consent(api):
    contact = "+14045550161"
    meta(api, whatsapp(wrote(contact, "Hi"), wrote(contact, "YES", timestamp="1714989660")))
    asked = {"wa_id": contact[1:], "category": "marketing_messages", "timestamp": 1714990000, "detail": "…"}

    stopped = meta(api, whatsapp(user_preferences=[asked | {"value": "stop"}]), field="user_preferences")
    after = state(api, "globex", contact, "+14155550200")
    meta(api, whatsapp(user_preferences=[asked | {"value": "resume"}]), field="user_preferences")

    assert stopped.status_code == 200, stopped.text
    assert after == state(api, "globex", contact, "+14155550200") == "opted_out"


def test_a_status_finds_its_auto_message_by_what_was_sent_with_it(api):
    contact = "+14045550162"
    meta(api, whatsapp(wrote(contact, "Hi")))
    entries = api.get("/v1/entries", org="globex", contact=contact).json()["entries"]
    request = next(one for one in entries if one["body"].get("template") == "mt.request.contact")
    failed = {"id": "wamid.out", "status": "failed", "timestamp": "1714989700", "recipient_id": contact[1:],
              "biz_opaque_callback_data": request["id"], "errors": [{"code": 131026, "title": "…"}]}  # fmt: skip

    answer = meta(api, whatsapp(statuses=[failed, {"id": "wamid.other", "status": "sent"}]))

    assert answer.json() == {"taken": 1}
    assert state(api, "globex", contact, "+14155550200") == "none"


def test_meta_is_answered_its_challenge_for_the_right_token_only(api):
    def ask(token, mode="subscribe"):
        query = f"hub.mode={mode}&hub.verify_token={quote(token)}&hub.challenge=1158201444"
        return requests.get(f"{api.url}/webhooks/whatsapp?{query}", timeout=20)

    assert ask(VERIFY).text == "1158201444"
    assert ask(VERIFY).headers["content-type"].startswith("text/plain")
    for wrong in (ask("wrong"), ask(""), ask("é"), ask(VERIFY, "unsubscribe")):
        assert is_problem(wrong, 401, "signature")


def test_a_call_that_meta_did_not_sign_is_refused_and_what_is_no_message_changes_nothing(api):
    value = whatsapp(wrote("+14045550163", "Hi"))

    assert is_problem(meta(api, value, sign_with="another"), 401, "signature")
    assert is_problem(requests.post(f"{api.url}/webhooks/whatsapp", json=value, timeout=20), 401, "signature")
    assert is_problem(meta(api, value, body=b"{"), 400, "invalid_json")
    for body in (b"[]", b"7", b'{"entry": 7}', b'{"entry": [{"changes": [{"value": {"messages": [7, {}]}}]}]}'):
        assert meta(api, value, body=body).status_code in (200, 404, 422)
    assert state(api, "globex", "+14045550163", "+14155550200") is None


def test_where_no_secret_is_set_nothing_is_taken(make_sqlite_url):
    with served(make_sqlite_url(), lambda *parts: [webhook_router(*parts, Providers(PUBLIC))]) as api:
        assert is_problem(twilio(api, sign_with="", **text()), 401, "signature")
        assert is_problem(meta(api, whatsapp(wrote("+14045550163", "Hi")), sign_with=""), 401, "signature")
        verify = f"{api.url}/webhooks/whatsapp?hub.mode=subscribe&hub.verify_token=&hub.challenge=1"
        assert is_problem(requests.get(verify, timeout=20), 401, "signature")


def test_neither_numbers_nor_texts_nor_secrets_of_providers_were_logged(api):
    logged = api.logged.getvalue()

    assert "webhook.refused" in logged
    assert not [one for one in ("404555", "415555", "nine o'clock", AUTH, SECRET, VERIFY) if one in logged]
