"""The S3 transport: the directory's files as objects that the service itself won't let anybody delete or shorten.

Every object is locked when it is put. An object counts as its *oldest* version: with versions, S3 takes a second
object of one name and hides either behind a delete marker, but the first stays, and is what we read. So a write is
exclusive even where `If-None-Match` is not honored (older Ceph) or lets us through (after a delete marker): whose
version isn't the oldest has lost, and says so.
"""

import threading
from base64 import b64encode
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import md5
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from connectors.archive.flaws import Cause
from connectors.archive.listings import Listings
from connectors.archive.names import MARKER
from connectors.archive.store import MARK, Blemish, Protection, Stamp
from sync.port import Finding, SuspendedError, TransientError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

#: Bytes of a file in which its first line ends.
_HEAD = 64 * 1024

#: A lock that has to be longer is made longer by this too, so that a lively conversation costs one request a month.
_AHEAD = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """Where the bucket is, and how its objects are locked."""

    bucket: str
    #: Before every name, without slashes at the ends; empty for none.
    prefix: str = ""
    #: Of another S3 than Amazon's.
    endpoint_url: str | None = None
    region: str = "us-east-1"
    #: None: as Amazon's own tools find them (the role of the machine, mostly).
    access_key_id: str | None = None
    secret_access_key: str | None = None
    ca_bundle: str | None = None
    lock: Literal["compliance", "governance"] = "compliance"
    retention_days: int = 2592
    legal_hold: bool = False
    connect_timeout: float = 10.0
    read_timeout: float = 60.0


class _Version(NamedTuple):
    id: str
    etag: str
    size: int


class _Object(NamedTuple):
    """What stands under one name: its versions, the oldest first, and whether a delete marker hides them."""

    versions: tuple[_Version, ...]
    hidden: bool
    #: True for what only begins with the name and a slash.
    folder: bool = False


