"""What a person sees under /portal/, who may see it, and what a text can't do there."""

import re
from html.parser import HTMLParser

import pytest
import requests
from sqlalchemy import event

from consent.database import run
from jobs.access import Role
from jobs.web.pages import SUBJECTS
from jobs.web.pages.search import DaysAsked, EntryAsked, NameAsked, NumberAsked, read
from jobs.web.times import Times
from jobs.web.words import masked
from tests.portal.portal_stage import ATTACK, EVE, GRACE, HUGO, OMAR, WEI, ZOE, stage

SAME = {"sec-fetch-site": "same-origin"}


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, answer):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(answer.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.texts.append(data)

    def values(self, name):
        return [value for _, found, value in self.attributes if found == name]

    @property
    def shown(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def made(request, tmp_path_factory):
    """A portal at work on the sample; on SQLite, then on PostgreSQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('pages')}/assent.db"
    else:
        postgres = request.getfixturevalue("postgres")
        postgres.run("CREATE DATABASE pages")
        url = postgres.url("pages")
    with stage(url) as made:
        yield made


@pytest.fixture(scope="module")
def enter(made):
    """Sign somebody in; one session a login."""
    sessions = {}

    def enter(login="all@assent.example"):
        if login not in sessions:
            sessions[login] = session = requests.Session()
            session.trust_env = False
            assert session.post(made.link(login), headers=SAME).status_code == 200
        return sessions[login]

    yield enter
    for session in sessions.values():
        session.close()


def look(made, session, path, status=200, **options):
    answer = session.get(made.url + path, **options)
    assert answer.status_code == status, (path, answer.status_code)
    return answer


def send(made, session, path, status=200, **fields):
    answer = session.post(made.url + path, data=fields, headers=SAME)
    assert answer.status_code == status, (path, answer.status_code)
    return answer


def _places(made, of="acme"):
    """The names that stand in addresses, for one organization."""
    contact = GRACE if of == "acme" else ZOE
    with made.database.read() as tx:
        conversation = run(tx, "SELECT id FROM conversation WHERE contact = ?", [contact]).scalar_one()
        review = run(tx, "SELECT seq FROM review WHERE organization = ?", [of]).scalar()
        decision = run(
            tx, "SELECT seq FROM entry WHERE organization = ? AND kind = 'decision' LIMIT 1", [of]
        ).scalar_one()
    return {
        "ledger": of, "org": of, "conversation": conversation, "entry_id": f"{of}-{decision:012d}",
        "review": f"{of}-{review or decision:012d}", "name": "salesforce", "key": "mo.request.contact",
        "feature": "sms-opt-in", "run": "0123456789ab", "use": "opt_in",
    }  # fmt: skip


def _routes(made):
    """Every page's method and path, as the application has it."""
    for subject in SUBJECTS:
        for route in subject.router(made.desk).routes:
            yield from ((method, route.path) for method in route.methods)
    yield from (("GET", "/"), ("POST", "/times"), ("POST", "/sign-out"), ("GET", "/nowhere"))


def _inside(made, of="acme"):
    places = _places(made, of)
    for method, path in _routes(made):
        yield method, re.sub(r"\{(\w+)\}", lambda match: places[match[1]], path)


def test_every_page_is_refused_without_a_session(made):
    refused = 0
    for method, path in _inside(made):
        for cookie in (None, "é", "a" * 4_000):
            headers = SAME | ({} if cookie is None else {"cookie": f"assent={cookie}".encode()})
            answer = requests.request(method, made.url + path, headers=headers, timeout=5, allow_redirects=False)

            assert answer.status_code == 303, path
            assert "/portal/sign-in" in answer.headers["location"], path
            assert "Grace" not in answer.text
        refused += 1
    assert refused > 40


@pytest.mark.parametrize("role", list(Role))
def test_a_page_of_another_role_opens_for_nobody_else(made, enter, role):
    session = enter(f"{role.value}@acme.example")
    areas = {"reports": Role.REPORTS, "entries": Role.REPORTS, "setup": Role.SETUP, "operations": Role.OPERATIONS}

    for method, path in _inside(made):
        needed = areas.get(path.split("/")[1])
        if needed is None or needed is role:
            continue
        answer = session.request(method, made.url + path, headers=SAME, allow_redirects=False)
        assert answer.status_code == 403, (method, path)
        assert f"role {needed.value.capitalize()}" in answer.text


@pytest.mark.parametrize("login", ["globex@globex.example", "west@acme.example"])
def test_another_organizations_data_is_not_there_by_its_address(made, enter, login):
    session = enter(login)

    for method, path in _inside(made, "acme"):
        if not re.search(r"/acme[/-]|/acme$|/salesforce", path):
            continue
        answer = session.request(method, made.url + path, headers=SAME, allow_redirects=False)

        role_is_missing = answer.status_code == 403 and path.startswith("/operations")
        shared = "/salesforce" in path  # it takes their entries too: what it shows of others is asked below
        assert answer.status_code == 404 or role_is_missing or shared, (method, path, answer.status_code)
        assert "Grace" not in answer.text
        assert "Acme Bank" not in answer.text


def test_who_sees_one_organization_is_told_of_its_deliveries_only(made, enter):
    session = enter("globex@globex.example")

    shown = look(made, session, "/operations/refused").text + look(made, session, "/operations/refused/salesforce").text
    theirs = look(made, enter(), "/operations/refused").text

    assert "STRING_TOO_LONG" not in shown
    assert "STRING_TOO_LONG" in theirs
    send(made, session, "/operations/destinations/salesforce/pause", 403, reason="Mine to pause?")
    send(made, session, "/operations/refused/salesforce/retry", 404, entry="acme-000000000040")


def test_a_sub_organizations_user_finds_its_own_conversations_only(made, enter):
    session = enter("west@acme.example")

    found = Page(send(made, session, "/reports/search", q="Marcus")).shown
    hidden = Page(send(made, session, "/reports/search", q=GRACE)).shown

    assert "No text may be sent now" in found or "Marcus Webb" in found
    assert "Nobody was found" in hidden
    look(made, session, made.conversation(WEI))
    look(made, session, made.conversation(GRACE), 404)


@pytest.mark.parametrize("written", ["+14045550123", "(404) 555-0123", "404.555.0123", "tel:+1 404 555 0123"])
def test_a_number_is_found_in_any_form_and_never_stands_in_an_address(made, enter, written):
    answer = send(made, enter(), "/reports/search", q=written)

    assert "/reports/conversations/acme/" in answer.url
    assert "Grace Kim" in answer.text
    addresses = [answer.url, *(one.headers["location"] for one in answer.history)]
    assert not [one for one in addresses if "0123" in one]


@pytest.mark.parametrize(("typed", "contact"), [("grace", "Grace Kim"), ("KIM", "Grace Kim"), ("hadd", "Omar Haddad")])
def test_a_name_is_found_by_the_beginning_of_any_word(made, enter, typed, contact):
    assert contact in send(made, enter(), "/reports/search", q=typed).text


def test_an_employees_name_finds_the_conversations_on_their_lines(made, enter):
    shown = Page(send(made, enter(), "/reports/search", q="Priya")).shown

    assert "Hugo Brandt" in shown
    assert "Omar Haddad" in shown
    assert "Grace Kim" not in shown


def test_what_was_typed_is_read_as_an_entry_days_a_number_or_a_name():
    from datetime import date

    today = date(2026, 11, 28)

    assert read("Acme-000000000012", today) == EntryAsked("acme-000000000012")
    assert read("2026-11-23", today) == DaysAsked(date(2026, 11, 23), date(2026, 11, 23))
    assert read("1 Nov 2026 to 15 Nov 2026", today) == DaysAsked(date(2026, 11, 1), date(2026, 11, 15))
    assert read("Nov 2026", today) == DaysAsked(date(2026, 11, 1), date(2026, 11, 30))
    assert read("11/23/2026", today) == read("November 23, 2026", today) == read("23 Nov 2026", today)
    assert read("yesterday", today) == DaysAsked(date(2026, 11, 27), date(2026, 11, 27))
    assert read("2026-02-30", today) == NumberAsked("2026-02-30")
    assert read("+1 (404) 555-0123", today) == NumberAsked("+1 (404) 555-0123")
    assert read("Grace Kim", today) == NameAsked("Grace Kim")


def test_an_entry_is_found_by_its_id_and_shown_whole(made, enter):
    entry = made.answers["g7"]["entries"][1]

    answer = send(made, enter(), "/reports/search", q=entry)

    assert answer.url.endswith(f"/entries/{entry}")
    shown = Page(answer).shown
    for fact in ("Opted out", "Tier", "Leaf hash", "Salesforce", "✓ held", "opted_in"):
        assert fact in shown


def test_a_timeline_tells_texts_auto_messages_and_decisions_apart(made, enter):
    shown = Page(look(made, enter(), made.conversation(GRACE))).shown

    for said in (
        "mo.request.contact default text", "Auto-message to the employee", "reminder",
        "Held, then released by acme-", "Word “yes”, tier 1: the opt-in word, exactly",
        "Before asked, no answer yet → after opted in", "Blocked: not sent — the contact has opted out",
        "Possible revocation", "A possible revocation: review opened", "No text may be sent now",
    ):  # fmt: skip
        assert said in shown, said


def test_each_entry_says_where_it_is_or_why_not(made, enter):
    omar = Page(look(made, enter(), made.conversation(OMAR))).shown
    wei = Page(look(made, enter(), made.conversation(WEI))).shown

    assert "Salesforce: refused, waits for a person: the field Text__c is too short there" in omar
    assert re.search(r"Archive ✓ there \d\d", omar)
    assert re.search(r"Portal ✓ there \d\d", omar)
    assert "the record was deleted there" in wei


def test_the_portal_shows_as_delivered_to_it_what_it_holds(made, enter):
    entry = made.answers["h3"]["entries"][0]
    with made.database.write() as tx:
        kept = run(tx, "SELECT * FROM portal_entry WHERE organization = 'acme' AND seq = ?", [int(entry[-12:])]).one()
        run(tx, "DELETE FROM portal_entry WHERE organization = 'acme' AND seq = ?", [int(entry[-12:])])

    shown = Page(look(made, enter(), f"/entries/{entry}")).shown

    assert "Portal taken, but not held any more: run a reconcile" in shown
    with made.database.write() as tx:
        run(tx, f"INSERT INTO portal_entry VALUES ({', '.join('?' * len(kept))})", list(kept))


def test_numbers_are_masked_until_somebody_says_why_and_that_is_an_entry(made, enter):
    session, path = enter("reports@acme.example"), made.conversation(HUGO)
    before = look(made, session, path).text

    silent = send(made, session, f"{path}/reveal", 422, reason=" ")
    after = send(made, session, f"{path}/reveal", reason="The client called about his consent").text

    assert "•••0148" in before
    assert "555-0148" not in before + silent.text
    assert "+1 857-555-0148" in after
    with made.database.read() as tx:
        told = run(tx, "SELECT body, personal FROM entry WHERE organization = 'acme' AND kind = 'access'").all()
    assert [one for one in told if b'"reveal"' in one.body and b"called about" in one.personal]
    assert "•••0148" in look(made, enter("all@assent.example"), path).text


def test_the_question_whether_a_line_may_text_is_answered_with_its_proof(made, enter):
    asked = {"org": "acme", "contact": GRACE, "line": "415-555-0100", "channel": "text"}

    now = Page(send(made, enter(), "/reports/consent", **asked)).shown
    with_time = Times(now=0).field(_at(made, "g6"))
    then = Page(send(made, enter(), "/reports/consent", at=with_time, **asked)).shown
    wrong = send(made, enter(), "/reports/consent", 422, **asked | {"contact": "12"})

    assert "No, it may not" in now
    assert made.answers["g7"]["entries"][1] in now
    assert "Yes, it may" in then
    assert made.answers["g3"]["entries"][1] in then
    assert ("input", "aria-invalid", "true") in Page(wrong).attributes


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Etc/UTC", "23 Nov 2026, 10:00:00 UTC"),
        (None, "23 Nov 2026, 10:00:00 UTC"),
        ("Europe/London", "23 Nov 2026, 10:00:00 GMT (10:00:00 UTC)"),
    ],
)
def test_a_time_in_utc_is_said_once(zone, said):
    assert f">{said}<" in Times(zone).full(1_795_428_000_000_000)


