"""People are told of trouble once when it starts and once when it is over, by real mail and a signed webhook."""

import base64
import json
import os
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks import Webhook

from connectors.memory import MemoryConnector
from consent.kinds import SYSTEM
from jobs.build import Parts
from jobs.chores import compare_all, verify_all
from jobs.exits import Problem
from jobs.settings import load_settings
from jobs.watching import Watch
from sync import findings
from sync.alarms import Trouble, newest_alarms, note_troubles
from sync.choosing import Filters, Only
from sync.clock import database_now
from sync.destinations import register, suspend, wake_suspended
from sync.intake import Intake
from sync.port import Budget
from sync.resync import resync
from sync.runs import list_runs
from tests.archive.programs import free_port
from tests.archive.smtp_server import SmtpServer
from tests.sync.sync_world import NOON, deliver_all, destination, found, logged, rules, text

SECRET = "whsec_" + base64.b64encode(b"twenty-four random bytes!").decode()


class Hooked:
    """A webhook's receiving end, which checks signatures with the standard's own library."""

    def __init__(self):
        self.got, self.answers = [], []
        hooked = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                code = hooked.answers.pop(0) if hooked.answers else 204
                event = Webhook(SECRET).verify(body, {name.lower(): value for name, value in self.headers.items()})
                hooked.got.append((code, self.headers["webhook-id"], event))
                self.send_response(code)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/assent"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    @property
    def told(self):
        return [(event["type"], event["kind"], event["subject"]) for code, _, event in self.got if code < 300]


@pytest.fixture
def hook():
    hooked = Hooked()
    yield hooked
    hooked.close()


@pytest.fixture
def smtp(tmp_path):
    (tmp_path / "smtp").mkdir()
    server = SmtpServer(tmp_path / "smtp", free_port(), "none")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def to():
    return destination()


class Installation:
    """The settings of one installation, and processes of it that watch."""

    def __init__(self, folder, url, hook, smtp, to):
        self._file, self.destinations, self._opened = folder / "settings.toml", [to], []
        self.settings = f"""
[database]
url = "{url}"
[alerts]
webhook_url = "{hook.url}"
mail_to = ["ann@bank.example", "bo@bank.example"]
mail_from = "assent@bank.example"
smtp_host = "127.0.0.1"
smtp_port = {smtp.port}
smtp_security = "none"
clear_seconds = 0
disk_free_percent = 0
"""
        self.write(self.settings)

    def write(self, settings):
        self._file.write_text(settings)

    def parts(self, **environ):
        environ = {f"ASSENT_ALERTS__{name}": value for name, value in environ.items()}
        parts = Parts(load_settings(self._file, environ | {"ASSENT_ALERTS__WEBHOOK_SECRET": SECRET}))
        parts.__dict__["destinations"] = self.destinations  # a destination in memory has no settings
        self._opened.append(parts)
        return parts

    def watch(self, stalled=list, **environ):
        watch = Watch(self.parts(**environ), stalled)
        return lambda: watch.look(threading.Event())

    def close(self):
        for parts in self._opened:
            parts.close()


@pytest.fixture
def installed(tmp_path, database_url, database, hook, smtp, to):
    found(database, "acme")
    register(database, [to])
    made = Installation(tmp_path, database_url, hook, smtp, to)
    yield made
    made.close()


