"""What a person sees under /portal/, who may see it, and what a text can't do there."""

import itertools
from html.parser import HTMLParser

import orjson
import pytest
import requests
from sqlalchemy import event

from connectors.contract import make_entries
from consent.entry import entry_json, seal
from consent.kinds import Kind
from consent.values import Record
from jobs.web.presenting import masked
from jobs.web.whereabouts import Position, State, Whereabouts
from tests.portal.portal_world import NOON, text_entry, texts

SAME = {"sec-fetch-site": "same-origin"}
OPEN = {"/portal/sign-in", "/portal/static/{name}"}


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


def receive(portal, entries):
    """Give the portal entries as a batch would, a moment after the ones before."""
    portal.now += 1_000_000
    things = [orjson.loads(entry_json(entry)) for entry in entries]
    results = portal.store.receive(entries[0].organization, entries[0].lane, things, portal.now)
    assert {result.status for result in results} == {"stored"}


def look(portal, path="/", **options):
    with portal.signed_in() as session:
        answer = session.get(portal.url + path, **options)
    assert answer.status_code == 200, answer.status_code
    return answer


def shown_ids(answer):
    return [value for value in Page(answer).values("id") if value.startswith(("acme-", "globex-"))]


def _routes(portal):
    for path, methods in portal.app.openapi()["paths"].items():
        yield from ((method.upper(), path) for method in methods)
    pages = ["", "/", "/sign-out", "/entries/acme-000000000000", "/v1/batches", "/anything/at/all"]
    yield from (("GET", f"/portal{page}") for page in pages)
    yield "POST", "/portal/sign-out"


def test_every_route_is_refused_without_credentials(portal):
    receive(portal, texts(1))
    session = requests.Session()
    session.trust_env = False

    for cookie, (method, path) in itertools.product((None, "é", "a" * 4_000), _routes(portal)):
        headers = SAME | ({} if cookie is None else {"cookie": f"assent={cookie}".encode()})
        answer = session.request(method, portal.server.address + path, headers=headers)
        assert answer.status_code == 401 or "/portal/sign-in" in answer.url, path
        assert "See you at ten" not in answer.text
    session.close()


ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "</p></li></ol><svg/onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "<a href=//evil.example>click</a>",
    "&lt;script&gt;",
    "\u202etxt.exe\u2066",
    "a\nb\r\nc\ttab",
)  # fmt: skip


def test_a_text_is_shown_as_it_was_written_and_does_nothing(portal):
    receive(portal, [text_entry(seq, text) for seq, text in enumerate(ATTACKS)])

    answer = look(portal)

    seen = Page(answer)
    receive(portal, texts(1, organization="globex"))
    harmless = Page(look(portal, "/?organization=globex"))
    assert set(ATTACKS) - {"a\nb\r\nc\ttab"} <= set(seen.texts)
    assert set(seen.tags) == set(harmless.tags)
    assert not [name for _, name, _ in seen.attributes if name.startswith("on")]
    assert "49" not in "".join(seen.texts[:-1]).replace("{{ 7 * 7 }}", "")


@pytest.mark.parametrize("name", ["contact_name", "employee_name", "text", "contact", "line", "note"])
def test_a_name_or_number_does_nothing_either(portal, name):
    attack = '"><script>alert(1)</script>'
    body = {"verdict": attack, "sender": "employee", "reason": attack, "flags": [attack], "template": attack}
    entry = seal(Record(Kind.MESSAGE, NOON, body, {name: attack}), "acme", 0, 0, NOON, bytes(16))
    receive(portal, [entry])
    portal.whereabouts[Position("acme", "messages", 0)] = [Whereabouts(attack, State.REFUSED, None, attack)]

    seen = Page(look(portal))

    assert "script" not in seen.tags
    assert not [name for _, name, _ in seen.attributes if name.startswith("on")]


@pytest.mark.parametrize("path", ["/", "/sign-in", "/?kind=nonsense", "/?before=1", "/nowhere"])
def test_no_page_runs_a_script_or_fetches_anything_from_outside(portal, path):
    receive(portal, texts(1))
    with portal.signed_in() as session:
        answer = session.get(portal.url + path)

    seen = Page(answer)
    assert not {"style", "iframe", "object", "embed", "base"} & set(seen.tags)
    assert not seen.values("style")
    assert all(url.startswith(("/portal/", "#")) for name in ("src", "href", "action") for url in seen.values(name))
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src 'self';" in policy


def test_what_pages_load_is_served_from_here(portal):
    seen = Page(requests.get(f"{portal.url}/sign-in", timeout=5))
    loaded = {value for _, name, value in seen.attributes if name in ("href", "src") and "/static/" in value}

    for url in loaded:
        answer = requests.get(portal.server.address + url, timeout=5)
        assert answer.status_code == 200
        assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert len(loaded) == 2
    for path in ("nothing.css", "%2e%2e%2fpages.py", "..%5cpages.py"):
        assert "wall_clock" not in requests.get(f"{portal.url}/static/{path}", timeout=5).text


