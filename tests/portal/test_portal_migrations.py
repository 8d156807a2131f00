"""The portal's tables: brought up to date once, and declared as they are."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from connectors.portal import migrate, store
from consent.database import open_database


@pytest.fixture
def empty(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/portal.db")
    yield database
    database.dispose()


def _differences(database):
    with database.read() as tx:
        options = {
            "version_table": migrate.VERSION_TABLE,
            "compare_type": True,
            "include_name": lambda name, kind, _parents: kind != "table" or name.startswith("portal_"),
        }
        return compare_metadata(MigrationContext.configure(tx, opts=options), store.metadata)


def test_the_migrations_make_the_tables_that_the_code_declares(empty):
    assert migrate.current(empty) is None

    migrate.upgrade(empty)

    assert _differences(empty) == []
    assert migrate.current(empty) == migrate.newest()


def test_two_processes_that_start_at_once_migrate_once(empty):
    failures = []

    def start():
        try:
            migrate.upgrade(empty)
        except Exception as error:
            failures.append(error)

    starts = [threading.Thread(target=start) for _ in range(3)]
    for one in starts:
        one.start()
    for one in starts:
        one.join()

    assert failures == []
    assert _differences(empty) == []


def test_every_table_of_the_portal_says_so_by_its_name():
    assert {table.name for table in store.metadata.sorted_tables} == {
        "portal_entry",
        "portal_head",
    }


def test_what_is_personal_is_declared_as_such():
    personal = [(table.name, column.name) for table in store.metadata.sorted_tables for column in table.columns
                if column.info.get("personal")]  # fmt: skip

    assert personal == [("portal_entry", "personal")]
