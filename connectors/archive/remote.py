"""Files on an SFTP server, one call at a time from any thread; the connection is made when it is needed, and again.

asyncssh lives in an event loop, which runs in a thread of its own.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from connectors.archive.names import part_name
from sync.port import SuspendedError, TransientError

if TYPE_CHECKING:
    from asyncssh import SFTPClient, SSHClientConnection

Answer = TypeVar("Answer")

#: Those that processors help with come first: they carry several times as much.
_CIPHERS = (
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr"
)


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Where the server is, and how each side knows the other."""

    host: str
    username: str
    #: The server's keys, in the form of OpenSSH's known_hosts: it is believed with one of them only.
    known_hosts: str
    port: int = 22
    #: A private key, in any of OpenSSH's forms, and its passphrase where it has one; or a password.
    private_key: str | None = None
    passphrase: str | None = None
    password: str | None = None
    #: Seconds that one file may take.
    timeout: float = 120.0


class RemoteFile(NamedTuple):
    """What the server says of a name."""

    size: int
    #: Seconds since 1970, by the server's clock.
    modified: int
    folder: bool


class Remote:
    """The files below one folder of a server. Every method raises TransientError or SuspendedError."""

    def __init__(self, settings: RemoteSettings, root: str) -> None:
        self._settings, self._root = settings, root.rstrip("/") or "."
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._connecting: asyncio.Lock | None = None
        self._open: tuple[SSHClientConnection, SFTPClient] | None = None

    def list(self, folder: str) -> dict[str, RemoteFile] | None:
        """Return what is in a folder by name; None where there is no such folder."""

        async def work(client: "SFTPClient") -> dict[str, RemoteFile] | None:
            from asyncssh import SFTPNoSuchFile, SFTPNoSuchPath

            found: dict[str, RemoteFile] = {}
            try:
                async for one in client.scandir(self._path(folder)):
                    if (name := str(one.filename)) not in (".", ".."):
                        found[name] = _file(one.attrs)
            except (SFTPNoSuchFile, SFTPNoSuchPath):
                return None
            return found

        return self._do(work)

    def stat(self, name: str) -> RemoteFile | None:
        """Return what is under a name; None where nothing is."""

        async def work(client: "SFTPClient") -> RemoteFile | None:
            from asyncssh import SFTPNoSuchFile, SFTPNoSuchPath

            try:
                return _file(await client.stat(self._path(name)))
            except (SFTPNoSuchFile, SFTPNoSuchPath):
                return None

        return self._do(work)

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""

        async def work(client: "SFTPClient") -> bytes:
            async with client.open(self._path(name), "rb") as file:
                found = await file.read()
                assert isinstance(found, bytes)
                return found

        return self._do(work)

    def make(self, folder: str) -> None:
        """Make a folder and those above it."""

        async def work(client: "SFTPClient") -> None:
            from asyncssh import SFTPFailure, SFTPFileAlreadyExists

            # The library's own way takes a folder that may not be made for one that is missing.
            parts = self._path(folder).split("/")
            for path in ("/".join(parts[:end]) for end in range(1, len(parts) + 1)):
                if path in ("", ".") or await client.exists(path):
                    continue
                try:
                    await client.mkdir(path)
                except (SFTPFailure, SFTPFileAlreadyExists):
                    if not await client.isdir(path):  # else another process made it just now
                        raise

        self._do(work)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file, whole, on disk where the server can say so, and under its name last; False if that is taken."""

        async def work(client: "SFTPClient") -> bool:
            folder, _, last = name.rpartition("/")
            path = self._path(name)
            part = self._path(f"{folder}/{part_name(last, token_hex(8))}" if folder else part_name(last, token_hex(8)))
            if await client.lexists(path):
                return False
            try:
                await _write(client, part, data)
                return await _rename(client, part, path)
            except BaseException:
                # Where this fails too, the sweep finds it.
                with suppress(Exception):
                    await client.remove(part)
                raise

        return self._do(work)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

        async def work(client: "SFTPClient") -> None:
            from asyncssh import SFTPError

            with suppress(SFTPError):
                await client.remove(self._path(name))

        self._do(work)

    def shut(self) -> None:
        """Let go of the connection."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(self._hang_up(), loop).result(5)
            loop.call_soon_threadsafe(loop.stop)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _do(self, work: Callable[["SFTPClient"], Awaitable[Answer]]) -> Answer:
        with _translated():
            return asyncio.run_coroutine_threadsafe(self._work(work), self._running()).result()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = loop = asyncio.new_event_loop()
                self._connecting = asyncio.Lock()

                def run() -> None:
                    loop.run_forever()
                    loop.close()

                threading.Thread(target=run, name="archive-sftp", daemon=True).start()
            return self._loop

    async def _work(self, work: Callable[["SFTPClient"], Awaitable[Answer]]) -> Answer:
        import asyncssh

        async with asyncio.timeout(self._settings.timeout):
            client = await self._client()
            try:
                return await work(client)
            except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError, OSError,
                    TimeoutError, asyncio.CancelledError):  # fmt: skip
                await self._hang_up(wait=False)
                raise

    async def _client(self) -> "SFTPClient":
        import asyncssh

        assert self._connecting is not None
        async with self._connecting:
            if self._open is None:
                settings = self._settings
                keys = [asyncssh.import_private_key(settings.private_key, settings.passphrase)] if (
                    settings.private_key
                ) else []  # fmt: skip
                connection = await asyncssh.connect(
                    settings.host, settings.port, username=settings.username, password=settings.password,
                    client_keys=keys or None, known_hosts=settings.known_hosts, config=None, agent_path=None,
                    encryption_algs=_CIPHERS, keepalive_interval=15, connect_timeout=settings.timeout,
                    login_timeout=settings.timeout,
                )  # fmt: skip
                self._open = connection, await connection.start_sftp_client()
            return self._open[1]

    async def _hang_up(self, *, wait: bool = True) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            opened[0].abort() if not wait else opened[0].close()
            if wait:
                await opened[0].wait_closed()


