"""A portal at work for each test, and connectors to it."""

from collections.abc import Callable, Iterator

import pytest

from connectors.portal import migrate, protocol
from connectors.portal.connector import PortalConnector, PortalSettings
from connectors.portal.store import PortalStore, metadata
from consent.database import open_database
from sync.migrate import upgrade
from tests.portal.portal_world import NOON, Portal


@pytest.fixture(scope="session")
def portal_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('portal')}/portal.db"


@pytest.fixture(scope="session")
def running(portal_url: str) -> Iterator[Portal]:
    """One portal for all tests, since starting one takes longer than most of them."""
    database = open_database(portal_url)
    migrate.upgrade(database)
    upgrade(database)
    portal = Portal(PortalStore(database), protocol.new_secret())
    yield portal
    portal.server.stop()
    database.dispose()


@pytest.fixture
def portal(running: Portal) -> Portal:
    """The portal, holding nothing yet."""
    with running.store.database.write() as tx:
        for table in metadata.sorted_tables:
            tx.execute(table.delete())
    running.now = NOON
    return running


@pytest.fixture
def connect(portal: Portal) -> Iterator[Callable[..., PortalConnector]]:
    """Make connectors to the portal, or to whatever else stands at `url`."""
    made = []

    def connect(**changes: object) -> PortalConnector:
        settings = {"url": portal.url, "secrets": (portal.secret,), "longest_wait": 0.05} | changes
        made.append(PortalConnector(PortalSettings(**settings)))
        return made[-1]

    yield connect
    for connector in made:
        connector.shut()
