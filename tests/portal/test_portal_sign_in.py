"""Who gets in to the portal, for how long, and what another site's page can't do."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from jobs.access import Limits, Purpose, Role, users
from jobs.access.links import make_link
from jobs.access.passwords import hash_password
from jobs.access.sessions import end_sessions, open_sessions
from tests.portal.portal_world import NOON, PASSWORD

SAME = {"sec-fetch-site": "same-origin"}
IDLE, ABSOLUTE = Limits().idle, Limits().absolute
_HASHED = hash_password(PASSWORD)
_numbers = itertools.count()


@pytest.fixture
def somebody(portal):
    """A user with a password, of each test's own."""
    user = portal.add_user(f"user{next(_numbers)}@bank.example", Role.REPORTS)
    with portal.store.database.write() as tx:
        users.store_password(tx, user.id, _HASHED, actor="test", now=NOON)
    return user


def sign_in(portal, login, password=PASSWORD, headers=SAME, query="", **more):
    return requests.post(
        f"{portal.url}/sign-in{query}", data={"login": login, "password": password}, headers=headers, timeout=20,
        allow_redirects=False, **more,
    )  # fmt: skip


def link_for(portal, purpose, user=None, seconds=60):
    with portal.store.database.write() as tx:
        return make_link(tx, purpose, user.id if user else None, portal.now, seconds=seconds)


def choose(portal, key, **fields):
    return requests.post(f"{portal.url}/welcome/{key}", data=fields, headers=SAME, timeout=20, allow_redirects=False)


def recorded(portal, user):
    with portal.store.database.read() as tx:
        rows = tx.exec_driver_sql("SELECT kind, body FROM entry WHERE organization = 'system' ORDER BY seq").all()
    return [row.body.decode() for row in rows if user.id in row.body.decode() and row.kind == "access"]


def test_the_right_password_opens_a_session_and_that_is_an_entry(portal, somebody):
    answer = sign_in(portal, somebody.login.upper())

    assert (answer.status_code, answer.headers["location"]) == (303, "/portal/")
    assert (
        requests.get(f"{portal.url}/reports", cookies=answer.cookies, allow_redirects=False, timeout=5).status_code
        == 200
    )
    [entry] = recorded(portal, somebody)
    assert '"operation":"sign_in"' in entry
    assert somebody.login not in entry


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD + "x", PASSWORD[:-1], "é\u0000"])
def test_a_wrong_password_opens_nothing_and_says_so_beside_the_field(portal, somebody, password):
    for login in (somebody.login, "nobody@bank.example", "", "a b"):
        answer = sign_in(portal, login, password)

        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert 'aria-invalid="true"' in answer.text
        assert password == "" or f'value="{password}"' not in answer.text


def test_a_refusal_reads_the_same_whether_there_is_such_a_login_or_not(portal, somebody):
    known, unknown = sign_in(portal, somebody.login, "wrong"), sign_in(portal, "nobody@bank.example", "wrong")

    assert known.text.replace(somebody.login, "") == unknown.text.replace("nobody@bank.example", "")


def test_five_wrong_passwords_lock_a_login_for_a_while_the_right_one_too(portal, somebody):
    for _ in range(5):
        sign_in(portal, somebody.login, "wrong")

    locked = sign_in(portal, somebody.login)
    portal.now += 15 * 60 * 1_000_000 + 1
    later = sign_in(portal, somebody.login)

    assert (locked.status_code, later.status_code) == (401, 303)
    assert ['"operation":"locked"' in entry for entry in recorded(portal, somebody)] == [True, False]


def test_guessing_many_at_once_gets_no_more_tries(portal, somebody):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: sign_in(portal, somebody.login, "wrong"), range(8)))

    assert sign_in(portal, somebody.login).status_code == 401


def test_a_disabled_user_is_out_at_once(portal, somebody):
    answer = sign_in(portal, somebody.login)
    with portal.store.database.write() as tx:
        users.change_user(tx, somebody.login, disabled=True, actor="test", now=portal.now)

    assert sign_in(portal, somebody.login).status_code == 401
    assert (
        requests.get(f"{portal.url}/reports", cookies=answer.cookies, allow_redirects=False, timeout=5).status_code
        == 303
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1"},
    ],
)
def test_a_form_sent_by_another_site_changes_nothing(portal, somebody, headers):
    signing_in = sign_in(portal, somebody.login, headers=headers)
    with portal.signed_in() as session:
        signing_out = session.post(f"{portal.url}/sign-out", headers=headers)
        still_in = session.get(f"{portal.url}/reports", allow_redirects=False)

    assert (signing_in.status_code, signing_out.status_code, still_in.status_code) == (403, 403, 200)
    assert "set-cookie" not in signing_in.headers


def test_a_browser_without_fetch_metadata_is_known_by_its_origin(portal, somebody):
    assert sign_in(portal, somebody.login, headers={"origin": portal.server.address}).status_code == 303


