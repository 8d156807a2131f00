"""`python -m tests.benchmarks.delivering DATABASE ENTRIES READY`: deliver the consent lanes, and tell what it took.

A process of its own, so that its memory is that of a delivery alone. ENTRIES is how many there are; READY is the
stand-in's ready file.
"""

import json
import logging
import resource
import sys
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import structlog

from connectors.salesforce import SalesforceSettings
from connectors.salesforce.connector import SalesforceConnector
from consent.database import open_database
from consent.kinds import Lane
from consent.ledger import ledgers
from jobs.build import collect_seldom
from sync.delivery import Rules
from sync.destinations import Destination
from sync.port import Batch, Outcome
from sync.syncing import sync_now

_PARTS = 10


class Watched(SalesforceConnector):
    """A connector that notes when each tenth was through, the processor time, and the most memory until then."""

    def __init__(self, settings: SalesforceSettings, entries: int) -> None:
        super().__init__(settings)
        self._entries, self._taken, self._noting = entries, 0, threading.Lock()
        self.seconds: list[float] = [time.monotonic()]
        self.processor: list[float] = [time.process_time()]
        self.kib: list[int] = [_most_kib()]

    def push(self, batch: Batch) -> Sequence[Outcome]:
        """Push, and note."""
        outcomes = super().push(batch)
        with self._noting:
            self._taken += len(outcomes)
            if self._taken * _PARTS >= self._entries * len(self.kib):
                self.seconds.append(time.monotonic())
                self.processor.append(time.process_time())
                self.kib.append(_most_kib())
        return outcomes


def settings_of(address: dict[str, Any]) -> SalesforceSettings:
    """Return how to sign in at a stand-in."""
    return SalesforceSettings(
        login_url=address["url"], client_id=address["client_id"], auth="client_credentials",
        client_secret=Path(address["client_secret_file"]).read_text().strip(), ca_bundle=address["ca_file"],
    )  # fmt: skip


def main() -> None:
    """Deliver, and print one JSON object."""
    collect_seldom()  # as a process at work does
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    url, entries, ready = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    database = open_database(url)
    with database.read() as tx:
        names = [name for name in ledgers(tx) if name != "system"]
    connector = Watched(settings_of(json.loads(ready.read_text())), entries)
    synced = sync_now(database, [Destination("salesforce", connector, (Lane.CONSENT,), frozenset(names))], Rules())[0]
    connector.shut()
    told = {"settled": synced.settled, "owed": synced.owed, "kib": connector.kib}
    print(json.dumps({**told, "seconds": _parts(connector.seconds), "processor": _parts(connector.processor)}))


def _parts(noted: Sequence[float]) -> list[float]:
    return [later - sooner for sooner, later in pairwise(noted)]


def _most_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
