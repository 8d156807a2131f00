"""Read an entry that came over the wire and make its proofs again: nothing is stored on the sender's word."""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from orjson import Fragment

from connectors.portal.protocol import ORGANIZATION
from consent.canonical import canonical, entry_id, parse_timestamp
from consent.entry import Entry
from consent.kinds import LANE_OF, Kind

#: Why an entry is invalid, and what the operator of the sending side reads about it.
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "malformed": "the portal can't read this entry: compare the versions of both sides",
        "wrong_ledger": "this entry belongs to another ledger or lane than its batch: run `assent verify --ledger`",
        "leaf_mismatch": "the body doesn't match the leaf hash: run `assent verify --ledger`",
        "commitment_mismatch": "a personal value doesn't match its commitment: run `assent verify --ledger`",
    }
)

#: The same for a reason that another company's portal has made up.
REJECTED = "the portal doesn't take this entry: look into its log"

_MEMBERS = {
    "id", "organization", "seq", "lane", "pos", "kind", "conversation", "version",
    "occurred_at", "recorded_at", "body", "values", "leaf_hash",
}  # fmt: skip
_LEAF = tuple(_MEMBERS - {"id", "values", "leaf_hash"})
_CONVERSATION = re.compile(r"[A-Za-z0-9_.:-]{1,32}")
_TIME = re.compile(r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_LIMIT = 2**53
_VERSION_LIMIT = 2**31
_URL, _STANDARD = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")


class UnfitError(Exception):
    """An entry breaks a rule; `reason` is a key of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_entry(thing: Any, organization: str, lane: str) -> tuple[Entry, bytes]:
    """Return an entry of a batch for this ledger and lane, and its digest; leaf and commitments are made anew.

    Raises UnfitError. Erased entries come without values, disposed ones without a body too: what is
    gone can't be checked, what is there is.
    """
    entry = _shaped(thing)
    if (entry.organization, entry.lane) != (organization, lane):
        raise UnfitError("wrong_ledger")
    # The parts are canonical bytes already; the whole has just these members, so it is canonical too.
    whole = thing | {
        "body": None if entry.body is None else Fragment(entry.body),
        "values": None if entry.values is None else Fragment(entry.values),
    }
    digest = sha256(canonical(whole)).digest()[:16]
    if entry.body is not None:
        if sha256(b"\x00" + canonical({name: whole[name] for name in _LEAF})).digest() != entry.leaf:
            raise UnfitError("leaf_mismatch")
        if entry.values is not None:
            _check_commitments(thing["body"], thing["values"])
    return entry, digest


def _shaped(thing: Any) -> Entry:
    try:
        if thing.keys() != _MEMBERS:
            raise UnfitError("malformed")
        kind, leaf, body, values = (
            Kind(thing["kind"]),
            bytes.fromhex(thing["leaf_hash"]),
            thing["body"],
            thing["values"],
        )
        entry = Entry(
            thing["organization"], thing["seq"], thing["lane"], thing["pos"], kind.value,
            thing["conversation"], thing["version"],
            parse_timestamp(thing["occurred_at"]), parse_timestamp(thing["recorded_at"]),
            None if body is None else canonical(body), None if values is None else canonical(values), leaf,
        )  # fmt: skip
        fit = (
            LANE_OF[kind] == entry.lane
            and _TIME.fullmatch(thing["occurred_at"])
            and _TIME.fullmatch(thing["recorded_at"])
            and ORGANIZATION.fullmatch(entry.organization)
            and _counts(entry.seq, 10**12)
            and _counts(entry.pos, _LIMIT)
            and (entry.conversation is None or _CONVERSATION.fullmatch(entry.conversation))
            and (entry.version is None or _counts(entry.version, _VERSION_LIMIT))
            and thing["id"] == entry_id(entry.organization, entry.seq)
            and leaf.hex() == thing["leaf_hash"]
            and len(leaf) == 32
            and (isinstance(body, dict) or (body is None and values is None))
            and (isinstance(values, dict) or values is None)
        )
    # A sender can put anything anywhere: what isn't of the right type shows itself by one of these.
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnfitError("malformed") from error
    if not fit:
        raise UnfitError("malformed")
    return entry


def _check_commitments(body: dict[str, Any], values: dict[str, Any]) -> None:
    for name, held in values.items():
        try:
            text, promised = held["salt"], body[name]["commit"]
            salt = a2b_base64(text.encode().translate(_STANDARD) + b"==")
            made = sha256(salt + name.encode() + b"\x00" + canonical(held["value"])).digest()
            fits = _base64url(made) == promised and _base64url(salt) == text and len(salt) == 16
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnfitError("commitment_mismatch") from error
        if not fits or len(held) != 2 or len(body[name]) != 1:
            raise UnfitError("commitment_mismatch")


def _base64url(data: bytes) -> str:
    # As in consent.canonical, at half its time: five of these an entry are a fifth of the receiving end's work.
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_URL).decode()


def _counts(number: Any, limit: int) -> bool:
    return type(number) is int and 0 <= number < limit