def test_a_link_from_another_site_arrives_and_a_frame_or_a_fetch_does_not(portal):
    from_elsewhere = {"sec-fetch-site": "cross-site"}
    with portal.signed_in() as session:
        followed = session.get(
            f"{portal.url}/reports",
            headers=from_elsewhere | {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        )
        framed = session.get(
            f"{portal.url}/reports", headers=from_elsewhere | {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
        )
        fetched = session.get(f"{portal.url}/reports", headers=from_elsewhere | {"sec-fetch-mode": "no-cors"})

    assert (followed.status_code, framed.status_code, fetched.status_code) == (200, 403, 403)


def test_the_session_cookie_is_out_of_reach_of_scripts_and_kept_as_a_hash_only(portal, somebody):
    answer = sign_in(portal, somebody.login)

    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "max-age" not in cookie
    with portal.store.database.read() as tx:
        rows = tx.exec_driver_sql("SELECT * FROM access_session").all()
    assert rows
    assert not [row for row in rows if answer.cookies["assent"].encode() in bytes(row.id_hash)]


def test_behind_tls_the_cookie_is_bound_to_the_host(portal, somebody):
    answer = sign_in(portal, somebody.login, headers=SAME | {"x-forwarded-proto": "https"})

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-assent=")
    assert "secure" in cookie.lower()
    assert "domain" not in cookie.lower()


def test_signing_out_ends_the_session_wherever_its_cookie_is(portal):
    with portal.signed_in() as session:
        stolen = dict(session.cookies)
        session.post(f"{portal.url}/sign-out", headers=SAME)

    answer = requests.get(f"{portal.url}/reports", cookies=stolen, allow_redirects=False, timeout=5)
    assert answer.status_code == 303


def test_an_operator_ends_one_session_and_leaves_the_others(portal, somebody):
    first, second = sign_in(portal, somebody.login).cookies, sign_in(portal, somebody.login).cookies
    with portal.store.database.write() as tx:
        shown = open_sessions(tx, somebody.id)
        ended = end_sessions(tx, somebody.id, shown[0].id)

    left = [
        requests.get(f"{portal.url}/reports", cookies=one, allow_redirects=False, timeout=5) for one in (first, second)
    ]
    assert (len(shown), ended) == (2, 1)
    assert sorted(answer.status_code for answer in left) == [200, 303]


@pytest.mark.parametrize(
    ("pauses", "status"),
    [
        ([IDLE - 1], 200),
        ([IDLE + 1], 303),
        ([IDLE - 1] * 3, 200),
        ([IDLE - 1] * (ABSOLUTE // IDLE + 1), 303),
    ],
)
def test_a_session_ends_when_idle_and_at_the_latest_after_its_limit(portal, pauses, status):
    with portal.signed_in() as session:
        for pause in pauses:
            portal.now += pause
            answer = session.get(f"{portal.url}/reports", allow_redirects=False)

    assert answer.status_code == status


def test_signing_in_leads_back_to_what_was_asked_for_and_nowhere_else(portal, somebody):
    asked = requests.get(f"{portal.url}/?kind=decision", allow_redirects=False, timeout=5)

    there = asked.headers["location"]
    back = sign_in(portal, somebody.login, query=there.removeprefix("/portal/sign-in"))
    elsewhere = [
        sign_in(portal, somebody.login, query=f"?next={place}").headers["location"]
        for place in ("https://evil.example/", "//evil.example", "/elsewhere", "/portal/%0d%0aset-cookie:a=b", "%5c")
    ]
    assert back.headers["location"] == "/portal/?kind=decision"
    assert set(elsewhere) == {"/portal/"}


def test_a_part_of_a_page_without_a_session_sends_the_whole_page_to_the_sign_in(portal):
    headers = {"hx-request": "true", "hx-current-url": f"{portal.url}/?kind=decision"}
    answer = requests.get(f"{portal.url}/reports", headers=headers, allow_redirects=False, timeout=5)

    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/portal/sign-in?next=/portal/%3Fkind%3Ddecision"


def test_a_link_lets_its_owner_choose_a_password_once(portal, somebody):
    key = link_for(portal, Purpose.PASSWORD, somebody)
    new = "entirely other ordinary words"

    looked = requests.get(f"{portal.url}/welcome/{key}", timeout=5)
    chosen = choose(portal, key, password=new, again=new)
    again = choose(portal, key, password=PASSWORD, again=PASSWORD)

    assert (looked.status_code, chosen.status_code, again.status_code) == (200, 303, 410)
    assert (
        requests.get(f"{portal.url}/reports", cookies=chosen.cookies, allow_redirects=False, timeout=5).status_code
        == 200
    )
    assert sign_in(portal, somebody.login).status_code == 401
    assert sign_in(portal, somebody.login, new).status_code == 303


@pytest.mark.parametrize(
    ("password", "again"),
    [
        ("too short", "too short"),
        ("a" * 30, "a" * 30),
        ("abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz"),
        ("123456789012345678", "123456789012345678"),
        (PASSWORD, PASSWORD + "x"),
        ("w" * 300, "w" * 300),
    ],
)
def test_a_password_that_is_no_good_is_told_beside_the_field_and_the_link_still_holds(
    portal, somebody, password, again
):
    key = link_for(portal, Purpose.PASSWORD, somebody)

    answer = choose(portal, key, password=password, again=again)

    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert password not in answer.text
    assert requests.get(f"{portal.url}/welcome/{key}", timeout=5).status_code == 200


def test_a_link_ends_with_its_time(portal, somebody):
    key = link_for(portal, Purpose.SIGN_IN, somebody, seconds=60)
    portal.now += 61 * 1_000_000

    assert choose(portal, key).status_code == 410
    assert requests.get(f"{portal.url}/welcome/{key}", timeout=5).status_code == 410


def test_of_two_who_use_a_link_at_once_one_gets_in(portal, somebody):
    key = link_for(portal, Purpose.SIGN_IN, somebody)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: choose(portal, key).status_code, range(4)))

    assert sorted(answers) == [303, 410, 410, 410]


def test_a_link_for_the_first_user_is_worth_nothing_once_there_is_one(portal):
    key = link_for(portal, Purpose.FIRST)

    answer = choose(portal, key, login="eve@evil.example", name="Eve", password=PASSWORD, again=PASSWORD)

    assert portal.access.first_link() is None
    assert answer.status_code == 410
    with portal.store.database.read() as tx:
        assert users.find_user(tx, "eve@evil.example") is None
