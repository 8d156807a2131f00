"""`assent init`: a commented settings file, the keys, the database; what is there already is never overwritten."""

import os
import secrets
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from connectors.portal.protocol import new_secret
from consent.notes import new_key
from jobs.build import Parts
from jobs.exits import Exit, Problem
from jobs.settings import PortalSettings, load_settings
from jobs.settings.read import CONFIG_VARIABLE, DEFAULT_FILE, EVIDENCE_KEY_FILE, PORTAL_SECRET_FILE, TOKEN_FILE, Loaded


@dataclass(slots=True)
class Made:
    """Which files were made, and which were there already."""

    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def initialize(config: Path | None) -> Made:
    """Make what is missing for a start; safe to run again."""
    result = Made()
    file = config or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)
    template = files("jobs.settings").joinpath("template.toml").read_bytes()
    _write(file.absolute(), template, 0o644, result)
    parts = Parts(load_settings(file, keys=False))
    for path, secret in _keys(parts.loaded):
        _write(path, secret.encode() + b"\n", 0o600, result)
    # Read again as every other command will: the keys are there now.
    parts = Parts(load_settings(file))
    try:
        parts.upgrade()
    finally:
        parts.close()
    return result


def _keys(loaded: Loaded) -> list[tuple[Path, str]]:
    """Return the secrets that are ours to make, each with its file; another system's are not."""
    server, portal = loaded.settings.server, new_secret()
    keys = [(server.token_file or loaded.folder / TOKEN_FILE, secrets.token_urlsafe(32))]
    keys += [(loaded.settings.evidence.key_file or loaded.folder / EVIDENCE_KEY_FILE, new_key())]
    portal_files = [server.portal_secret_file or loaded.folder / PORTAL_SECRET_FILE]
    portal_files += [
        destination.secret_file
        for destination in loaded.settings.destinations.values()
        if isinstance(destination, PortalSettings) and destination.enabled and destination.secret_file is not None
    ]
    # Both ends of our own portal share one secret; one that is there already is the one.
    for path in portal_files:
        if path.is_file():
            portal = path.read_text("utf-8").strip()
    return keys + [(path, portal) for path in dict.fromkeys(portal_files)]


def _write(path: Path, content: bytes, mode: int, result: Made) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if mode == 0o600 else 0o755)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        result.kept.append(path)
        return
    except OSError as error:
        raise Problem(
            Exit.SETTINGS, f"{path} can't be written ({error.strerror}): check the folder's rights"
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    result.made.append(path)
