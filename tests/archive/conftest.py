"""A small archive on a real disk, and the real servers of the other transports."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import pytest

from connectors.archive.bucket import Bucket, BucketSettings
from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from connectors.archive.dropbox import Dropbox, DropboxSettings
from connectors.archive.journal import Journal, JournalSettings
from connectors.archive.store import Store
from connectors.salesforce.standin.certificates import make_server_certificate
from consent.entry import Entry
from tests.archive.archive_samples import fill
from tests.archive.programs import free_port
from tests.archive.s3_server import S3Server, S3World
from tests.archive.smtp_server import PASSWORD, USER, SmtpServer
from tests.archive.ssh_server import SshServer
from tests.archive.wire import Wire

Open = Callable[..., ArchiveConnector]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def connect() -> Iterator[Open]:
    """Make connectors, and let go of them at the end."""
    opened: list[ArchiveConnector] = []

    def open_one(store: Store, **more: object) -> ArchiveConnector:
        opened.append(ArchiveConnector(store, **more))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for connector in opened:
        connector.shut()


@pytest.fixture
def reopen(root: Path, connect: Open) -> Callable[[], ArchiveConnector]:
    """Give a new connector to the same archive, as another process would have."""
    return lambda: connect(Directory(root))


@pytest.fixture
def archive(reopen: Callable[[], ArchiveConnector]) -> ArchiveConnector:
    connector = reopen()
    connector.prepare()
    return connector


@pytest.fixture
def ledger(archive: ArchiveConnector) -> list[Entry]:
    """The entries of a filled archive's ledger `acme`; another one stands beside it."""
    fill(archive, "umbrella", 15)
    return fill(archive)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path has room for sockets, and that users without rights can reach."""
    folder = Path(tempfile.mkdtemp(prefix="assent-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    folder = Path(tempfile.mkdtemp(prefix="assent-s3-"))
    server = S3Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3World]:
    """A place of this test's own in a bucket that locks what it takes, seen past our code too."""
    world = S3World(s3_server, f"ledgers/{token_hex(6)}")
    yield world
    world.close()


@pytest.fixture
def bucket_settings(s3: S3World) -> BucketSettings:
    return s3.settings


@pytest.fixture
def bucket(connect: Open, bucket_settings: BucketSettings) -> ArchiveConnector:
    """An archive in a bucket."""
    connector = connect(Bucket(bucket_settings), read_back=1.0)
    connector.prepare()
    return connector


@pytest.fixture
def sshd(short_folder: Path) -> Iterator[SshServer]:
    server = SshServer(short_folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def dropbox_settings(sshd: SshServer) -> DropboxSettings:
    return DropboxSettings(sshd.settings, str(sshd.place / "incoming"))


@pytest.fixture
def dropbox(connect: Open, dropbox_settings: DropboxSettings) -> ArchiveConnector:
    """An archive on an SFTP server."""
    connector = connect(Dropbox(dropbox_settings), read_back=1.0)
    connector.prepare()
    return connector


@pytest.fixture
def smtpd(tmp_path: Path) -> Iterator[SmtpServer]:
    folder = tmp_path / "smtp"
    folder.mkdir()
    make_server_certificate(folder)
    server = SmtpServer(folder, free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def journal_settings(smtpd: SmtpServer) -> JournalSettings:
    return JournalSettings(
        host="localhost", port=smtpd.port, sender="assent@bank.example", recipient="journal@archive.example",
        username=USER, password=PASSWORD, ca_bundle=str(smtpd.folder / "ca.pem"), timeout=10,
    )  # fmt: skip


@pytest.fixture
def mailed(connect: Open, root: Path, journal_settings: JournalSettings) -> ArchiveConnector:
    """An archive that takes mails."""
    connector = connect(Directory(root), journal=Journal(journal_settings))
    connector.prepare()
    return connector


@pytest.fixture
def wire(request: pytest.FixtureRequest) -> Iterator[Callable[[int], Wire]]:
    """Put a relay in front of a port."""
    wires: list[Wire] = []

    def between(port: int) -> Wire:
        wires.append(Wire(port))
        return wires[-1]

    yield between
    for one in wires:
        one.close()


def known_at(sshd: SshServer, settings: DropboxSettings, port: int) -> DropboxSettings:
    """Return settings that reach the same server by another port."""
    known = sshd.known_hosts.with_name(f"known_hosts.{port}")
    known.write_text(sshd.known_hosts.read_text().replace(f":{sshd.port} ", f":{port} "))
    return replace(settings, remote=replace(settings.remote, port=port, known_hosts=str(known)))
