"""An upgrade while the version before still runs: what its code says to the database holds on today's schema."""

import json
from pathlib import Path

import pytest
from alembic import command

from consent.database import run
from consent.kinds import SYSTEM
from consent.replay import replay
from sync.destinations import register
from sync.intake import Intake
from sync.migrate import SchemaError, current, migrations, newest, require, upgrade
from tests.ledger.auditing import assert_whole, kept
from tests.sync.sync_world import deliver_all, destination, ids, owed_to, promised, set_aside_for

_NO_STATEMENT = ("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA")


@pytest.fixture(params=["sqlite", "postgresql"])
def released(request, tmp_path, postgres, open_databases):
    """A database as the last release made it, still empty, and what that release's code said to it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/released.db"
    else:
        name = f"released_{tmp_path.name[-24:]}".lower().replace("-", "_")
        postgres.run(f"CREATE DATABASE {name}")
        url = postgres.url(name)
    database = open_databases(url)
    said = json.loads((Path(__file__).parent / f"last_release_{request.param}.json").read_text())
    with database.write() as tx:
        command.upgrade(migrations(tx), said["revision"])
        run(tx, "INSERT INTO secret (name, value) VALUES ('tags', ?)", [bytes.fromhex(said["key"])])
        run(tx, "INSERT INTO ledger (organization) VALUES ('system')")
    return database, said


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_last_release_goes_on_while_the_schema_is_upgraded_and_this_one_takes_over(released, share):
    database, said = released
    before = int(len(said["statements"]) * share)
    say(database, said["statements"][:before])

    upgrade(database)
    say(database, said["statements"][before:])

    assert current(database) == newest() != said["revision"]
    written = assert_whole(database, "acme")
    assert known(replay(written), said["knows"]) == known(kept(database, "acme"), said["knows"])
    assert Intake(database).take(said["messages"]) == said["answers"]
    # It had delivered all but its last text to a place of the same name; that place holds what it was given.
    to = destination()
    register(database, [to])
    owed = sorted([*said["answers"][-1]["entries"], *ids(database, SYSTEM)])
    assert owed_to(database, to) == len(owed)
    assert set_aside_for(database, to) == []
    done = deliver_all(database, to)
    assert (done.settled, done.owed, to.connector.ids()) == (len(owed), 0, owed)
    assert promised(database, to) == set(ids(database))


@pytest.mark.parametrize(("serves", "told"), [("0007", None), ("9999", "needs")])
def test_a_program_works_on_a_newer_schema_only_while_that_still_serves_it(database, serves, told):
    with database.write() as tx:
        run(tx, "UPDATE alembic_version SET version_num = '9999'")
        run(tx, "UPDATE secret SET value = ? WHERE name = 'oldest'", [serves.encode()])

    if told is None:
        require(database)
    else:
        with pytest.raises(SchemaError, match=f"is at 9999, this program {told}"):
            require(database)


def known(states, fields):
    """Return states as far as the release that wrote them knew them."""
    return {name: [getattr(state, field) for field in fields] for name, state in states.items()}


def say(database, statements):
    """Say what a release's code said, statement by statement."""
    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        if database.is_postgres:
            driver.autocommit = True
        for sql in statements:
            if not sql.startswith(_NO_STATEMENT):
                driver.execute(sql)
        if database.is_postgres:
            driver.autocommit = False
