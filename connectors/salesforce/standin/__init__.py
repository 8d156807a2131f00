"""A Salesforce org on this machine: served over TLS, from Salesforce's documents, with faults on demand.

It shares no code with the client that it tests, and refuses what it doesn't implement. See README.md.
"""

from connectors.salesforce.standin.control import Control, ControlError
from connectors.salesforce.standin.standin import Address, StandIn

__all__ = ["Address", "Control", "ControlError", "StandIn"]
