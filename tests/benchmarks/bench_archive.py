"""The archive: entries a second through delivery to each kind of store, and through verification; and exports."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from connectors.archive.bucket import Bucket
from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from connectors.archive.dropbox import Dropbox, DropboxSettings
from connectors.archive.store import Store as Place
from connectors.archive.verify import verify_store
from consent.database import Database, run
from consent.ledger import newest_head
from consent.merkle import packed
from sync.port import Statement
from tests.archive.s3_server import S3Server, S3World
from tests.archive.ssh_server import SshServer
from tests.benchmarks.bench_bookkeeping import deliver_all
from tests.benchmarks.bench_world import ORGANIZATION, Result, Scale, Store, fill, middle

#: MiB that an export may take, however much it exports.
_EXPORT_MEMORY = 300

#: Makes a new place for an archive.
_Make = Callable[[], Place]


class _Measured(NamedTuple):
    """Entries a second, and microseconds of our own processors' time for each."""

    rate: float
    worked: float


def archive(store: Store, scale: Scale) -> Iterator[Result]:
    """Deliver a ledger to a directory, a bucket and an SFTP server, each file durable before the next; verify it."""
    with store.fresh() as database:
        entries = fill(database, scale.archive_entries)
        pushed, verified = [], []
        for _ in range(scale.rounds):
            with tempfile.TemporaryDirectory(prefix="assent-bench-") as folder:
                place = Directory(Path(folder) / "archive")
                pushed.append(_deliver(database, place))
                verified.append(_verify(place))
        told = f"{entries:,} entries, 2,000 a segment"
        yield _result("delivered to a directory", told, pushed, 50_000)
        yield _result("verified without the database", told, verified, 100_000)
        for name, places in (("an SFTP server", _sftp), ("a bucket with Object Lock", _s3)):
            with places() as make:
                measured = [_deliver(database, make()) for _ in range(scale.rounds)]
            yield _result(f"delivered to {name}", "loopback", measured, 5_000)


def export(store: Store, scale: Scale) -> Iterator[Result]:
    """Export a whole ledger as a process of its own, and look at its memory."""
    with store.fresh() as database, tempfile.TemporaryDirectory(prefix="assent-bench-") as folder:
        fill(database, min(20_000, scale.export_entries))
        entries = _multiply(database, scale.export_entries)
        place = Path(folder)
        (place / "settings.toml").write_text(f'[database]\nurl = "{database.url}"\n')
        for form in ("jsonl", "csv"):
            seconds, memory = _run(place, "export", "--format", form, "-o", f"all.{form}")
            (place / f"all.{form}").unlink()
            rate = f"{entries / seconds:,.0f} entries/s"
            subject = f"export of {entries:,} entries as {form}: memory"
            yield Result(subject, rate, "", memory, "MiB", _EXPORT_MEMORY, at_most=True)


def _result(what: str, told: str, measured: Sequence[_Measured], floor: float) -> Result:
    """Return the middle rate, beside the least of our own work: others may have used the processors too."""
    beside = f"{min(one.worked for one in measured):.0f} µs of CPU an entry"
    return Result(f"archive: {what}", told, beside, middle([one.rate for one in measured]), "entries/s", floor)


def _deliver(database: Database, place: Place) -> _Measured:
    connector = ArchiveConnector(place)
    connector.prepare()
    try:
        settled, seconds, worked = deliver_all(database, connector)
        with database.read() as tx:
            head = newest_head(tx, ORGANIZATION)
        lanes = {lane: (size, size) for lane, size in head.lanes.items()}
        connector.close(Statement(ORGANIZATION, head.size, head.root, lanes, head.recorded_at))
    finally:
        connector.shut()
    return _Measured(settled / seconds, worked / settled * 1e6)


def _verify(place: Place) -> _Measured:
    started, before = time.perf_counter(), os.times()
    report = verify_store(place, processes=os.cpu_count() or 1)
    if report.flaws or not report.roots:
        raise RuntimeError("the archive isn't whole")
    seconds, worked = time.perf_counter() - started, sum(os.times()[:4]) - sum(before[:4])  # its helpers' too
    return _Measured(report.entries / seconds, worked / report.entries * 1e6)


@contextmanager
def _sftp() -> Iterator[_Make]:
    folder = Path(tempfile.mkdtemp(prefix="assent-bench-"))
    folder.chmod(0o755)
    server = SshServer(folder)
    try:
        server.start()
        yield lambda: Dropbox(DropboxSettings(server.settings, f"{server.place}/{token_hex(4)}"))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _s3() -> Iterator[_Make]:
    folder = Path(tempfile.mkdtemp(prefix="assent-bench-"))
    server = S3Server(folder)
    try:
        server.start()
        settings = S3World(server, "bench").settings
        yield lambda: Bucket(replace(settings, prefix=f"bench/{token_hex(4)}"))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _multiply(database: Database, wanted: int) -> int:
    """Let a ledger grow by copies of what it holds, which nobody will verify; return how many entries it has then."""
    with database.write() as tx:
        head = newest_head(tx, ORGANIZATION)
        size, lanes = head.size, dict(head.lanes)
        if size >= wanted:
            return size
        columns = "kind, conversation, version, occurred_at, recorded_at, body, personal, leaf"
        while size < wanted:
            copied = min(size, wanted - size)
            # By lane, so that positions stay gapless.
            for lane, behind in list(lanes.items()):
                sql = f"""INSERT INTO entry (organization, seq, lane, pos, {columns})
                SELECT organization, seq + ?, lane, pos + ?, {columns} FROM entry
                WHERE organization = ? AND lane = ? AND seq < ?"""
                lanes[lane] = behind + run(tx, sql, [size, behind, ORGANIZATION, lane, copied]).rowcount
            size += copied
        row = (ORGANIZATION, size, *lanes.values(), packed(list(head.frontier)), head.recorded_at)
        names = ", ".join(lanes)
        run(
            tx,
            f"INSERT INTO head (organization, size, {names}, frontier, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            row,
        )
    return size


def _run(place: Path, *arguments: str) -> tuple[float, float]:
    """Run a command; return its seconds and the most memory that it had, in MiB."""
    command: Sequence[str] = [str(Path(sys.executable).parent / "assent"), *arguments]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    assert process.stderr is not None
    process.stderr.close()
    return time.perf_counter() - started, used.ru_maxrss / 1024
