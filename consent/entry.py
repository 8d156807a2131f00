"""One entry of a ledger: drafted as a record, sealed with its number, its commitments and its leaf hash."""

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from consent.canonical import base64url, canonical, commitment, entry_id, timestamp
from consent.kinds import LANE_OF, Kind
from consent.values import Record


class Entry(NamedTuple):
    """One line of a ledger, as stored. It never changes; erasure and disposal null `values` (and `body`)."""

    organization: str
    #: Gapless in its ledger, from 0.
    seq: int
    lane: str
    #: Gapless in its lane, from 0.
    pos: int
    kind: str
    conversation: str | None
    version: int | None
    #: Microseconds since 1970.
    occurred_at: int
    recorded_at: int
    #: Canonical JSON; None after disposal.
    body: bytes | None
    #: Canonical JSON of `{name: {"salt", "value"}}`; None after erasure.
    values: bytes | None
    #: SHA-256, 32 bytes.
    leaf: bytes

    @property
    def id(self) -> str:
        """The idempotency key everywhere."""
        return entry_id(self.organization, self.seq)

    def facts(self) -> dict[str, Any]:
        """Return the body as an object ({} after disposal)."""
        return orjson.loads(self.body) if self.body else {}

    def revealed(self) -> dict[str, Any]:
        """Return the personal values by name ({} after erasure)."""
        return {name: held["value"] for name, held in orjson.loads(self.values).items()} if self.values else {}


def seal(record: Record, organization: str, seq: int, pos: int, recorded_at: int, salts: bytes) -> Entry:
    """Number a record and commit to it. `salts` holds 16 random bytes for each of its personal values."""
    given, occurred_at, facts, personal, conversation, version = record
    body, values, start = dict(facts), {}, 0
    for name, value in personal.items():
        salt = salts[start : start + 16]
        start += 16
        body[name] = {"commit": commitment(salt, name, value)}
        values[name] = {"salt": base64url(salt), "value": value}
    kind, lane = _WORDS[given]
    sealed = canonical(body)
    leaf = leaf_hash(organization, seq, lane, pos, kind, conversation, version, occurred_at, recorded_at, sealed)
    return Entry(
        organization, seq, lane, pos, kind, conversation, version, occurred_at, recorded_at, sealed,
        canonical(values), leaf,
    )  # fmt: skip


def leaf_hash(
    organization: str, seq: int, lane: str, pos: int, kind: str, conversation: str | None, version: int | None,
    occurred_at: int, recorded_at: int, body: bytes,
) -> bytes:  # fmt: skip
    """Return SHA-256(0x00 ‖ canonical JSON of exactly these ten members), 32 bytes (leaves as in RFC 9162, 2.1.1)."""
    # The members' names and values are plain ASCII without anything to escape, and stand in sorted order.
    rest = (
        f',"conversation":{_quoted(conversation)},"kind":"{kind}","lane":"{lane}"'
        f',"occurred_at":"{timestamp(occurred_at)}","organization":"{organization}","pos":{pos}'
        f',"recorded_at":"{timestamp(recorded_at)}","seq":{seq},"version":{_number(version)}}}'
    )
    return sha256(b'\x00{"body":' + body + rest.encode()).digest()


def leaf_of(entry: Entry) -> bytes:
    """Compute an entry's leaf hash anew from its members (its body must still be there)."""
    if entry.body is None:
        raise ValueError("a disposed entry has no body to hash")
    return leaf_hash(
        entry.organization, entry.seq, entry.lane, entry.pos, entry.kind, entry.conversation, entry.version,
        entry.occurred_at, entry.recorded_at, entry.body,
    )  # fmt: skip


def entry_json(entry: Entry) -> bytes:
    """Return an entry as canonical JSON, with the members that exports and `/v1/entries` show."""
    organization, seq, lane, pos, kind, conversation, version, occurred_at, recorded_at, body, values, leaf = entry
    told = (
        f',"id":"{entry_id(organization, seq)}","kind":"{kind}","lane":"{lane}","leaf_hash":"{leaf.hex()}"'
        f',"occurred_at":"{timestamp(occurred_at)}","organization":"{organization}","pos":{pos}'
        f',"recorded_at":"{timestamp(recorded_at)}","seq":{seq},"values":'
    )
    # Joined, not formatted: a seventh less time, and every entry that is delivered comes by here.
    return b"".join(
        (
            b'{"body":', body or b"null", b',"conversation":', orjson.dumps(conversation), told.encode(),
            values or b"null", b',"version":', orjson.dumps(version), b"}",
        )
    )  # fmt: skip


def _quoted(text: str | None) -> str:
    return orjson.dumps(text).decode()


def _number(number: int | None) -> str:
    return "null" if number is None else str(number)


#: The words of an entry's kind and lane: to ask an enumeration for them takes longer than to format the entry.
_WORDS: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {kind: (kind.value, lane.value) for kind, lane in LANE_OF.items()}
)
