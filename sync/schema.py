"""Every table of the ledger's database, imported once, so that migrations and tests see them all."""

from consent import conversations, database, holds, ledger, organizations, retention, reviews
from sync import alarms, destinations, findings, group, leases, migrate, receipts, resync

metadata = database.metadata

__all__ = [
    "alarms", "conversations", "destinations", "findings", "group", "holds", "leases", "ledger", "metadata", "migrate",
    "organizations", "receipts", "resync", "retention", "reviews",
]  # fmt: skip
