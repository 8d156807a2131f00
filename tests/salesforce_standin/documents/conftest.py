"""A stand-in in this process, with a small package of its own; emptied for each test."""

import pytest

from connectors.salesforce.standin import StandIn
from tests.salesforce_standin.documents.sample_world import Caller, write_package


@pytest.fixture(scope="session")
def sample_package(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def sample_org(sample_package, tmp_path_factory):
    with StandIn(package=sample_package, state=tmp_path_factory.mktemp("state")) as org:
        yield org


@pytest.fixture
def org(sample_org):
    """An org without records in which nothing is armed."""
    sample_org.control.reset(rows=True)
    return sample_org


@pytest.fixture
def control(org):
    return org.control


@pytest.fixture
def caller(org):
    """Somebody who is logged in."""
    caller = Caller(org.address).login()
    yield caller
    caller.close()


@pytest.fixture
def stranger(org):
    """Somebody who is not."""
    caller = Caller(org.address)
    yield caller
    caller.close()
