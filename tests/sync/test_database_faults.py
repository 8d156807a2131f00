"""A database that is cut off, read-only or full: who was answered is in the ledger once, and nobody else is told so."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest

from connectors.memory import MemoryConnector
from consent.database import DatabaseError
from sync.intake import Intake
from tests.ledger.auditing import assert_whole
from tests.sync.cutting import Cutter
from tests.sync.sync_world import deliver_all, destination, entries, found, ids, logged, owed_to, promised, text

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def acme_url(make_postgres_url, open_databases):
    """A PostgreSQL database with the organization acme."""
    url = make_postgres_url()
    found(open_databases(url), "acme")
    return url


@pytest.fixture
def cutter(postgres):
    cutter = Cutter(postgres.socket)
    yield cutter
    cutter.end()


def taken(database):
    """Count the texts in the ledger by message id."""
    return Counter(entry.revealed()["message_id"] for entry in entries(database, "acme") if entry.kind == "message")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_that_was_cut_once_is_made_good_and_answered(acme_url, cutter, open_databases, when):
    straight, through = open_databases(acme_url), open_databases(cutter.url(acme_url))
    intake = Intake(through)
    intake.take([text("Hi", contact=99)])
    messages = [text("Hi", contact=at) for at in range(20)]
    cutter.cut(when)

    with logged() as events:
        answers = intake.take(messages)

    assert (cutter.done, events.count("intake.transaction_failed")) == (1, 1)
    assert [answer["id"] for answer in answers] == [message["id"] for message in messages]
    assert set(taken(straight).values()) == {1}
    assert len(assert_whole(straight, "acme")) == 65
    assert Intake(straight).take(messages) == answers


@pytest.mark.parametrize("when", [("before", "before"), ("after", "after"), ("before", "after"), ("after", "before")])
def test_a_commit_that_was_cut_twice_is_not_answered_and_may_be_sent_again(acme_url, cutter, open_databases, when):
    straight, through = open_databases(acme_url), open_databases(cutter.url(acme_url))
    intake = Intake(through)
    intake.take([text("Hi", contact=99)])
    messages = [text("Hi", contact=at) for at in range(20)]
    cutter.cut(*when)

    with pytest.raises(DatabaseError, match="can't be reached"), logged():
        intake.take(messages)
    answers = intake.take(messages)

    assert cutter.done == 2
    assert [answer["verdict"] for answer in answers] == ["held"] * 20
    assert set(taken(straight).values()) == {1}
    assert len(assert_whole(straight, "acme")) == 65


def test_backends_that_are_killed_at_any_moment_lose_no_answered_text_and_write_none_twice(
    acme_url, postgres, open_databases
):
    database = open_databases(acme_url)
    messages = [[text("Hi", contact=at, line=line) for at in range(60)] for line in range(3)]
    answered, failures, over = Counter(), Counter(), threading.Event()
    name = acme_url.partition("?")[0].rpartition("/")[2]
    chance = random.Random(7)

    def send(mine):
        intake = Intake(database)
        for message in mine:
            while True:
                try:
                    [answer] = intake.take([message])
                except DatabaseError as error:
                    failures[str(error)] += 1
                    continue
                assert answer["verdict"] == "held"
                answered[message["id"]] += 1
                break

    def kill():
        while not over.wait(chance.uniform(0.002, 0.02)):
            postgres.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND application_name = 'assent' ORDER BY random() LIMIT 2", name,
            )  # fmt: skip

    killer, senders = threading.Thread(target=kill), [threading.Thread(target=send, args=(one,)) for one in messages]
    with logged() as events:
        for thread in (killer, *senders):
            thread.start()
        for sender in senders:
            sender.join()
        over.set()
        killer.join()

    assert events.count("intake.transaction_failed") > 0
    assert set(failures) <= {
        "the database can't be reached: check that it runs, and [database] url",
        "the database is shutting down: try again when it is back",
    }
    assert answered == taken(database) == Counter(message["id"] for mine in messages for message in mine)
    assert_whole(database, "acme")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_receipt_whose_commit_was_cut_is_written_once(acme_url, cutter, open_databases, when):
    straight, through = open_databases(acme_url), open_databases(cutter.url(acme_url))
    Intake(straight).take([text("Hi", contact=at) for at in range(20)])
    to = destination(ordered=True)  # each push has a receipt of its own

    class Cutting(MemoryConnector):
        """The commit after the third push is cut: that which would write its receipt."""

        def push(self, batch):
            outcomes = super().push(batch)
            if len(self.pushes) == 3:
                cutter.cut(when)
            return outcomes

    to.connector.__class__ = Cutting

    with pytest.raises(DatabaseError, match="can't be reached"), logged():
        deliver_all(through, to)
    left = owed_to(straight, to)
    done = deliver_all(straight, to)

    assert cutter.done == 1
    assert left == len(ids(straight)) - (15 if when == "after" else 10)
    assert (done.away, done.owed) == (False, 0)
    assert to.connector.ids() == ids(straight)
    assert promised(straight, to) == set(ids(straight))


def test_a_read_only_postgresql_says_so_and_takes_nothing(acme_url, postgres, open_databases):
    name = acme_url.partition("?")[0].rpartition("/")[2]
    postgres.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database = open_databases(acme_url)

    with pytest.raises(DatabaseError, match="read-only") as seen, logged():
        Intake(database).take([text("STOP")])

    assert not any(word in str(seen.value) for word in ("STOP", "+1"))
    postgres.run(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    database.dispose()
    assert Intake(database).take([text("STOP")])[0]["verdict"] == "consumed"


def test_a_full_postgresql_says_so_and_loses_nothing(acme_url, open_databases):
    database = open_databases(acme_url)
    intake = Intake(database)
    messages = [text("Hi", contact=at) for at in range(30)]
    intake.take(messages[:10])
    with database.write() as tx:
        # What PostgreSQL itself raises where a file can't grow.
        tx.exec_driver_sql(
            "CREATE FUNCTION full_disk() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full',"
            " MESSAGE = 'could not extend file \"base/5/1249\": No space left on device'; END $$ LANGUAGE plpgsql"
        )
        tx.exec_driver_sql("CREATE TRIGGER full_disk BEFORE INSERT ON entry FOR EACH ROW EXECUTE FUNCTION full_disk()")

    for size in (1, 20):  # a row at a time, and by COPY
        with pytest.raises(DatabaseError, match="disk is full: free some space"), logged():
            intake.take(messages[10 : 10 + size])
    with database.write() as tx:
        tx.exec_driver_sql("DROP TRIGGER full_disk ON entry")
    intake.take(messages)

    assert taken(database) == Counter(message["id"] for message in messages)
    assert_whole(database, "acme")


def test_a_postgresql_that_is_not_there_says_so(tmp_path, open_databases):
    with pytest.raises(DatabaseError, match="can't be reached"), logged():
        Intake(open_databases(f"postgresql://postgres:@/assent?host={tmp_path}")).take([text("STOP")])


# --- SQLite files ---------------------------------------------------------------------------------------------


def test_a_sqlite_database_that_another_process_holds_for_a_while_is_waited_for(
    make_sqlite_url, open_databases
):  # fmt: skip
    url = make_sqlite_url()
    database = open_databases(url)
    found(database, "acme")
    intake = Intake(database)
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    letting_go = threading.Timer(0.5, other.execute, ["ROLLBACK"])
    letting_go.start()

    answers = intake.take([text("Hi", contact=at) for at in range(20)])

    letting_go.join()
    other.close()
    intake.close()
    assert [answer["verdict"] for answer in answers] == ["held"] * 20
    assert sum(taken(database).values()) == 20


def test_a_database_without_tables_says_what_to_run(tmp_path, open_databases):
    empty = open_databases(f"sqlite:///{tmp_path}/empty.db")

    with pytest.raises(DatabaseError, match="assent db upgrade"):
        Intake(empty).take([text()])


def test_a_file_that_is_no_database_says_so_and_refuses_no_text(tmp_path, open_databases):
    (tmp_path / "letter.db").write_text("Dear Sir or Madam, " * 300)

    with pytest.raises(DatabaseError, match="no SQLite database"):
        Intake(open_databases(f"sqlite:///{tmp_path}/letter.db")).take([text()])


def test_a_database_that_is_damaged_says_so_and_refuses_no_text(make_sqlite_url, open_databases):
    url = make_sqlite_url()
    first = open_databases(url)
    found(first, "acme")
    with first.read() as tx:
        page = tx.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'conversation'").scalar_one()
        size = tx.exec_driver_sql("PRAGMA page_size").scalar_one()
    first.dispose()
    with Path(url.removeprefix("sqlite:///")).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)

    with pytest.raises(DatabaseError, match="damaged"):
        Intake(open_databases(url)).take([text()])


@pytest.fixture
def reachable(sqlite_template):
    """A migrated SQLite file in a folder that any user can reach, as a temporary one of the tests can't be."""
    place = Path(tempfile.mkdtemp(prefix="assent-fault-"))
    place.chmod(0o755)
    shutil.copyfile(sqlite_template, place / "assent.db")
    yield place / "assent.db"
    place.chmod(0o755)
    shutil.rmtree(place)


