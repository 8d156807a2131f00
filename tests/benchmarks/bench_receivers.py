"""Archive and portal: entries a second that they take."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from connectors.portal.connector import PortalConnector, PortalSettings
from connectors.portal.protocol import new_secret
from consent.kinds import Lane
from consent.ledger import read_lane
from sync.port import Batch, Receipt
from tests.benchmarks.bench_bookkeeping import deliver_all
from tests.benchmarks.bench_server import serving
from tests.benchmarks.bench_world import ORGANIZATION, Result, Scale, Store, fill, middle


def archive(store: Store, scale: Scale) -> Iterator[Result]:
    """Push segments to a directory on this disk, each durable before the next."""
    rates = []
    with store.fresh() as database:
        fill(database, scale.archive_entries)
        with database.read() as tx:
            entries = read_lane(tx, ORGANIZATION, Lane.MESSAGES, 0, scale.archive_entries)
    for _ in range(scale.rounds):
        with tempfile.TemporaryDirectory(prefix="assent-bench-") as folder:
            connector = ArchiveConnector(Directory(Path(folder) / "archive"))
            connector.prepare()
            size = connector.capacity.batch
            batches = [Batch(ORGANIZATION, Lane.MESSAGES, entries[at : at + size])
                       for at in range(0, len(entries), size)]  # fmt: skip
            started = time.perf_counter()
            outcomes = [outcome for batch in batches for outcome in connector.push(batch)]
            rates.append(len(entries) / (time.perf_counter() - started))
            connector.shut()
        if len(outcomes) != len(entries) or not all(isinstance(outcome, Receipt) for outcome in outcomes):
            raise RuntimeError("the archive didn't take everything")
    yield Result("archive: segments on disk", f"{size:,} a segment", "", middle(rates), "entries/s", 50_000)


def portal(store: Store, scale: Scale) -> Iterator[Result]:
    """Deliver a ledger to a portal that is a process of its own."""
    rates = []
    with store.fresh() as database:
        fill(database, scale.portal_entries)
        for _ in range(scale.rounds):
            secret = new_secret()
            with store.fresh() as other, serving("portal", other.url, secret) as url:
                connector = PortalConnector(PortalSettings(f"{url}/portal", (secret,)))
                delivered = deliver_all(database, connector)
                connector.shut()
            rates.append(delivered.entries / delivered.seconds)
    yield Result("portal: deliver over HTTP", f"{store.name} behind it", "", middle(rates), "entries/s", 5_000)
