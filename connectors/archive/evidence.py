"""What one line of a segment proves by itself: its leaf hash, and that its values are what its body committed to."""

import re
from binascii import a2b_base64, b2a_base64
from hashlib import sha256
from typing import Any

import orjson

from consent.canonical import CANONICAL, canonical, entry_id, parse_timestamp
from consent.entry import Entry
from consent.kinds import LANE_OF, Kind

_MEMBERS = frozenset(
    {"body", "conversation", "id", "kind", "lane", "leaf_hash", "occurred_at", "organization", "pos", "recorded_at",
     "seq", "values", "version"}
)  # fmt: skip
_VALUE_MEMBERS = frozenset({"salt", "value"})
_COMMITMENT_MEMBERS = frozenset({"commit"})
#: Of a salt: bytes, and characters of unpadded base64url.
_SALT_BYTES, _SALT_LENGTH = 16, 22
#: From the alphabet of base64url to that of base64; what belongs to neither, to what no decoder takes.
_STANDARD = bytes.maketrans(b"-_+/=", b"+/...")
_LEAF = re.compile(r"[0-9a-f]{64}")
_LANES = {kind.value: LANE_OF[kind].value for kind in Kind}


class EvidenceError(ValueError):
    """A line that doesn't prove what it says; the text is the reason, without anything personal."""


def read_entry(line: bytes) -> dict[str, Any]:
    """Return a line as the entry's members, of which the id, the lane of the kind and the leaf hash were proven.

    An entry that was disposed of before it came here has no body: its leaf hash is taken at its word, the
    ledger's tree says whether it is true.
    """
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise EvidenceError("is no JSON") from None
    if not isinstance(found, dict) or found.keys() != _MEMBERS:
        raise EvidenceError("hasn't the members of an entry")
    try:
        if orjson.dumps(found, option=CANONICAL) != line:
            raise EvidenceError("isn't in canonical form")
    except orjson.JSONEncodeError:
        raise EvidenceError("holds a number that no entry holds") from None
    if type(found["seq"]) is not int or type(found["pos"]) is not int or not isinstance(found["kind"], str):
        raise EvidenceError("has a number or kind that can't be")
    if found["id"] != entry_id(found["organization"], found["seq"]):
        raise EvidenceError("has an id that isn't its organization and seq")
    if _LANES.get(found["kind"]) != found["lane"]:
        raise EvidenceError("is of a kind that doesn't travel in its lane")
    if found["body"] is None:
        if not isinstance(found["leaf_hash"], str) or not _LEAF.fullmatch(found["leaf_hash"]):
            raise EvidenceError("has a leaf hash that can't be")
    elif _leaf(found) != found["leaf_hash"]:
        raise EvidenceError("has a leaf hash that isn't that of its members")
    return found


def claimed(line: bytes, member: str) -> int | None:
    """Return the number that a line claims, proven or not; None where it can't be read."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    number = found.get(member) if isinstance(found, dict) else None
    return number if isinstance(number, int) else None


def entry_of(found: dict[str, Any]) -> Entry:
    """Return the entry that a line's members describe, proven or not."""
    body, values = found["body"], found["values"]
    return Entry(
        found["organization"], found["seq"], found["lane"], found["pos"], found["kind"], found["conversation"],
        found["version"], parse_timestamp(found["occurred_at"]), parse_timestamp(found["recorded_at"]),
        None if body is None else canonical(body), None if values is None else canonical(values),
        bytes.fromhex(found["leaf_hash"]),
    )  # fmt: skip


def prove_values(found: dict[str, Any]) -> None:
    """Compare an entry's values with the commitments in its body; erased ones prove nothing and break nothing."""
    body, values = found["body"], found["values"]
    if body is None or values is None:
        if values is not None:
            raise EvidenceError("has values and no body that commits to them")
        return
    if not isinstance(values, dict):
        raise EvidenceError("has other values than its body commits to")
    for name, held in values.items():
        fact = body.get(name)
        if type(fact) is not dict or fact.keys() != _COMMITMENT_MEMBERS:  # a commitment without its value: erased
            raise EvidenceError("has other values than its body commits to")
        if type(held) is not dict or held.keys() != _VALUE_MEMBERS:
            raise EvidenceError(f"has a value, `{name}`, without a salt")
        if not _is_committed(name, held["salt"], held["value"], fact["commit"]):
            raise EvidenceError(f"has a value, `{name}`, that isn't what its body committed to")


def _is_committed(name: str, salt: Any, value: Any, commit: Any) -> bool:
    """Compute a commitment anew, as `consent.canonical.commitment` does: six an entry, so every microsecond counts."""
    try:
        raw = a2b_base64(salt.encode().translate(_STANDARD) + b"==")
        told = b"%b%b\x00%b" % (raw, name.encode(), orjson.dumps(value, option=CANONICAL))
        digest = b2a_base64(sha256(told).digest(), newline=False)
        # Decoders let stray characters and trailing bits through: of 16 bytes there is one form only.
        one_form = len(salt) == _SALT_LENGTH and len(raw) == _SALT_BYTES and salt[-1] in "AQgw"
        return one_form and digest[:-1] == commit.encode().translate(_STANDARD)
    except (AttributeError, ValueError):
        return False


def _leaf(found: dict[str, Any]) -> str:
    members = found.copy()
    del members["id"], members["leaf_hash"], members["values"]
    return sha256(b"\x00" + orjson.dumps(members, option=CANONICAL)).hexdigest()
