"""A portal at work on real data: two organizations, every kind of entry, three destinations of which one refuses."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI

from connectors.memory import MemoryConnector
from connectors.portal import migrate as portal_migrate
from connectors.portal import protocol
from connectors.portal.connector import PortalConnector, PortalSettings
from connectors.portal.store import PortalStore
from consent.canonical import timestamp
from consent.database import Database, open_database, run
from consent.kinds import Lane
from consent.lines import set_line
from consent.organizations import create_organization, set_feature, set_setting
from consent.tags import Tags
from jobs.access import Access, Purpose, Role, users
from jobs.access.links import make_link
from jobs.running import Runs
from jobs.tracing import whereabouts_of
from jobs.web.pages import Desk, portal_router
from jobs.web.receiver import receiver_router
from sync.delivery import Rules
from sync.destinations import Destination
from sync.intake import Intake
from sync.migrate import tag_key, upgrade
from sync.syncing import sync_now

ATTACK = '<script>window.attacked = 1</script><img src=x onerror="window.attacked=1">\'"{{ 7*7 }}'

ANN, PRIYA, MARCUS = ("e1", "Ann Lee"), ("e2", "Priya Natarajan"), ("e3", "Marcus Webb")


@dataclass
class Stage:
    """The portal, what stands behind it, and who may come in."""

    database: Database
    store: PortalStore
    intake: Intake
    access: Access
    salesforce: MemoryConnector
    archive: MemoryConnector
    destinations: Sequence[Destination]
    runs: Runs
    server: "Server"
    desk: Desk
    url: str
    clock: "Clock"
    then: "Then"
    answers: dict[str, Any] = field(default_factory=dict)

    def link(self, login: str) -> str:
        """Return a one-time address that signs a user in."""
        with self.database.write() as tx:
            user = users.user(tx, login)
            key = make_link(tx, Purpose.SIGN_IN, user.id, self.access.clock(), seconds=600)
        return f"{self.url}/welcome/{key}"

    def user(self, login: str, *roles: Role, organization: str | None = None, name: str = "Robin Reyes") -> str:
        """Make a user; return the login."""
        with self.database.write() as tx:
            users.create_user(tx, login, name, roles, organization=organization, actor="stage", now=self.access.clock())
        return login

    def sync(self) -> None:
        """Deliver what is owed."""
        sync_now(self.database, self.destinations, RULES)

    def conversation(self, contact: str) -> str:
        """Return the path of a contact's timeline."""
        with self.database.read() as tx:
            row = run(tx, "SELECT organization, id FROM conversation WHERE contact = ?", [contact]).one()
        return f"/reports/conversations/{row.organization}/{row.id}"


RULES = Rules(lease_seconds=5.0)


class Clock:
    """The portal's clock, which a test may set."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000 + self.ahead


class Server:
    """An app on a port of loopback."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        self._listener = listener
        self.address = _address(listener)
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()