def test_a_suspended_destination_is_told_once_at_its_start_and_once_at_its_end_by_however_many_processes(
    installed, database, hook, smtp, to
):
    watches = [installed.watch() for _ in range(3)]
    suspend(database, to.name, "forbidden", "Salesforce refuses our key: rotate it.")

    for _ in range(2):
        threads = [threading.Thread(target=look) for look in watches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wake_suspended(database, to.name, now_due=True)
    for look in watches * 2:
        look()

    assert hook.told == [("alert.started", "suspended", "memory"), ("alert.ended", "suspended", "memory")]
    first, second = smtp.mails
    assert first["To"] == "ann@bank.example, bo@bank.example"
    assert first["Subject"] == "Assent: memory is suspended: forbidden"
    assert "What to do: Salesforce refuses our key: rotate it. " in first.get_content()
    assert second["Subject"] == "Assent: over: memory is suspended: forbidden"
    assert second["In-Reply-To"] == first["Message-ID"]


def test_a_remote_whose_words_hold_line_ends_keeps_nobody_from_being_told(installed, database, hook, smtp, to):
    suspend(database, to.name, "not\r\nBcc: eve@evil.example", "It says so.")

    installed.watch()()

    [mail] = smtp.mails
    assert mail["Subject"] == "Assent: memory is suspended: not Bcc: eve@evil.example"
    assert mail["Bcc"] is None


def test_a_channel_that_is_away_is_told_when_it_is_back_and_keeps_no_other_from_being_told(
    installed, database, hook, smtp, to
):
    look = installed.watch()
    hook.answers = [500, 302]
    smtp.fail("451")
    suspend(database, to.name, "forbidden", "Rotate the key.")

    with logged() as names:
        for _ in range(4):
            look()

    assert [code for code, _, _ in hook.got] == [500, 302, 204]
    assert names.count("alarm.not_told") == 2  # a channel, once
    assert len({id for _, id, _ in hook.got}) == 1
    assert smtp.faults_left == []
    assert len(smtp.mails) == 1


def test_trouble_that_comes_and_goes_is_told_once(installed, database, hook, to):
    look = installed.watch(CLEAR_SECONDS="60")

    for _ in range(3):
        suspend(database, to.name, "forbidden", "Rotate the key.")
        look()
        wake_suspended(database, to.name, now_due=True)
        look()

    assert hook.told == [("alert.started", "suspended", "memory")]


def test_a_decision_that_does_not_get_through_is_told_wherever_it_waits(installed, database, hook, to):
    look = installed.watch(CONSENT_SECONDS="0.05")
    intake = Intake(database)
    intake.take([text("STOP")])
    with to.connector.away():
        deliver_all(database, to)
        time.sleep(0.1)
        look()
    deliver_all(database, to)
    look()
    stop = intake.take([text("STOP", contact=1)])[0]["entries"][1]
    intake.close()
    to.connector.delay(stop, retry_after=3600)
    deliver_all(database, to)
    time.sleep(0.1)
    look()
    deliver_all(database, to)
    look()

    assert hook.told == [("alert.started", "late", "memory"), ("alert.ended", "late", "memory")] * 2


def test_drift_and_tampering_are_told_and_are_over_when_another_look_finds_all_well(installed, database, hook, to):
    look = installed.watch()
    intake = Intake(database)
    intake.take([text("Hi", contact=n) for n in range(3)])
    intake.close()
    deliver_all(database, to)
    to.connector.forget(to.connector.ids()[0])
    with database.read() as tx:
        body = bytes(tx.exec_driver_sql("SELECT body FROM entry WHERE organization = 'acme' AND seq = 3").scalar())
    change(database, body.replace(b"sms", b"mms", 1))

    compare_all(database, [to], threading.Event())
    verify_all(database, threading.Event())
    look()
    change(database, body)
    resync(database, to, Filters(only=Only.MISSING), rules(), actor="ann", now=NOON)
    compare_all(database, [to], threading.Event())
    verify_all(database, threading.Event())
    look()

    assert sorted(hook.told[:2]) == [("alert.started", "drift", "memory"), ("alert.started", "tamper", "ledger acme")]
    assert sorted(hook.told[2:]) == [("alert.ended", "drift", "memory"), ("alert.ended", "tamper", "ledger acme")]
    with database.read() as tx:
        runs = [(run.actor, run.work, run.state, run.told["differences"]) for run in list_runs(tx)]
    assert runs == [("schedule", "reconcile", "done", 0), ("schedule", "reconcile", "done", 1)]


def test_a_destination_that_refuses_to_be_told_how_far_it_is_is_told_of_with_its_words(installed, database, hook, smtp):
    of_acme, of_zeta = (findings.ledger_at("memory", ledger) for ledger in ("acme", "zeta"))
    with database.write() as tx:
        for ledger in (of_acme, of_zeta):
            findings.note(tx, findings.STATEMENT, ledger, 1, 1, "REQUIRED_FIELD_MISSING: Undo it in Setup")
    installed.watch()()
    for ledger in (of_zeta, of_acme):  # one alarm, as long as it refuses one of them
        assert hook.told == [("alert.started", "statement", "memory")]
        with database.write() as tx:
            findings.forget(tx, findings.STATEMENT, ledger)
        installed.watch()()

    assert hook.told == [("alert.started", "statement", "memory"), ("alert.ended", "statement", "memory")]
    assert smtp.mails[0]["Subject"] == (
        "Assent: memory can't be told how far it is: REQUIRED_FIELD_MISSING: Undo it in Setup"
    )


def test_what_was_found_at_a_destination_or_a_ledger_of_it_is_over_when_the_settings_no_longer_name_it_and_comes_back(
    installed, database, hook, to
):
    name = "an-archive-with-a-name-of-fifty-characters-or-more"
    [long] = installed.destinations = [replace(to, name=name)]
    of_zeta = findings.ledger_at(name, "zeta-holdings-of-north-america-1")
    with database.write() as tx:
        findings.note(tx, findings.STATEMENT, of_zeta, 1, 1, "REQUIRED_FIELD_MISSING: Undo it in Setup")
        findings.note(tx, findings.RECONCILE, name, 1, 3, "3 missing")

    told = []
    for destinations in ([long], [replace(long, organizations=frozenset({"acme"}))], [], [long]):
        installed.destinations = destinations
        installed.watch()()
        told.append(sorted(hook.told))
        hook.got.clear()

    assert told == [
        [("alert.started", "drift", name), ("alert.started", "statement", name)],
        [("alert.ended", "statement", name)],
        [("alert.ended", "drift", name)],
        [("alert.started", "drift", name), ("alert.started", "statement", name)],
    ]


def test_what_a_destination_refused_or_put_off_of_a_ledger_that_it_takes_no_more_is_trouble_no_more(
    installed, database, hook, to
):
    intake = Intake(database)
    [refused, put_off] = intake.take([text("STOP", contact=n) for n in range(2)])
    intake.close()
    to.connector.refuse(refused["entries"][1], code="STRING_TOO_LONG")
    to.connector.delay(put_off["entries"][1], retry_after=3600)
    deliver_all(database, to)
    time.sleep(0.1)

    installed.watch(CONSENT_SECONDS="0.05")()
    installed.destinations = [replace(to, organizations=frozenset({SYSTEM}))]
    installed.watch(CONSENT_SECONDS="0.05")()

    assert sorted(hook.told) == [
        ("alert.ended", "late", "memory"), ("alert.ended", "refused", "memory"),
        ("alert.started", "late", "memory"), ("alert.started", "refused", "memory"),
    ]  # fmt: skip


def change(database, body):
    mark = "%s" if database.is_postgres else "?"
    with database.write() as tx:
        tx.exec_driver_sql(f"UPDATE entry SET body = {mark} WHERE organization = 'acme' AND seq = 3", (body,))


def test_an_overdue_review_a_full_disk_a_used_up_quota_and_a_dead_letter_are_told(
    installed, database, hook, to, tmp_path
):
    intake = Intake(database)
    month = -40 * 86_400
    texts = [text("Hi", sender="employee", at=month), text("How do I stop these?", at=month + 10)]
    [agreed, doubted] = intake.take(texts)
    intake.close()
    assert "possible_revocation" in doubted["flags"]
    to.connector.refuse(agreed["entries"][0], code="STRING_TOO_LONG")
    deliver_all(database, to)
    to.connector.__class__ = Metering

    installed.watch(DISK_FREE_PERCENT="100", QUOTA_PERCENT="90")()

    kinds = {kind for _, kind, _ in hook.told}
    assert kinds >= {"review", "quota", "refused"}
    assert ("disk" in kinds) is not database.is_postgres
    assert [event["facts"] for _, _, event in hook.got if event["kind"] == "quota"] == [{"used": 95, "limit": 100}]
    with database.read() as tx:
        assert {one.kind for one in newest_alarms(tx, 10)} == kinds


def test_alerts_are_listed_newest_first_of_a_kind_and_a_page_at_a_time(installed, database, to):
    for kinds in (("late", "drift"), ("drift",)):
        with database.write() as tx:
            now = database_now(tx)
            note_troubles(tx, [Trouble(kind, to.name, "Something.", "Nothing.") for kind in kinds], now + 1, 0)
    with database.read() as tx:
        every = newest_alarms(tx, 10)
        pages = [newest_alarms(tx, 1), newest_alarms(tx, 1, after=every[0].id)]
        late, drift = (newest_alarms(tx, 10, is_open=True, kind=kind) for kind in ("late", "drift"))
        with pytest.raises(LookupError):
            newest_alarms(tx, 1, after="nowhere")

    assert [one for page in pages for one in page] == every
    assert (late, [one.kind for one in drift]) == ([], ["drift"])


def test_what_only_one_process_can_see_is_over_when_that_process_says_so(installed, database, hook):
    quiet = ["delivery to memory"]
    stuck, other = installed.watch(stalled=lambda: quiet), installed.watch()

    stuck()
    stuck()
    quiet.clear()
    stuck()
    other()

    subject = "delivery to memory"
    assert hook.told == [("alert.started", "stalled", subject), ("alert.ended", "stalled", subject)]
    # Whoever is told may have many hosts, and the one that tells is any of them.
    assert hook.got[0][2]["what"].endswith(f"on {socket.gethostname()[:40]}, process {os.getpid()}")


def test_nothing_that_is_told_holds_a_number_a_name_or_a_text(installed, database, hook, smtp, to):
    intake = Intake(database)
    [answer] = intake.take([text("STOP it now", contact=7, contact_name="Zoe Quill")])
    intake.close()
    to.connector.refuse(answer["entries"][0], code="STRING_TOO_LONG")
    deliver_all(database, to)
    installed.watch()()

    told = json.dumps([event for _, _, event in hook.got]) + "".join(mail.get_content() for mail in smtp.mails)
    assert "STRING_TOO_LONG" in told
    for secret in ("4045550007", "Quill", "STOP it now"):
        assert secret not in told


def test_a_channel_that_is_named_by_half_stops_the_program_with_its_key(installed):
    installed.write(installed.settings.replace('smtp_host = "127.0.0.1"', ""))
    parts = installed.parts()

    with pytest.raises(Problem, match=r"alerts\.mail_to"):
        Watch(parts, list)


class Metering(MemoryConnector):
    """A destination that counts calls, nearly all of today's."""

    def budget(self):
        return Budget(95, 100)

    def ask_budget(self):
        return self.budget()
