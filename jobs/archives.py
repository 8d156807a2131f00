"""Archives as the settings name them, and those that a person names to have them verified."""

from importlib.util import find_spec
from pathlib import Path
from typing import assert_never
from urllib.parse import urlsplit

from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from connectors.archive.eml import Form
from connectors.archive.store import Store
from consent.notes import Signer
from jobs.exits import Exit, Problem
from jobs.settings import ArchiveSettings, Settings, load_settings

#: What carries a transport, and the extra that brings it.
_CARRIED_BY = {"s3": "boto3", "sftp": "asyncssh"}


def archive_connector(settings: ArchiveSettings, signer: Signer | None) -> ArchiveConnector:
    """Return the connector to the archive that these settings describe; nothing is connected yet.

    Its manifests are signed where there is a key.
    """
    store = _store(settings)
    if settings.transport != "smtp":
        return ArchiveConnector(store, read_back=settings.read_back, signer=signer)
    from connectors.archive.journal import Journal, JournalSettings

    told = JournalSettings(
        host=settings.host or "",
        sender=settings.sender or "",
        recipient=settings.recipient or "",
        port=settings.port or 587,
        security=settings.security,
        username=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        ca_bundle=str(settings.ca_bundle) if settings.ca_bundle else None,
        timeout=settings.timeout,
        form=_form(settings),
    )
    return ArchiveConnector(store, read_back=settings.read_back, journal=Journal(told), signer=signer)


def archive_at(where: str, config: Path | None = None) -> Store:
    """Return the archive at a path, `s3://BUCKET/PREFIX` or `sftp://HOST[:PORT]/PATH`, to be read.

    Keys and addresses are those of the destination in the settings that is this archive. Of a bucket that no
    destination names, they are found as Amazon's own tools find them. Raises Problem where there is no way to it.
    """
    scheme, sep, _ = where.partition("://")
    if not sep:
        return Directory(Path(where))
    if scheme not in ("s3", "sftp"):
        raise Problem(Exit.USAGE, "an archive is a path, s3://BUCKET/PREFIX or sftp://HOST/PATH")
    known = load_settings(config).settings
    settings = next((one for one in _archives(known, scheme) if _address(one) == _plain(where)), None)
    if settings is not None:
        return _store(settings)
    if scheme == "sftp":
        raise Problem(
            Exit.USAGE,
            "no destination in the settings is at this address, so its host key and ours aren't known: "
            "name it as there, sftp://HOST/REMOTE_PATH",
        )
    bucket, _, prefix = _plain(where).removeprefix("s3://").partition("/")
    return _store(ArchiveSettings(kind="archive", transport="s3", bucket=bucket, prefix=prefix))


def _store(settings: ArchiveSettings) -> Store:
    """Return where the files are: for mails, the record of those that were accepted."""
    transport = settings.transport
    library = _CARRIED_BY.get(transport)
    if library is not None and find_spec(library) is None:
        raise Problem(Exit.SETTINGS, f"what carries {transport} isn't installed: pip install 'assent[{transport}]'")
    match transport:
        case "directory" | "smtp":
            return Directory(settings.path)
        case "s3":
            return _bucket(settings)
        case "sftp":
            return _dropbox(settings)
    assert_never(transport)


def _bucket(settings: ArchiveSettings) -> Store:
    from connectors.archive.bucket import Bucket, BucketSettings

    secret = settings.secret_access_key
    return Bucket(
        BucketSettings(
            bucket=settings.bucket or "",
            prefix=settings.prefix,
            endpoint_url=settings.endpoint_url,
            region=settings.region,
            access_key_id=settings.access_key_id,
            secret_access_key=secret.get_secret_value() if secret else None,
            ca_bundle=str(settings.ca_bundle) if settings.ca_bundle else None,
            lock=settings.lock,
            retention_days=settings.retention_days,
            legal_hold=settings.legal_hold,
            read_timeout=settings.timeout,
        )
    )


def _dropbox(settings: ArchiveSettings) -> Store:
    from connectors.archive.dropbox import Dropbox, DropboxSettings
    from connectors.archive.remote import RemoteSettings

    key, passphrase, password = settings.private_key, settings.passphrase, settings.password
    remote = RemoteSettings(
        host=settings.host or "",
        username=settings.username or "",
        known_hosts=str(settings.known_hosts_file or ""),
        port=settings.port or 22,
        private_key=key.get_secret_value() + "\n" if key else None,
        passphrase=passphrase.get_secret_value() if passphrase else None,
        password=password.get_secret_value() if password else None,
        timeout=settings.timeout,
    )
    return Dropbox(
        DropboxSettings(
            remote=remote,
            path=settings.remote_path,
            receipts=settings.receipts_path,
            deadline=settings.deadline_hours * 3600,
            form=_form(settings),
        )
    )


def _form(settings: ArchiveSettings) -> Form:
    return Form(domain=settings.domain, time_zone=settings.time_zone)


def _archives(settings: Settings, transport: str) -> list[ArchiveSettings]:
    found = settings.destinations.values()
    return [one for one in found if isinstance(one, ArchiveSettings) and one.transport == transport]


def _address(settings: ArchiveSettings) -> str:
    if settings.transport == "s3":
        return _plain(f"s3://{settings.bucket}/{settings.prefix}")
    port = "" if settings.port in (None, 22) else f":{settings.port}"
    return _plain(f"sftp://{settings.host}{port}/{settings.remote_path}")


def _plain(where: str) -> str:
    """Return an address as it is compared: without the blanks, the user and the slashes that make no difference."""
    parts = urlsplit(where.strip())
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}/{parts.path.strip('/')}".rstrip("/")