def _at(made, message):
    with made.database.read() as tx:
        entry = made.answers[message]["entries"][0]
        return run(
            tx, "SELECT occurred_at FROM entry WHERE organization = 'acme' AND seq = ?", [int(entry[-12:])]
        ).scalar_one()


@pytest.mark.parametrize(
    ("form", "begin"), [("csv", b"\xef\xbb\xbf"), ("xlsx", b"PK"), ("pdf", b"%PDF-"), ("jsonl", b"{")]
)
def test_what_is_downloaded_is_recorded_first(made, enter, form, begin):
    session = enter("reports@acme.example")

    answer = send(made, session, "/reports/downloads", form=form, org="acme", contact=GRACE)

    assert answer.content.startswith(begin)
    assert answer.headers["content-disposition"].endswith(f'.{form}"')
    with made.database.read() as tx:
        bodies = [row.body for row in run(tx, "SELECT body FROM entry WHERE kind = 'access'")]
    assert [one for one in bodies if f'"format":"{form}"'.encode() in one and b"usr-" in one]


def test_a_download_of_another_organization_or_of_all_is_not_given(made, enter):
    session = enter("reports@acme.example")

    for org in ("globex", "", "system", "nowhere"):
        answer = send(made, session, "/reports/downloads", 422, form="jsonl", org=org)
        assert "Zoe" not in answer.text
    west = send(made, enter("west@acme.example"), "/reports/downloads", form="jsonl", org="acme-west").text
    assert "wire instructions" in west
    assert "Grace" not in west


