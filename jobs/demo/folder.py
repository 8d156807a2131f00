"""The demo's folder: made, recognized as its own, emptied for a new run, and the settings that stand in it."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from connectors.salesforce.standin.standin import Address
from jobs.exits import Exit, Problem

SETTINGS, ARCHIVE, KEYS, LOGS, STANDIN = "settings.toml", "archive", "keys", "logs", "salesforce"
#: Where the archive is while it is away.
ARCHIVE_AWAY = "archive.moved-away"

#: Says that a folder is a demo's, and is locked by the demo at work in it.
_MARKER = ".assent-demo"
_TOLD = "This folder is of `assent demo`: each run removes what the one before left here.\n"
_DATABASES = [f"{name}{end}" for name in ("assent.db", "portal.db") for end in ("", "-wal", "-shm", "-journal")]
#: All that a run leaves behind, and that the next one removes. What anybody else put here stays.
_OURS = (SETTINGS, ARCHIVE, ARCHIVE_AWAY, KEYS, LOGS, STANDIN, *_DATABASES)


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Give the folder as an absolute path, empty of an earlier run, and ours alone until the end.

    Raises Problem where it is somebody else's, can't be written, or another demo is at work in it.
    """
    root = folder.absolute()
    try:
        marker = _mark(root, folder)
    except OSError as error:
        told = f"{folder} can't be used ({error.strerror}): name another folder with --folder"
        raise Problem(Exit.SETTINGS, told) from error
    with marker:
        _lock(marker.fileno(), folder)
        _empty(root)
        (root / LOGS).mkdir()
        yield root


def write_settings(root: Path, standin: Address, *, portal_port: int) -> None:
    """Write the settings file that the demo runs on, and that its user may go on with."""
    text = f"""\
# Settings of `assent demo`, rewritten by each run of it. Paths count from this file's folder.

[database]
url = "sqlite:///assent.db"

[server]
host = "127.0.0.1"
port = {portal_port}
token_file = "{KEYS}/api-token"
portal_secret_file = "{KEYS}/portal-secret"
portal_database_url = "sqlite:///portal.db"

[destinations.salesforce]
kind = "salesforce"
login_url = {_quoted(standin.url)}
auth = "jwt"
client_id = {_quoted(standin.client_id)}
username = {_quoted(standin.username)}
private_key_file = {_within(root, standin.private_key_file)}
ca_bundle = {_within(root, standin.ca_file)}

[destinations.archive]
kind = "archive"
transport = "directory"
path = "{ARCHIVE}"

[destinations.portal]
kind = "portal"
url = "http://127.0.0.1:{portal_port}/portal"
secret_file = "{KEYS}/portal-secret"
"""
    (root / SETTINGS).write_text(text, "utf-8")


def _mark(root: Path, folder: Path) -> IO[str]:
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()) and not (root / _MARKER).is_file():
        raise Problem(Exit.USAGE, f"{folder} holds files that no demo made: name another folder with --folder")
    marker = (root / _MARKER).open("a", encoding="utf-8")
    if marker.tell() == 0:
        marker.write(_TOLD)
        marker.flush()
    return marker


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        told = f"another demo is at work in {folder}: wait for it, or name another folder with --folder"
        raise Problem(Exit.RUNNING, told) from None


def _empty(root: Path) -> None:
    for name in _OURS:
        path = root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _within(root: Path, path: str) -> str:
    return _quoted(os.path.relpath(path, root))


def _quoted(text: str) -> str:
    """Return a TOML string: the escapes of JSON are among those of TOML."""
    return json.dumps(text, ensure_ascii=False)
