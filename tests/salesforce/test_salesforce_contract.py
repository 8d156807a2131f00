"""Salesforce keeps the contract of every connector."""

from contextlib import contextmanager

import pytest

from connectors.contract import ConnectorContract


class TestSalesforceKeepsTheContract(ConnectorContract):
    @pytest.fixture
    def connector(self, salesforce):
        return salesforce

    @pytest.fixture
    def outage(self, org):
        @contextmanager
        def away():
            fault = org.arm(route="any", cut="before", times=0)
            try:
                yield
            finally:
                assert org.struck(fault), "nobody met the outage"
                org.disarm()

        return away