class Bucket:
    """A write-once archive in a bucket with Object Lock. See `Store` for what each method promises."""

    def __init__(self, settings: BucketSettings) -> None:
        self._settings = settings
        self._start = f"{settings.prefix}/" if settings.prefix else ""
        self._listings = Listings(self._list)
        self._proven = False
        self._lock = threading.Lock()

    def prepare(self) -> None:
        self._must_lock()
        self._create(MARKER, MARK)

    def make(self, _folder: str) -> None:
        """Look that the archive is there: folders are only names here."""
        self._be_there()

    def create(self, name: str, data: bytes) -> bool:
        self._be_there()
        return self._create(name, data)

    def read(self, name: str) -> bytes:
        return self._get(name)

    def head(self, name: str) -> bytes:
        line, end, _ = self._get(name, Range=f"bytes=0-{_HEAD - 1}").partition(b"\n")
        return line if end else self._get(name).partition(b"\n")[0]

    def size(self, name: str) -> int:
        return self._oldest(name).size

    def names(self, folder: str) -> list[str]:
        self._be_there()
        return self.names_unmarked(folder)

    def names_unmarked(self, folder: str = "") -> list[str]:
        return sorted(name for name, one in self._listings.fresh(folder).items() if one.versions or one.folder)

    def is_marked(self) -> bool:
        found = self._listings.trusted("").get(MARKER)
        return bool(found and found.versions) and self._get(MARKER) == MARK

    def is_folder(self, name: str) -> bool:
        folder, _, last = name.rpartition("/")
        found = self._listings.trusted(folder).get(last)
        return found is not None and found.folder

    def stamp(self, folder: str) -> Stamp:
        return self._listings.stamp(folder)

    def sweep(self, _folder: str) -> None:
        """Nothing to sweep: an object is there whole or not at all."""

    def locked(self, _folder: str) -> "AbstractContextManager[None]":
        # The lease keeps writers apart, and of two that write one name the first has won.
        return nullcontext()

    def hold(self, _folder: str) -> Callable[[], None]:
        return lambda: None

    def in_use(self, _folder: str) -> bool:
        return False

    def check(self) -> list[Finding]:
        """Look at the bucket and its locks. Nothing is written on trial: it could not be removed."""
        try:
            self._must_lock()
        except (TransientError, SuspendedError) as error:
            return [Finding("bucket", ok=False, advice=error.advice)]
        return [Finding("bucket", ok=True)]

    def blemishes(self, folder: str) -> Iterator[Blemish]:
        for name, found in sorted(self._listings.trusted(folder).items()):
            path = f"{folder}/{name}" if folder else name
            if found.hidden:
                yield Blemish(path, Cause.HIDDEN, "is hidden by a delete marker: remove the marker")
            if len({(one.etag, one.size) for one in found.versions}) > 1:
                told = f"was written over: {len(found.versions)} versions differ, and the oldest counts"
                yield Blemish(path, Cause.REWRITTEN, told)
            elif len(found.versions) > 1:
                yield Blemish(path, Cause.LEFTOVER, f"is there in {len(found.versions)} equal versions: a repeated put")

    def lacking(self, _name: str) -> Container[str]:
        return ()

    @property
    def locks(self) -> bool:
        return True

    def protect(self, name: str, wanted: Protection) -> bool:
        bucket, key, version = self._settings.bucket, self._key(name), self._oldest(name).id
        held = wanted.held or self._settings.legal_hold
        changed = False
        with _translated():
            found = self._client.head_object(Bucket=bucket, Key=key, VersionId=version)
            if (locked := found.get("ObjectLockRetainUntilDate")) is None or locked < wanted.until:
                # A compliance lock stays one: the service refuses the way back.
                lock = {"Mode": found.get("ObjectLockMode") or self._mode, "RetainUntilDate": wanted.until + _AHEAD}
                self._client.put_object_retention(Bucket=bucket, Key=key, VersionId=version, Retention=lock)
                changed = True
            if (found.get("ObjectLockLegalHoldStatus") == "ON") != held:
                hold = {"Status": "ON" if held else "OFF"}
                self._client.put_object_legal_hold(Bucket=bucket, Key=key, VersionId=version, LegalHold=hold)
                changed = True
        return changed

    def shut(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()
            del self.__dict__["_client"]

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        settings = self._settings
        return boto3.session.Session().client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            verify=settings.ca_bundle,
            config=Config(
                signature_version="s3v4",
                connect_timeout=settings.connect_timeout,
                read_timeout=settings.read_timeout,
                # Seconds are ridden out here, minutes by whoever calls.
                retries={"mode": "standard", "total_max_attempts": 3},
                s3={"addressing_style": "path" if settings.endpoint_url else "auto"},
                # Our own check is Content-MD5, the only one that every S3 enforces.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    @property
    def _mode(self) -> str:
        return self._settings.lock.upper()

    def _key(self, name: str) -> str:
        return f"{self._start}{name}"

    def _create(self, name: str, data: bytes) -> bool:
        folder, _, last = name.rpartition("/")
        if self._versions_of(name).versions:
            return False
        lock: dict[str, Any] = {
            "ObjectLockMode": self._mode,
            "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=self._settings.retention_days),
        }
        if self._settings.legal_hold:
            lock["ObjectLockLegalHoldStatus"] = "ON"
        checksum = b64encode(md5(data, usedforsecurity=False).digest()).decode()
        with _translated():
            try:
                put = self._client.put_object(
                    Bucket=self._settings.bucket, Key=self._key(name), Body=data, ContentMD5=checksum,
                    IfNoneMatch="*", **lock,
                )  # fmt: skip
            except Exception as error:
                if _code(error) in ("PreconditionFailed", "412"):
                    return False
                raise
        if self._versions_of(name).versions[:1] != (ours := _Version(put["VersionId"], put["ETag"], len(data)),):
            self._listings.forget(folder)
            return False
        self._listings.add(folder, last, _Object((ours,), hidden=False))
        return True

    def _get(self, name: str, **more: str) -> bytes:
        version = self._oldest(name).id
        with _translated():
            found = self._client.get_object(
                Bucket=self._settings.bucket, Key=self._key(name), VersionId=version, **more
            )
            return bytes(found["Body"].read())

    def _oldest(self, name: str) -> _Version:
        folder, _, last = name.rpartition("/")
        known = self._listings.trusted(folder).get(last)
        versions = known.versions if known and known.versions else self._versions_of(name).versions
        if not versions:
            raise _missing()
        return versions[0]

    def _versions_of(self, name: str) -> _Object:
        return self._look(name).get(self._key(name), _Object((), hidden=False))

    def _list(self, folder: str) -> dict[str, _Object]:
        start = f"{folder}/" if folder else ""
        cut = len(self._start) + len(start)
        return {key[cut:]: found for key, found in self._look(start, delimiter="/").items()}

    def _look(self, start: str, delimiter: str = "") -> dict[str, _Object]:
        """Return by key what begins with `start`; with a delimiter, what lies below it as folders."""
        versions: dict[str, list[_Version]] = {}
        hidden: set[str] = set()
        folders: set[str] = set()
        narrow = {"Delimiter": delimiter} if delimiter else {}
        with _translated():
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._settings.bucket, Prefix=self._key(start), **narrow
            )
            for page in pages:
                for one in page.get("Versions", ()):
                    found = _Version(one["VersionId"], one["ETag"], one["Size"])
                    versions.setdefault(one["Key"], []).append(found)
                hidden.update(one["Key"] for one in page.get("DeleteMarkers", ()))
                folders.update(one["Prefix"].removesuffix("/") for one in page.get("CommonPrefixes", ()))
        # The service gives the newest first.
        files = {
            key: _Object(tuple(reversed(versions.get(key, ()))), key in hidden) for key in versions.keys() | hidden
        }
        return {key: _Object((), hidden=False, folder=True) for key in folders} | files

    def _be_there(self) -> None:
        """Raise TransientError where the bucket or the file that makes it an archive is gone."""
        if not self._proven:
            self._must_lock()
            self._proven = True
        if not self._listings.trusted("").get(MARKER, _Object((), hidden=False)).versions:
            self._listings.forget("")
            raise _missing()

    def _must_lock(self) -> None:
        """Raise SuspendedError unless the bucket keeps versions and locks objects."""
        with _translated():
            versioning = self._client.get_bucket_versioning(Bucket=self._settings.bucket)
            try:
                found = self._client.get_object_lock_configuration(Bucket=self._settings.bucket)
            except Exception as error:
                if _code(error) not in ("ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration"):
                    raise
                found = {}
        locks = found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
        if not locks or versioning.get("Status") != "Enabled":
            raise SuspendedError(
                "archive_unlocked",
                "The archive's bucket can't keep what it takes: it needs versioning and Object Lock. Make a bucket "
                "with Object Lock (`aws s3api create-bucket --object-lock-enabled-for-bucket …`), name it in the "
                "settings, then run `assent sync`.",
            )


_FORBIDDEN = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "403",
     "AllAccessDisabled", "AccountProblem", "RequestTimeTooSkewed"}
)  # fmt: skip
_MISSING = frozenset({"NoSuchBucket", "NoSuchKey", "NoSuchVersion", "404"})
_FULL = frozenset({"QuotaExceeded", "EntityTooLarge", "InsufficientCapacity"})
_LOCKLESS = frozenset({"InvalidRequest", "InvalidBucketState"})
_BUSY = frozenset({"ConditionalRequestConflict", "OperationAborted"})


