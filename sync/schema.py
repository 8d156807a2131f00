"""Every table of the ledger's database, imported once, so that migrations and tests see them all."""

from consent import conversations, database, ledger, organizations
from sync import destinations, group, leases, migrate, receipts, resync

metadata = database.metadata

__all__ = [
    "conversations", "destinations", "group", "leases", "ledger", "metadata", "migrate", "organizations",
    "receipts", "resync",
]  # fmt: skip
