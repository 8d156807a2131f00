"""Every table of the ledger's database, imported once, so that migrations and tests see them all."""

from consent import conversations, database, holds, ledger, names, organizations, retention, reviews
from sync import alarms, destinations, findings, group, leases, migrate, receipts, resync, runs

metadata = database.metadata

__all__ = [
    "alarms", "conversations", "destinations", "findings", "group", "holds", "leases", "ledger", "metadata", "migrate",
    "names", "organizations", "receipts", "resync", "retention", "reviews", "runs",
]  # fmt: skip
