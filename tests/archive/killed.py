"""Processes that deliver to an archive elsewhere, and are killed at a step that a relay saw on their wire."""

import multiprocessing
import signal
from collections.abc import Callable
from queue import SimpleQueue

from connectors.archive.bucket import Bucket, BucketSettings
from connectors.archive.connector import ArchiveConnector
from connectors.archive.dropbox import Dropbox, DropboxSettings
from connectors.archive.store import Store
from consent.entry import Entry
from consent.kinds import Lane
from consent.notes import Signer
from sync.port import Batch, Receipt, TransientError
from tests.archive.archive_samples import lane_of, make_ledger, state
from tests.archive.wire import Wire

SIGNER = Signer("bank.example/assent", bytes(32))

#: Long enough for several requests a file.
_LEDGER = make_ledger("acme", 100, text="STOP 👋 " * 8_000)
_OWED = lane_of(_LEDGER, Lane.CONSENT)

#: Forked from one process that has read all this once, and has no threads.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["pytest", "asyncssh", "boto3", __name__])


def store_of(settings: DropboxSettings | BucketSettings) -> Store:
    """Return the archive that these settings describe."""
    return Dropbox(settings) if isinstance(settings, DropboxSettings) else Bucket(settings)


def connector_to(settings: DropboxSettings | BucketSettings) -> ArchiveConnector:
    """Return a connector to it, as each process has one."""
    return ArchiveConnector(store_of(settings), read_back=1.0, signer=SIGNER)


def run_of(number: int) -> list[Entry]:
    """Return the entries of the n-th run, from 0: two of one lane."""
    return _OWED[2 * number : 2 * number + 2]


def deliver(connector: ArchiveConnector, number: int) -> None:
    """Deliver one run as sync would, to its manifest: what was settled before a crash may come again."""
    entries = owed = run_of(number)
    while owed:
        try:
            outcomes = connector.push(Batch("acme", Lane.CONSENT, owed))
        except TransientError:  # a batch that a crash left half done was completed just now
            continue
        assert all(isinstance(outcome, Receipt) for outcome in outcomes), outcomes
        owed = owed[len(outcomes) :]
    connector.close(state(_LEDGER[: entries[-1].seq + 1], lanes=[Lane.CONSENT]))


def killed_where(
    asked: Callable[[bytes], bool], wire: Wire, settings: DropboxSettings | BucketSettings, number: int
) -> bool:
    """Deliver in a process that is killed before a piece of which `asked` says so; say whether it came so far."""
    started: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def kill(piece: bytes) -> bool:
        if asked(piece):
            started.get()()
            return True
        return False

    wire.cut_where(kill)
    process = _PROCESSES.Process(target=_deliver_alone, args=(settings, number))
    process.start()
    started.put(process.kill)
    process.join(60)
    wire.cut_where(None)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _deliver_alone(settings: DropboxSettings | BucketSettings, number: int) -> None:
    connector = connector_to(settings)
    deliver(connector, number)
    connector.shut()
