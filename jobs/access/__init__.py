"""Who may see and do what: users with roles, their sessions, one-time links, API tokens, and what is recorded of them.

All of it stands in the main database (tables `access_…`); only hashes of what lets somebody in are kept.
"""

from jobs.access.access import Access, Limits
from jobs.access.links import Link, Purpose
from jobs.access.notes import ledger_of, note_access, note_setting
from jobs.access.tokens import Grant, Scope
from jobs.access.viewer import Role, Sight, Viewer

__all__ = [
    "Access",
    "Grant",
    "Limits",
    "Link",
    "Purpose",
    "Role",
    "Scope",
    "Sight",
    "Viewer",
    "ledger_of",
    "note_access",
    "note_setting",
]
