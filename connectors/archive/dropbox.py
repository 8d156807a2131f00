"""The SFTP transport: each segment as a ZIP with a mail for each entry, and a manifest, written last, to complete it.

To the connector it is a store of segments like any other: a batch that is complete shows as its segment, read out of
the ZIP. What the archive takes in, it may acknowledge in receipts; then silence beyond a deadline means not taken.
"""

import time
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_hex

import orjson
import structlog

from connectors.archive.acknowledged import Acknowledgement, read_receipt
from connectors.archive.eml import PLAIN, Form
from connectors.archive.flaws import Cause
from connectors.archive.lane import damaged
from connectors.archive.listings import Listings
from connectors.archive.names import MARKER, is_part, part_name
from connectors.archive.packing import complete, head_of, pack, read_batch_manifest, segment_in, unpack
from connectors.archive.remote import Remote, RemoteFile, RemoteSettings, missing
from connectors.archive.store import MARK, Blemish, Protection, Stamp
from sync.port import Finding, SuspendedError, TransientError

log = structlog.get_logger()

#: A write that takes longer than this, in seconds, is a dead one.
_PART_LIFE = 3600

#: How the connector knows a segment, and how a batch's manifest is named on the server.
_SEGMENT, _COMPLETE, _ZIP, _RECEIPT = ".segment.jsonl", ".segment.json", ".segment.zip", ".segment.receipt.json"


@dataclass(frozen=True, slots=True)
class DropboxSettings:
    """Where batches go, and what the archive says of them."""

    remote: RemoteSettings
    path: str
    #: Where the archive writes receipts; None: it writes none, and what is there was taken.
    receipts: str | None = None
    #: Seconds after which a batch without a receipt counts as not taken.
    deadline: float = 7200.0
    form: Form = field(default=PLAIN)


