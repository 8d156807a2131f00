"""The keys of evidence: the one that signs, and those that signed before it and are still trusted."""

from pathlib import Path

from consent.notes import Signer
from jobs.exits import Exit, Problem
from jobs.settings import EvidenceSettings
from jobs.settings.read import EVIDENCE_KEY_FILE, Loaded


def signer_of(settings: EvidenceSettings) -> Signer | None:
    """Return the key that signs, None where there is none; Problem where it can't be read."""
    if settings.key is None:
        return None
    try:
        return Signer.read(settings.name, settings.key.get_secret_value())
    except ValueError as error:
        raise Problem(
            Exit.SETTINGS, "evidence.key_file: it is no key: let `assent init` make one, or restore yours"
        ) from error


def key_file(loaded: Loaded) -> Path:
    """Return where the key that signs stands, unless the environment brings it."""
    return loaded.settings.evidence.key_file or loaded.folder / EVIDENCE_KEY_FILE


def kept_beside(path: Path, before: Signer) -> Path:
    """Return where a key is kept when another takes its place."""
    return path.with_name(f"{path.name}.{before.verifier.split('+')[1]}")


def trusted_keys(loaded: Loaded) -> list[str]:
    """Return the public keys of these settings: of the one that signs, and of those kept beside it."""
    signer = signer_of(loaded.settings.evidence)
    if signer is None:
        return []
    path, found = key_file(loaded), [signer.verifier]
    for kept in sorted(path.parent.glob(f"{path.name}.*")):
        try:
            before = Signer.read(signer.name, kept.read_text("utf-8").strip())
        except (OSError, ValueError):  # not ours, or not to be read by this user
            continue
        if kept_beside(path, before) == kept:
            found.append(before.verifier)
    return found
