"""An org with Assent's own package, emptied for each test, and somebody who asks it."""

import pytest

from connectors.salesforce.standin import StandIn
from tests.salesforce_standin.standin_world import PACKAGE, Caller


@pytest.fixture(scope="session")
def assent_org(tmp_path_factory):
    with StandIn(package=PACKAGE, state=tmp_path_factory.mktemp("org")) as org:
        yield org


@pytest.fixture
def org(assent_org):
    """An org without records in which nothing is armed."""
    assent_org.control.reset(rows=True)
    return assent_org


@pytest.fixture
def control(org):
    return org.control


@pytest.fixture
def caller(org):
    made = Caller(org.address)
    yield made
    made.close()
