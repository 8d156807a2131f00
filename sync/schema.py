"""Every table of the ledger's database, imported once, so that migrations and tests see them all."""

from consent import contacts, conversations, database, holds, ledger, names, organizations, owners, retention, reviews
from sync import alarms, destinations, findings, group, leases, migrate, receipts, resync_runs, runs

metadata = database.metadata

__all__ = [
    "alarms", "contacts", "conversations", "destinations", "findings", "group", "holds", "leases", "ledger",
    "metadata", "migrate", "names", "organizations", "owners", "receipts", "resync_runs", "retention", "reviews",
    "runs",
]  # fmt: skip