def test_no_page_runs_an_inline_script_or_fetches_anything_from_outside(made, enter):
    looked = 0
    for method, path in _inside(made):
        if method != "GET":
            continue
        answer = enter().get(made.url + path)
        seen = Page(answer)

        assert not {"style", "iframe", "object", "embed", "base"} & set(seen.tags), path
        assert not seen.values("style"), path
        assert not [name for _, name, _ in seen.attributes if name.startswith("on")], path
        assert seen.tags.count("script") == len(
            [1 for tag, name, _ in seen.attributes if (tag, name) == ("script", "src")]
        )
        links = [url for name in ("src", "href", "action", "hx-get", "hx-post") for url in seen.values(name)]
        assert all(url.startswith(("/portal/", "#")) for url in links), path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        looked += 1
    assert looked > 20


def test_a_text_or_name_is_shown_as_it_was_written_and_does_nothing(made, enter):
    session = enter()

    timeline = look(made, session, made.conversation(EVE))
    found = send(made, session, "/reports/search", q=EVE)

    for answer in (timeline, found):
        seen = Page(answer)
        assert ATTACK in seen.texts or f"{ATTACK} https://evil.example/" in seen.texts
        assert "img" not in [tag for tag, name, value in seen.attributes if "attacked" in value]
        assert seen.tags.count("script") == 2
        assert "{{ 7*7 }}" in seen.shown


