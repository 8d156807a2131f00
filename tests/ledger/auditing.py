"""A ledger checked from what it stores, as an auditor would, with libraries that share no code with ours."""

import hashlib
import json

import rfc8785
from pymerkle import InmemoryTree

from consent.conversations import standing_of
from consent.entry import entry_json, leaf_of
from consent.kinds import LANE_OF, Lane
from consent.ledger import newest_head, walk

#: The members of an entry that its leaf is made of.
LEAF = ("organization", "seq", "lane", "pos", "kind", "conversation", "version", "occurred_at", "recorded_at", "body")


def assert_whole(database, organization):
    """Check a ledger from what it stores, as an auditor would, and return its entries."""
    with database.read() as tx:
        entries = list(walk(tx, organization, page=7))
        heads = tx.exec_driver_sql(
            "SELECT size, consent, messages, audit, frontier FROM head"
            f" WHERE organization = '{organization}' ORDER BY size"
        ).fetchall()
        newest = newest_head(tx, organization)
    tree = InmemoryTree(algorithm="sha256")
    lanes = dict.fromkeys(Lane, 0)
    sizes = {head.size: head for head in heads}
    for seq, entry in enumerate(entries):
        assert (entry.seq, entry.pos, entry.lane) == (seq, lanes[LANE_OF[entry.kind]], LANE_OF[entry.kind])
        lanes[entry.lane] += 1
        told = json.loads(entry_json(entry))
        leaf = rfc8785.dumps({name: told[name] for name in LEAF})
        assert hashlib.sha256(b"\x00" + leaf).digest() == entry.leaf == leaf_of(entry)
        tree.append_entry(leaf)
        if seq + 1 in sizes:
            head = sizes[seq + 1]
            assert (head.consent, head.messages, head.audit) == tuple(lanes.values())
    assert newest.size == len(entries) == heads[-1].size
    assert newest.root == tree.get_root()
    return entries


def kept(database, org):
    """Return the states that the database keeps, by conversation id."""
    with database.read() as tx:
        rows = tx.exec_driver_sql(f"SELECT * FROM conversation WHERE organization = '{org}'").fetchall()
    return {row.id: standing_of(row).conversation for row in rows}
