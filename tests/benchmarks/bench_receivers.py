"""The portal: entries a second that it takes."""

from collections.abc import Iterator

from connectors.portal.connector import PortalConnector, PortalSettings
from connectors.portal.protocol import new_secret
from tests.benchmarks.bench_bookkeeping import deliver_all
from tests.benchmarks.bench_server import serving
from tests.benchmarks.bench_world import Result, Scale, Store, fill, middle


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
