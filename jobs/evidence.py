"""Evidence: checkpoints signed on a schedule, and bundles that prove one entry to anybody, offline."""

import base64
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from consent.canonical import canonical, commitment, from_base64url, parse_timestamp
from consent.checkpoints import newest_checkpoint, open_note, sign_head
from consent.database import Database
from consent.entry import Entry, entry_json, leaf_hash
from consent.kinds import SYSTEM, Kind
from consent.ledger import append, create_ledger, ledgers, lock, newest_head, read_entry
from consent.notes import NoteError, Signer, new_key
from consent.proofs import inclusion_path, root_of_path
from consent.values import Record
from jobs.build import Parts
from jobs.exits import Exit, Problem
from jobs.keys import kept_beside, key_file, signer_of

log = structlog.get_logger()

_FORMAT = "assent-proof/1"


def sign_all(database: Database, signer: Signer, stop: threading.Event | None = None) -> int:
    """Sign the head of every ledger in which something but checkpoints is new; return how many were signed."""
    with database.read() as tx:
        names = ledgers(tx)
    signed = 0
    for name in names:
        if stop is not None and stop.is_set():
            break
        signed += sign(database, signer, name)
    return signed


def sign(database: Database, signer: Signer, organization: str) -> bool:
    """Sign a ledger's head, and write the checkpoint down; False where nothing is new."""
    with database.read() as tx:
        if not _is_new(newest_checkpoint(tx, organization), newest_head(tx, organization).size, signer):
            return False
    with database.write() as tx:
        head = lock(tx, organization)
        if not _is_new(newest_checkpoint(tx, organization), head.size, signer):
            return False
        facts = {
            "checkpoint": sign_head(signer, organization, head.size, head.root), "key": signer.verifier,
            "size": head.size, "root": head.root.hex(),
        }  # fmt: skip
        now = time.time_ns() // 1000
        append(tx, organization, [Record(Kind.CHECKPOINT, now, facts, {})], now)
    log.info("checkpoint.signed", organization=organization, size=head.size)
    return True


def bundle(database: Database, organization: str, seq: int, signer: Signer | None) -> dict[str, Any]:
    """Return what proves an entry: itself, its inclusion proof, and a signed checkpoint that covers it.

    Where no checkpoint covers it yet, one is signed now. LookupError where there is no such entry.
    """
    with database.read() as tx:
        if read_entry(tx, organization, seq) is None:
            raise LookupError("there is no such entry")
        covered = newest_checkpoint(tx, organization, covering=seq + 1) is not None
    if not covered:
        if signer is None:
            raise Problem(Exit.SETTINGS, "evidence.key_file: nothing signs checkpoints yet: run `assent init`")
        sign(database, signer, organization)
    with database.read() as tx:
        checkpoint = newest_checkpoint(tx, organization, covering=seq + 1)
        entry = read_entry(tx, organization, seq)
        assert checkpoint is not None
        assert entry is not None
        told = checkpoint.facts()
        path = inclusion_path(tx, organization, seq, told["size"])
    return {
        "format": _FORMAT,
        "entry": orjson.loads(entry_json(entry)),
        "proof": {"index": seq, "size": told["size"], "path": [one.hex() for one in path]},
        "checkpoint": told["checkpoint"],
        "key": told["key"],
    }


def rotate(parts: Parts, actor: str, now: int) -> dict[str, str]:
    """Put a new key in the place of the one in force, and say so in the system ledger; return the new and the old."""
    before = signer_of(parts.settings.evidence)
    path = key_file(parts.loaded)
    if before is None or not path.is_file():
        raise Problem(Exit.SETTINGS, "evidence.key_file: there is no file with a key to replace; run `assent init`")
    after = Signer.read(before.name, new_key())
    kept = kept_beside(path, before)
    fresh = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(base64.b64encode(after.seed) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if not kept.exists():
        os.link(path, kept)
    with parts.database.write() as tx:
        # What is signed by the old key says which the new one is.
        create_ledger(tx, SYSTEM)
        facts = {"operation": "keys_rotate", "actor": actor, "key": after.verifier, "key_before": before.verifier}
        append(tx, SYSTEM, [Record(Kind.OPERATION, now, facts, {})], now)
    sign(parts.database, before, SYSTEM)
    fresh.replace(path)
    return {"key": after.verifier, "before": before.verifier, "kept": str(kept)}


@dataclass(frozen=True, slots=True)
class Proven:
    """What a bundle proves, or where it fails."""

    entry: str
    problems: tuple[str, ...]
    key: str
    size: int


def verify_bundle(data: bytes, key: str | None = None) -> Proven:
    """Verify a bundle by itself; `key` is the one that is trusted, where the bundle's own isn't to be.

    Raises ValueError where it is no bundle.
    """
    try:
        told = orjson.loads(data)
        entry, proof, note = told["entry"], told["proof"], told["checkpoint"]
        index, size, path = proof["index"], proof["size"], [bytes.fromhex(one) for one in proof["path"]]
        name, trusted = entry["id"], key or told["key"]
        known = told["format"] == _FORMAT
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise ValueError("this is no proof that we know, or a damaged one: name a file as `assent proof` wrote it")
    problems = []
    try:
        checkpoint = open_note(note, trusted)
        if checkpoint.size != size:
            problems.append("the proof is for another size than the checkpoint")
        if checkpoint.origin.rpartition("/")[2] != entry.get("organization"):
            problems.append("the checkpoint is of another ledger")
        try:
            leaf = bytes.fromhex(entry["leaf_hash"])
            problems += _faults_of(entry, leaf, index)
            if root_of_path(leaf, index, size, path) != checkpoint.root:
                problems.append("the proof doesn't lead to the checkpoint's root: the entry isn't in that ledger")
        except (KeyError, TypeError, ValueError):
            problems.append("the entry lacks a member, or has one that can't be")
    except NoteError as error:
        problems.append(str(error))
    return Proven(str(name), tuple(problems), trusted, size)


def _faults_of(entry: dict[str, Any], leaf: bytes, index: int) -> list[str]:
    """Return what is wrong with an entry by itself."""
    if entry["seq"] != index or entry["id"] != f"{entry['organization']}-{index:012d}":
        return ["the proof is for another entry"]
    body, values = entry["body"], entry["values"] or {}
    if body is None:  # disposed of, lawfully: its leaf hash is what is proven
        return [] if not values else ["the entry has values and no body"]
    made = leaf_hash(
        entry["organization"], entry["seq"], entry["lane"], entry["pos"], entry["kind"], entry["conversation"],
        entry["version"], parse_timestamp(entry["occurred_at"]), parse_timestamp(entry["recorded_at"]),
        canonical(body),
    )  # fmt: skip
    faults = [] if made == leaf else ["the leaf hash isn't that of the entry: a fact in it was changed"]
    for name, held in values.items():
        if body.get(name) != {"commit": commitment(from_base64url(held["salt"]), name, held["value"])}:
            faults.append(f"the value `{name}` isn't what the entry committed to")
    return faults


def _is_new(checkpoint: Entry | None, size: int, signer: Signer) -> bool:
    if checkpoint is None:
        return size > 0
    # Behind a checkpoint there is at least itself; a new key signs at once.
    return size > checkpoint.seq + 1 or checkpoint.facts()["key"] != signer.verifier