@pytest.mark.parametrize(
    "path",
    [
        "/reports/search?asked=forged",
        "/reports/days?first=x",
        "/reports/consent?asked=gAAAA",
        "/reports/decisions?days=9",
    ],
)
def test_a_forged_link_leads_to_an_empty_question(made, enter, path):
    assert look(made, enter(), path).status_code == 200


@pytest.mark.parametrize("query", ["before=1", "from=a.b", "before=1.' OR 1=1"])
def test_a_damaged_link_is_said_to_be_one(made, enter, query):
    answer = look(made, enter(), f"{made.conversation(GRACE)}?{query}", 400)

    assert "OR 1=1" not in answer.text


def test_no_page_reads_a_whole_table(made, enter):
    if made.database.is_postgres:
        return  # its planner reads small tables whole, whatever index there is
    asked = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    event.listen(made.database.engine, "before_cursor_execute", note)
    try:
        look(made, enter(), made.conversation(GRACE))
        send(made, enter(), "/reports/search", q="grace")
        look(made, enter(), "/reports/days?first=2020-01-01&last=2030-01-01&org=acme")
    finally:
        event.remove(made.database.engine, "before_cursor_execute", note)

    big = ("entry", "receipt", "portal_entry", "conversation", "contact_name", "late_receipt")
    with made.database.read() as tx:
        for statement, parameters in asked:
            if statement.startswith(("SELECT", "WITH")) and "contact = ?" not in statement:  # the test's own
                plans = [row.detail for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
                assert not [one for one in plans if re.match(rf"SCAN ({'|'.join(big)})\b", one)], statement
    assert len(asked) > 20


def test_a_number_shows_its_last_four_digits_only():
    assert (masked("+14045550123"), masked("729725"), masked("")) == ("•••0123", "•••", "•••")