def _address(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def stage(url: str) -> Iterator[Stage]:
    """Give a portal with everything on it that a page can show."""
    database = open_database(url)
    upgrade(database)
    portal_migrate.upgrade(database)
    store, secret, clock = PortalStore(database), protocol.new_secret(), Clock()
    then = Then()
    access, intake = Access(database, clock=clock), Intake(database, now=then)
    salesforce, archive, listener = MemoryConnector(), MemoryConnector(), socket.create_server(("127.0.0.1", 0))
    portal = PortalConnector(PortalSettings(f"{_address(listener)}/portal", (secret,)))
    destinations = [
        Destination("salesforce", salesforce, (Lane.CONSENT,)),
        Destination("archive", archive),
        Destination("portal", portal),
    ]
    runs = Runs(database, destinations, RULES)
    where = whereabouts_of(database, destinations, {"portal": store.arrived})
    app = FastAPI()
    app.include_router(receiver_router(store, [secret], clock))
    desk = Desk(database, access, where, intake, destinations, runs)
    app.include_router(portal_router(desk))
    server = Server(app, listener)
    made = Stage(
        database, store, intake, access, salesforce, archive, destinations, runs, server, desk,
        f"{server.address}/portal", clock, then,
    )  # fmt: skip
    try:
        _fill(made)
        yield made
    finally:
        runs.end(5)
        server.stop()
        intake.close()
        portal.shut()
        database.dispose()


def text(name: str, sender: str, contact: str, said: str, ago: float, who: tuple[str, str] = ANN, **more: Any) -> dict:
    """One text of the sample, sent so many minutes ago."""
    line = {"e1": "+14155550100", "e2": "+14155550101", "e3": "+14155550102"}[who[0]]
    return {"id": name, "org": "acme", "channel": "sms", "sender": sender, "line": line,
            "employee": {"id": who[0], "name": who[1]}, "contact": contact, "text": said, "ago": ago, **more}  # fmt: skip


GRACE, HUGO, WEI, EVE = "+14045550123", "+18575550148", "+12125550142", "+17185550155"
OMAR, ZOE = "+13125550166", "+14085550177"

TEXTS = [
    text("g1", "employee", GRACE, "Hi Grace, it's Ann from Acme. Do you have ten minutes this week for your review?", 1500),
    text("g2", "contact", GRACE, "Who is this?", 1498.5, contact_name="Grace Kim"),
    text("g3", "contact", GRACE, "Yes", 1496, contact_name="Grace Kim"),
    text("g4", "employee", GRACE, "Wonderful. Would Thursday at 10 work for you?", 96),
    text("g5", "contact", GRACE, "Thursday is good 👍 Can you stop by at 5 instead, after I pick up the kids?", 93, contact_name="Grace Kim"),
    text("g6", "employee", GRACE, "Of course, 5 it is.", 91),
    text("g7", "contact", GRACE, "Stop", 34, contact_name="Grace Kim"),
    text("g8", "employee", GRACE, "Sorry Grace, one more thing about Thursday:", 31),
    text("h1", "contact", HUGO, "Good morning, are my documents ready?", 80, PRIYA, contact_name="Hugo Brandt"),
    text("h2", "contact", HUGO, "YES", 79, PRIYA, contact_name="Hugo Brandt"),
    text("h3", "employee", HUGO, "Good morning Hugo, they are ready to sign at the Atlantic Avenue branch.", 77, PRIYA),
    text("w1", "employee", WEI, "Hello Wei, please call me about the wire instructions.", 60, MARCUS, org="acme-west"),
    text("w2", "employee", WEI, "It is urgent.", 55, MARCUS, org="acme-west"),
    text("o1", "contact", OMAR, "Take me off this list please", 50, PRIYA, contact_name="Omar Haddad"),
    text("o2", "contact", OMAR, "Actually can you tell me the branch hours?", 40, PRIYA, contact_name="Omar Haddad"),
    text("x1", "contact", EVE, ATTACK, 30, contact_name=ATTACK[:60]),
    text("x2", "contact", EVE, "YES", 28),
    text("x3", "employee", EVE, f"{ATTACK} https://evil.example/", 26),
    text("z1", "employee", ZOE, "Hello from Globex", 25, org="globex", line="+14155550199", employee={"id": "g9", "name": "Gil Ford"}),
    text("z2", "contact", ZOE, "YES", 24, org="globex", line="+14155550199", employee={"id": "g9", "name": "Gil Ford"}, contact_name="Zoe Quinn"),
]  # fmt: skip


class Then:
    """The clock that the sample is taken by: each text arrives a moment after it was sent."""

    def __init__(self) -> None:
        self.at: int | None = None

    def __call__(self) -> int:
        return time.time_ns() // 1_000 if self.at is None else self.at


def take(intake: Intake, then: Then, texts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Take texts in the order they were sent in, and return the answers by id."""
    answers, now = {}, time.time_ns() // 1_000
    for one in sorted(texts, key=lambda one: -one["ago"]):
        then.at = now - round(one["ago"] * 60_000_000)
        message = {name: value for name, value in one.items() if name != "ago"} | {"sent_at": timestamp(then.at)}
        then.at += 240_000
        [answers[one["id"]]] = intake.take([message])
    then.at = None
    wrong = [one for one in answers.values() if "error" in one]
    assert not wrong, wrong
    return answers


def _fill(made: Stage) -> None:
    database, now = made.database, time.time_ns() // 1_000 - 10 * 86_400_000_000
    with database.write() as tx:
        create_organization(tx, "acme", "Acme Bank", parent=None, actor="cli-stage", now=now)
        create_organization(tx, "acme-west", "Acme West", parent="acme", actor="cli-stage", now=now)
        create_organization(tx, "acme-seattle", "Acme Seattle", parent="acme-west", actor="cli-stage", now=now)
        create_organization(tx, "globex", "Globex Wealth", parent=None, actor="cli-stage", now=now)
        create_organization(tx, "initech", "Initech", parent=None, actor="cli-stage", now=now)
        set_setting(tx, "initech", "capability", "not_ordered", actor="cli-stage", now=now)
        for name in ("acme", "globex"):
            set_feature(tx, name, "sms_opt_in", True, actor="cli-stage", now=now)
        set_setting(tx, "acme", "languages", "en,es", actor="cli-stage", now=now)
        tags = Tags(tag_key(tx))
        for number, who, sub in (
            ("+14155550100", ANN, None),
            ("+14155550101", PRIYA, None),
            ("+14155550102", MARCUS, "acme-west"),
        ):
            set_line(tx, tags, "acme", number, *who, sub_organization=sub, actor="cli-stage", now=now)
    made.answers = take(made.intake, made.then, TEXTS)
    made.user("all@assent.example", *Role, name="Robin Reyes")
    made.user("reports@acme.example", Role.REPORTS, organization="acme", name="Dana Cole")
    made.user("setup@acme.example", Role.SETUP, organization="acme", name="Sam Ortiz")
    made.user("operations@acme.example", Role.OPERATIONS, organization="acme", name="Kim Park")
    made.user("west@acme.example", Role.REPORTS, Role.SETUP, organization="acme-west", name="Lee West")
    made.user("globex@globex.example", Role.REPORTS, Role.SETUP, Role.OPERATIONS, organization="globex", name="Glo Bex")
    refused = [one["entry"] for one in made.answers["o1"]["auto_messages"]]
    made.salesforce.refuse(
        *refused, code="STRING_TOO_LONG", advice="the field Text__c is too short there: lengthen it, then try again"
    )
    made.salesforce.refuse(
        made.answers["w1"]["auto_messages"][0]["entry"], code="ENTITY_IS_DELETED",
        advice="the record was deleted there: restore it from the recycle bin, then try again",
    )  # fmt: skip
    made.sync()
    made.sync()
