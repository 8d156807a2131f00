"""A database with an organization that asks for consent, and an intake at work."""

import pytest

from sync.intake import Intake
from tests.sync.sync_world import destination, found


@pytest.fixture
def acme(database):
    """A database with the organization acme, in mode consent."""
    found(database, "acme")
    return database


@pytest.fixture
def intake(acme):
    """The intake of acme's process."""
    intake = Intake(acme)
    yield intake
    intake.close()


@pytest.fixture
def to():
    """A destination in memory that takes five entries at a time."""
    return destination()
