"""Entries to a Salesforce org: the connector is `connectors.salesforce.connector`, its settings stand here."""

from connectors.salesforce.settings import SalesforceSettings

__all__ = ["SalesforceSettings"]