class Dropbox:
    """A write-once archive on an SFTP server. See `Store` for what each method promises."""

    def __init__(self, settings: DropboxSettings) -> None:
        self._settings = settings
        self._remote = Remote(settings.remote, settings.path)
        self._receipts = Remote(settings.remote, settings.receipts) if settings.receipts else None
        self._listings = Listings(lambda folder: self._remote.list(folder) or {})
        #: Segments that the archive took whole: neither they nor their receipts change any more.
        self._whole: set[str] = set()

    def prepare(self) -> None:
        self._remote.make("")
        self._remote.create(MARKER, MARK)

    def make(self, folder: str) -> None:
        self._be_there()
        if folder and self._remote.stat(folder) is None:
            self._remote.make(folder)

    def create(self, name: str, data: bytes) -> bool:
        self._be_there()
        if not name.endswith(_SEGMENT):
            return self._put(name, data)
        stem = name.removesuffix(_SEGMENT)
        packed, manifest = pack(data, self._settings.form)
        if not self._put(stem + _ZIP, packed):
            there = self._remote.read(stem + _ZIP)
            if there != packed:
                self._complete(stem, data, there)
                return False
        return self._put(stem + _COMPLETE, manifest)

    def read(self, name: str) -> bytes:
        """Return a file's bytes; none of a batch whose ZIP is gone, or isn't what its manifest says."""
        if not name.endswith(_SEGMENT):
            return self._remote.read(name)
        stem = name.removesuffix(_SEGMENT)
        manifest = self._remote.read(stem + _COMPLETE)
        packed = self._remote.read(stem + _ZIP) if self._remote.stat(stem + _ZIP) else b""
        try:
            named = read_batch_manifest(manifest).zip_sha256 == sha256(packed).hexdigest()
            segment = segment_in(packed) if named else b""
        except ValueError:
            segment = b""
        if not segment:
            log.error("archive.damaged", segment=stem + _ZIP)
        return segment

    def head(self, name: str) -> bytes:
        if not name.endswith(_SEGMENT):
            return self._remote.read(name).partition(b"\n")[0]
        try:
            return read_batch_manifest(self._remote.read(name.removesuffix(_SEGMENT) + _COMPLETE)).head
        except ValueError as error:
            raise damaged(f"{name.removesuffix(_SEGMENT)}{_COMPLETE} {error}") from error

    def size(self, name: str) -> int:
        if name.endswith(_SEGMENT):
            return read_batch_manifest(self._remote.read(name.removesuffix(_SEGMENT) + _COMPLETE)).segment_bytes
        found = self._remote.stat(name)
        if found is None:
            raise missing()
        return found.size

    def names(self, folder: str) -> list[str]:
        self._be_there()
        return self.names_unmarked(folder)

    def names_unmarked(self, folder: str = "") -> list[str]:
        return sorted(_shown(name) for name in self._listings.fresh(folder) if not name.endswith(_ZIP))

    def is_marked(self) -> bool:
        return self._remote.stat(MARKER) is not None and self._remote.read(MARKER) == MARK

    def is_folder(self, name: str) -> bool:
        found = self._remote.stat(name)
        return found is not None and found.folder

    def stamp(self, folder: str) -> Stamp:
        return self._listings.stamp(folder)

    def sweep(self, folder: str) -> None:
        for name, found in self._listings.trusted(folder).items():
            if is_part(name) and time.time() - found.modified > _PART_LIFE:
                self._remote.remove(f"{folder}/{name}" if folder else name)

    def locked(self, _folder: str) -> AbstractContextManager[None]:
        # The lease keeps writers apart, and of two that write one name the first has won.
        return nullcontext()

    def hold(self, _folder: str) -> Callable[[], None]:
        return lambda: None

    def in_use(self, _folder: str) -> bool:
        return False

    def check(self) -> list[Finding]:
        try:
            self._be_there()
            probe = part_name("probe", token_hex(8))
            try:
                self._remote.create(probe, b"\n")
            finally:
                self._remote.remove(probe)
            if self._receipts is not None and self._receipts.list("") is None:
                return [Finding("sftp", ok=False, advice="The folder of receipts isn't there: correct `receipts`.")]
        except (TransientError, SuspendedError) as error:
            return [Finding("sftp", ok=False, advice=error.advice)]
        return [Finding("sftp", ok=True)]

    def blemishes(self, folder: str) -> Iterator[Blemish]:
        names = self._listings.trusted(folder).keys()
        for name in sorted(names):
            path = f"{folder}/{name}" if folder else name
            if name.endswith(_COMPLETE) and name.removesuffix(_COMPLETE) + _ZIP not in names:
                zip_path = path.removesuffix(_COMPLETE) + _ZIP
                yield Blemish(zip_path, Cause.MISSING, f"is missing: {path} was written after it")
            elif name.endswith(_ZIP) and name.removesuffix(_ZIP) + _COMPLETE not in names:
                told = "has no manifest: a crash left it, and the next run completes it, or its manifest was removed"
                yield Blemish(path, Cause.LEFTOVER, told)

    def lacking(self, name: str) -> Container[str]:
        if self._receipts is None or name in self._whole:
            return ()
        stem = name.removesuffix(_SEGMENT)
        found = self._remote.stat(stem + _COMPLETE)
        overdue = found is not None and time.time() - found.modified > self._settings.deadline
        told = self._acknowledgement(stem)
        if told is None:
            return _EVERYTHING if overdue else ()
        if told.whole:
            self._whole.add(name)
            return ()
        return _Not(told.taken) if overdue else told.lost or ()

    @property
    def locks(self) -> bool:
        """False: a server of files knows no locks."""
        return False

    def protect(self, _name: str, _wanted: Protection) -> bool:
        """Do nothing: what is here is kept until whoever runs it disposes of it."""
        return False

    def shut(self) -> None:
        self._remote.shut()
        if self._receipts is not None:
            self._receipts.shut()

    def _acknowledgement(self, stem: str) -> Acknowledgement | None:
        assert self._receipts is not None
        if self._receipts.stat(stem + _RECEIPT) is None:
            return None
        written, manifest = self._receipts.read(stem + _RECEIPT), self._remote.read(stem + _COMPLETE)
        try:
            sent = orjson.loads(manifest)
            files = {one["name"]: one["sha256"] for one in sent["files"]}
            told, problem = read_receipt(written, f"{stem}.segment", sent["zip"]["sha256"], files), ""
        except (KeyError, TypeError, ValueError) as error:
            told, problem = None, str(error)
        if problem:
            # As good as none: it says nothing of what we sent.
            log.error("archive.receipt_differs", receipt=stem + _RECEIPT, reason=problem)
        return told

    def _put(self, name: str, data: bytes) -> bool:
        folder, _, last = name.rpartition("/")
        created = self._remote.create(name, data)
        if created:
            self._listings.add(folder, last, RemoteFile(len(data), int(time.time()), folder=False))
        else:
            self._listings.forget(folder)
        return created

    def _complete(self, stem: str, data: bytes, there: bytes) -> None:
        """Write the manifest of a batch that a crash left without one; raise where its ZIP isn't one of ours.

        It may hold more or fewer entries than are brought now; the next push settles what it holds.
        """
        try:
            segment = unpack(there)
            ours, theirs = head_of(data), head_of(segment)
        except ValueError as error:
            raise damaged(f"{stem}{_ZIP} {error}") from error
        if (ours.name, ours.number, ours.previous) != (theirs.name, theirs.number, theirs.previous):
            raise damaged(f"{stem}{_ZIP} holds another batch than the next one of its lane")
        self._put(stem + _COMPLETE, complete(segment, there, self._settings.form))

    def _be_there(self) -> None:
        if MARKER not in self._listings.trusted(""):
            self._listings.forget("")
            raise missing()


class _Not:
    """Everything but some entries."""

    def __init__(self, but: frozenset[str]) -> None:
        self._but = but

    def __contains__(self, entry: object) -> bool:
        return entry not in self._but


_EVERYTHING = _Not(frozenset())


def _shown(name: str) -> str:
    return name.removesuffix(_COMPLETE) + _SEGMENT if name.endswith(_COMPLETE) else name
