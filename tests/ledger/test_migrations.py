"""The migrations and the tables that the code declares are one and the same."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from consent.database import open_database
from consent.ledger import ledgers
from jobs import access
from sync.migrate import SchemaError, current, newest, require, tag_key, upgrade
from sync.schema import metadata


def test_the_migrations_make_exactly_the_tables_that_the_code_declares(database):
    with database.read() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "include_name": _ours})
        differences = compare_metadata(context, metadata)

    assert access.Access is not None  # its tables stand in the same metadata once it is imported
    assert differences == []


def test_an_upgraded_database_knows_its_key_and_its_system_ledger_and_an_upgrade_again_changes_neither(database):
    with database.read() as tx:
        before = tag_key(tx), ledgers(tx)

    upgrade(database)

    with database.read() as tx:
        assert (tag_key(tx), ledgers(tx)) == before
    assert before[1] == ["system"]
    assert len(before[0]) == 32
    require(database)


def test_an_empty_database_is_told_apart_and_says_what_to_run(tmp_path, open_databases):
    empty = open_databases(f"sqlite:///{tmp_path}/new/empty.db")

    assert current(empty) is None
    with pytest.raises(SchemaError, match=r"has no tables yet: run `assent db upgrade`"):
        require(empty)


def test_two_that_upgrade_at_once_leave_one_schema(tmp_path, postgres, open_databases):
    postgres.run("CREATE DATABASE upgraded_twice")
    urls = [f"sqlite:///{tmp_path}/twice.db", postgres.url("upgraded_twice")]

    for url in urls:
        failures = []

        def work(url=url, failures=failures):
            database = open_database(url)
            try:
                upgrade(database)
            except Exception as error:
                failures.append(error)
            database.dispose()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert failures == []
        assert current(open_databases(url)) == newest()


def _ours(name, kind, parents):
    """The portal may live in the same database; its tables are its own affair."""
    return kind != "table" or not name.startswith("portal_")


#: A row an installation, a person, a token, an alarm or a run: on several nodes each of them holds these whole.
_EVERYWHERE = {
    "alarm", "destination", "finding", "organization", "resync", "run", "secret",
}  # fmt: skip


def test_every_key_begins_with_the_organization_so_that_tables_can_be_distributed_by_it():
    keys = {
        f"{table.name}.{key.name}": next(column.name for column in key.columns)
        for table in metadata.sorted_tables if table.name not in _EVERYWHERE and not table.name.startswith("access_")
        for key in (*table.constraints, *table.indexes) if len(key.columns)
    }  # fmt: skip

    assert {name: first for name, first in keys.items() if first != "organization"} == {}
    assert len(keys) > 15