def drive(fault, path):
    """Run the driver; return the answers that it printed, and the error that it met."""
    command = [sys.executable, str(_ROOT / "tests" / "sync" / "fault_driver.py"), fault, str(path)]
    done = subprocess.run(
        command, cwd=_ROOT, env=os.environ | {"PYTHONPATH": str(_ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [one for one in told if "verdict" in one], [
        one["error"] for one in told if isinstance(one.get("error"), str)
    ]


def test_a_full_disk_says_so_and_loses_no_answered_text(reachable, open_databases):
    answers, errors = drive("full", reachable)

    database = open_databases(f"sqlite:///{reachable}")
    assert [error for error in errors if "free some space" not in error] == []
    assert len(errors) == 1
    assert Counter(answer["id"] for answer in answers) == taken(database)
    assert len(answers) == 505
    assert_whole(database, "acme")


def test_a_read_only_file_says_so_and_takes_nothing(reachable, open_databases):
    answers, errors = drive("readonly", reachable)

    assert len(answers) == len(errors) == 1
    assert "make its file and folder writable" in errors[0] or "rights on its folder" in errors[0]
    reachable.chmod(0o644)
    reachable.parent.chmod(0o755)
    assert sum(taken(open_databases(f"sqlite:///{reachable}")).values()) == 1