def test_numbers_show_their_last_four_digits_only(portal):
    receive(portal, texts(1))

    page = look(portal).text

    assert "•••0123" in page
    assert "4045550123" not in page
    assert "4155550100" not in page
    assert (masked("+14045550123"), masked("729725"), masked("")) == ("•••0123", "•••", "•••")


def test_entries_stand_newest_first_each_once_from_page_to_page(portal):
    for first in range(0, 120, 40):
        receive(portal, texts(40, first))
    receive(portal, texts(5, organization="globex"))

    seen, path = [], "/"
    while path:
        answer = look(portal, path)
        seen += shown_ids(answer)
        links = [value for _, name, value in Page(answer).attributes if name == "href" and "before=" in value]
        path = links[0].removeprefix("/portal") if links else None

    assert seen[:6] == [f"globex-{seq:012d}" for seq in range(4, -1, -1)] + ["acme-000000000119"]
    assert seen[5:] == [f"acme-{seq:012d}" for seq in range(119, -1, -1)]


def test_entries_can_be_filtered_by_organization_and_kind(portal):
    receive(portal, texts(3))
    receive(portal, texts(2, organization="globex"))
    receive(portal, make_entries("globex", "consent", 4, first=10, step=5))

    assert len(shown_ids(look(portal, "/?organization=acme"))) == 3
    assert len(shown_ids(look(portal, "/?organization=globex&kind="))) == 6
    assert len(shown_ids(look(portal, "/?kind=message"))) == 5
    assert len(shown_ids(look(portal, "/?organization=globex&kind=decision"))) == 2
    assert "acme-000000000001" not in look(portal, "/?organization=initech").text


@pytest.mark.parametrize(
    "query", ["organization=' OR 1=1", "organization=a%00b", "kind=chat", "before=1", "before=a.b.c"]
)
def test_a_damaged_link_is_said_to_be_one(portal, query):
    with portal.signed_in() as session:
        answer = session.get(f"{portal.url}/?{query}")

    assert answer.status_code == 400
    assert "OR 1=1" not in answer.text


def test_each_entry_says_where_it_is_or_why_not(portal):
    receive(portal, texts(1))
    portal.whereabouts[Position("acme", "messages", 0)] = [
        Whereabouts("salesforce", State.REFUSED, None, "STRING_TOO_LONG: lengthen the field"),
        Whereabouts("archive", State.OWED),
        Whereabouts("portal", State.DELIVERED, NOON),
        Whereabouts("second_archive", State.SET_ASIDE, None, "timeout"),
    ]

    shown = " ".join(" ".join(Page(look(portal)).texts).split())

    assert "Salesforce refused, waits for a person: STRING_TOO_LONG: lengthen the field" in shown
    assert "Archive not yet: its turn comes" in shown
    assert "Portal ✓ delivered 23 Nov 2026, 12:00:00 UTC" in shown
    assert "Second archive set aside, tried again: timeout" in shown


def test_texts_auto_messages_and_decisions_are_told_apart(portal):
    receive(portal, make_entries("acme", "consent", 2))
    receive(portal, [text_entry(9)])
    outbound = Record(Kind.MESSAGE, NOON, {"verdict": "blocked", "sender": "employee"}, {"text": "Hi"})
    receive(portal, [seal(outbound, "acme", 11, 11, NOON, bytes(16))])

    answer = look(portal)

    classes = [value for _, name, value in Page(answer).attributes if name == "class" and value.startswith("entry ")]
    shown = " ".join(" ".join(Page(answer).texts).split())
    assert classes == ["entry bubble employee", "entry bubble contact", "entry rule none", "entry bubble automatic"]
    assert "to Contact •••0123" in shown
    assert "Contact •••0123 to Ann Lee •••0100" in shown
    assert "Opted out" in shown
    assert "Before Opted in After Opted out Word STOP Tier 1 Source Contact" in shown
    assert "Template mo.request.contact Template version 1" in shown
    assert "Blocked" in shown


def test_an_erased_text_is_said_to_be_erased(portal):
    receive(portal, [text_entry(0)._replace(values=None)])
    receive(portal, [text_entry(1)._replace(values=None, body=None)])

    assert look(portal).text.count("Erased on request") == 2


def test_an_empty_portal_says_what_fills_it(portal):
    assert "assent sync" in look(portal).text


@pytest.mark.parametrize("query", ["", "organization=acme", "kind=decision", "organization=acme&kind=decision"])
@pytest.mark.parametrize("place", ["", f"before={NOON}.acme.5"])
def test_no_filter_makes_a_page_read_more_than_it_shows(portal, query, place):
    asked = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    event.listen(portal.store.database.engine, "before_cursor_execute", note)
    try:
        look(portal, f"/?{query}&{place}")
    finally:
        event.remove(portal.store.database.engine, "before_cursor_execute", note)

    listed = [(statement, parameters) for statement, parameters in asked if "FROM portal_entry" in statement]
    with portal.store.database.read() as tx:
        plans = [
            row.detail for told in listed for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {told[0]}", told[1]).all()
        ]
    assert len(listed) >= 2
    assert [plan for plan in plans if "portal_entry" in plan and "USING" not in plan] == []
    assert [plan for plan in plans if "TEMP B-TREE" in plan] == []