@contextmanager
def _translated() -> Iterator[None]:
    """Say the service's refusals in the port's words. Its own text stays out: it may quote names."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        yield
    except ClientError as error:
        raise _told(error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise _forbidden("NoCredentials") from error
    except BotoCoreError as error:
        raise _away() from error


def _told(error: Any) -> TransientError | SuspendedError:
    code = _code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _FORBIDDEN:
        return _forbidden(code)
    if code in _MISSING:
        return _missing()
    if code in _FULL:
        return TransientError("archive_full", "The archive's bucket is full or its quota used up: make room.")
    if code in _BUSY:
        return TransientError("archive_busy", "Another process wrote this file just now: try again.")
    if status >= 500 or status in (0, 408, 429):
        return _away()
    why = "; its bucket needs Object Lock" if code in _LOCKLESS else ""
    return SuspendedError(
        "archive_refused",
        f"The archive's service refused a request ({code or status}){why}: check the bucket, the key's rights "
        "(PutObject, PutObjectRetention, PutObjectLegalHold, GetObject, GetObjectVersion, ListBucketVersions, "
        "GetBucketVersioning, GetBucketObjectLockConfiguration) and the retention.",
    )


def _forbidden(code: str) -> SuspendedError:
    return SuspendedError(
        "archive_forbidden",
        f"The archive's bucket refuses our key ({code}): put a valid one in place and give it the rights that "
        "connectors/archive/README.md lists, then run `assent sync`.",
    )


def _missing() -> TransientError:
    return TransientError(
        "archive_missing",
        "The archive's bucket, or a file in it, isn't where the settings say. It isn't made anew, so that an outage "
        "is not taken for an empty archive. If nothing was ever delivered to it, `assent init` makes it.",
    )


def _away() -> TransientError:
    return TransientError(
        "archive_away", "The archive's service doesn't answer as it should: look at it and the way there."
    )


def _code(error: Exception) -> str:
    response: Mapping[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))