async def _write(client: "SFTPClient", path: str, data: bytes) -> None:
    from asyncssh import SFTPFailure, SFTPOpUnsupported

    try:
        async with client.open(path, "xb") as file:
            await file.write(data)
            with suppress(SFTPOpUnsupported):
                await file.fsync()
            written = (await file.stat()).size
    except SFTPFailure as error:
        raise TransientError(
            "archive_full",
            "The archive's server can't store a file: its disk is full, or its quota used up. Make room there; "
            "delivery goes on by itself.",
        ) from error
    if written != len(data):
        raise TransientError("archive_full", "The archive's server kept less of a file than it took: look at its disk.")


async def _rename(client: "SFTPClient", part: str, path: str) -> bool:
    from asyncssh import SFTPFailure, SFTPFileAlreadyExists

    try:
        # The plain rename of the protocol, which fails where the name is taken; OpenSSH's own would overwrite.
        await client.rename(part, path)
    except (SFTPFailure, SFTPFileAlreadyExists):
        if not await client.lexists(path):
            raise
        await client.remove(part)
        return False
    return True


def _file(attributes: object) -> RemoteFile:
    from asyncssh import FILEXFER_TYPE_DIRECTORY

    size, modified = getattr(attributes, "size", 0) or 0, getattr(attributes, "mtime", 0) or 0
    return RemoteFile(size, modified, getattr(attributes, "type", None) == FILEXFER_TYPE_DIRECTORY)


@contextmanager
def _translated() -> Iterator[None]:
    """Say what went wrong in the port's words; what the server says stays out."""
    import asyncssh

    try:
        yield
    except asyncssh.HostKeyNotVerifiable as error:
        raise SuspendedError(
            "archive_host_key",
            "The archive's server showed another key than `known_hosts_file` names: find out from whoever runs it "
            "whether it was replaced, by another way than this connection; put the new one there only then.",
        ) from error
    except (asyncssh.PermissionDenied, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise SuspendedError(
            "archive_forbidden",
            "The archive's server refuses our key or password, or the key can't be read: put the right one in place, "
            "then run `assent sync`.",
        ) from error
    except (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect) as error:
        raise SuspendedError(
            "archive_forbidden",
            "The archive's folder may not be written or read: have it given to the user that this signs in as, "
            "then run `assent sync`.",
        ) from error
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as error:
        raise missing() from error
    except (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded) as error:
        raise TransientError("archive_full", "The archive's disk is full, or its quota used up: make room.") from error
    except (asyncssh.Error, OSError, TimeoutError, asyncio.CancelledError) as error:
        raise TransientError(
            "archive_away", "The archive's server can't be reached, or hung up: look at it and the way there."
        ) from error


def missing() -> TransientError:
    """Return the error that says an archive isn't where it should be."""
    return TransientError(
        "archive_missing",
        "The archive's folder, or a file in it, isn't where the settings say. It isn't made anew, so that an outage "
        "is not taken for an empty archive. If nothing was ever delivered to it, `assent init` makes it.",
    )
