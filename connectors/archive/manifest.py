"""A manifest: what a ledger's part of the archive holds at the end of a run, naming the manifest before.

First line: the ledger's head, how far each lane is, the newest checkpoint, counts by kind, the newest segment
of each lane. Then one line for each segment written since the manifest before. Where there is a key, its signature
over all these. Last line: the hash of the bytes above. A day on which nothing happened has one too: "nothing came"
is not "nobody looked".
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from connectors.archive.names import manifest_name, read_manifest_name
from connectors.archive.sealed import Link, Sealed, read_object, seal_lines, unseal
from connectors.archive.segments import Header
from connectors.archive.signature import Signature, part_signature, sign_lines, signed_by
from connectors.archive.store import Store
from consent.canonical import canonical, timestamp
from consent.notes import Signer
from sync.port import Statement

_FORMAT = "assent-manifest/1"
_MEMBERS = frozenset(
    {"checkpoint", "format", "kinds", "lanes", "number", "organization", "previous", "recorded_at", "root", "segments",
     "size", "tails"}
)  # fmt: skip
_SEGMENT_MEMBERS = frozenset({"bytes", "count", "first", "lane", "last", "late", "name", "number", "sha256"})


@dataclass(frozen=True, slots=True)
class LaneTail:
    """The newest segment of a lane that the manifests list, and how many entries they list up to it."""

    number: int
    held: int
    link: Link


@dataclass(frozen=True, slots=True)
class Listed:
    """One segment, as a manifest lists it."""

    lane: str
    number: int
    first: int
    last: int
    count: int
    late: bool
    bytes: int
    link: Link


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest's first line."""

    organization: str
    #: From 0.
    number: int
    #: The ledger's size and the root of its tree, in hex.
    size: int
    root: str
    #: For each lane taken: (its size in the ledger, settled up to but not including).
    lanes: Mapping[str, tuple[int, int]]
    checkpoint: str | None
    #: The ledger's time of this statement, as `2026-11-23T10:00:00.000000Z`.
    recorded_at: str
    #: Entries in the segments listed, by kind.
    kinds: Mapping[str, int]
    #: How many segments are listed.
    segments: int
    tails: Mapping[str, LaneTail]
    previous: Link | None

    @property
    def name(self) -> str:
        """Where this manifest stands in the archive."""
        return f"{self.organization}/{manifest_name(self.number)}"

    def says_the_same_as(self, earlier: "Manifest") -> bool:
        """Say whether nothing is new since an earlier one of the same day."""
        return (
            self.segments == 0
            and (self.size, self.root, self.checkpoint) == (earlier.size, earlier.root, earlier.checkpoint)
            and self.lanes == earlier.lanes
            and self.recorded_at[:10] == earlier.recorded_at[:10]
        )


class Stated(NamedTuple):
    """A manifest that was read whole."""

    manifest: Manifest
    listed: Sequence[Listed]
    signature: Signature
    #: Of the file, in hex.
    sha256: str


def draft_manifest(statement: Statement, before: Stated | None, written: Sequence[tuple[Header, Listed]]) -> Manifest:
    """Draw up the manifest after `before` for the segments written since, by order in each lane."""
    kinds: Counter[str] = Counter()
    tails = dict(before.manifest.tails) if before else {}
    for header, listed in written:
        kinds.update(header.kinds)
        held = tails[listed.lane].held if listed.lane in tails else 0
        tails[listed.lane] = LaneTail(listed.number, held + listed.count, listed.link)
    return Manifest(
        organization=statement.organization,
        number=before.manifest.number + 1 if before else 0,
        size=statement.size,
        root=statement.root.hex(),
        lanes=dict(statement.lanes),
        checkpoint=statement.checkpoint,
        recorded_at=timestamp(statement.recorded_at),
        kinds=kinds,
        segments=len(written),
        tails=tails,
        previous=Link(before.manifest.name, before.sha256) if before else None,
    )


def write_manifest(manifest: Manifest, listed: Sequence[Listed], signer: Signer | None = None) -> Sealed:
    """Return a manifest's bytes, signed where there is a key."""
    first = {
        "checkpoint": manifest.checkpoint,
        "format": _FORMAT,
        "kinds": dict(manifest.kinds),
        "lanes": {lane: {"settled": settled, "size": size} for lane, (size, settled) in manifest.lanes.items()},
        "number": manifest.number,
        "organization": manifest.organization,
        "previous": manifest.previous and manifest.previous._asdict(),
        "recorded_at": manifest.recorded_at,
        "root": manifest.root,
        "segments": manifest.segments,
        "size": manifest.size,
        "tails": {
            lane: {"held": tail.held, "name": tail.link.name, "number": tail.number, "sha256": tail.link.sha256}
            for lane, tail in manifest.tails.items()
        },
    }
    lines = [canonical(first), *(canonical(_line(one)) for one in listed)]
    return seal_lines(lines if signer is None else [*lines, sign_lines(_FORMAT, manifest.name, lines, signer)])


def list_segment(header: Header, link: Link, size: int) -> Listed:
    """Return the line for a segment of `size` bytes."""
    return Listed(header.lane, header.number, header.first, header.last, header.count, header.late, size, link)


def newest_manifest(store: Store, organization: str, keys: Sequence[str] = ()) -> Stated | None:
    """Return a ledger's newest manifest; None before the first.

    Raises ValueError, naming the file, where it is damaged, or isn't what one of these keys signed: another key may
    have, where it was rotated.
    """
    numbers = [number for name in store.names(organization) if (number := read_manifest_name(name)) is not None]
    if not numbers:
        return None
    newest = _read_sound(store, f"{organization}/{manifest_name(max(numbers))}", keys)
    if keys and newest.signature is Signature.NOBODY and (before := max(numbers) - 1) in numbers:
        # Signed once, signed ever after: a signature that is taken away is a change too.
        signature = _read_sound(store, f"{organization}/{manifest_name(before)}", ()).signature
        if signature is not Signature.NOBODY:
            raise ValueError(f"{newest.manifest.name} isn't signed, and the manifest before it is")
    return newest


def read_lines(name: str, lines: Sequence[bytes], sha256: str, keys: Sequence[str]) -> Stated:
    """Read the lines of a whole file of this name; raise ValueError with the reason where they can't be a manifest."""
    signed, note = part_signature(lines)
    manifest, listed = read_manifest(signed[0]), list(read_listed(signed[1:]))
    return Stated(manifest, listed, signed_by(_FORMAT, name, signed, note, keys), sha256)


def _read_sound(store: Store, name: str, keys: Sequence[str]) -> Stated:
    read = unseal(store.read(name))
    try:
        return read_lines(name, read.sound(), read.sha256, keys)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def read_manifest(line: bytes) -> Manifest:
    """Read a manifest's first line; raise ValueError with the reason where it can't be one."""
    found = read_object(line, _MEMBERS, _FORMAT)
    try:
        return Manifest(
            organization=found["organization"],
            number=found["number"],
            size=found["size"],
            root=found["root"],
            lanes={lane: (at["size"], at["settled"]) for lane, at in found["lanes"].items()},
            checkpoint=found["checkpoint"],
            recorded_at=found["recorded_at"],
            kinds=found["kinds"],
            segments=found["segments"],
            tails={
                lane: LaneTail(tail["number"], tail["held"], Link(tail["name"], tail["sha256"]))
                for lane, tail in found["tails"].items()
            },
            previous=found["previous"] and Link(**found["previous"]),
        )
    except (AttributeError, KeyError, TypeError):
        raise ValueError("has a first line with a member that can't be") from None


def read_listed(lines: Sequence[bytes]) -> Iterator[Listed]:
    """Read the segments that a manifest lists; raise ValueError where a line can't be one."""
    for line in lines:
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise ValueError("lists a segment in a line that can't be read") from None
        if not isinstance(found, dict) or found.keys() != _SEGMENT_MEMBERS:
            raise ValueError("lists a segment in a line of other members")
        yield Listed(
            found["lane"], found["number"], found["first"], found["last"], found["count"], found["late"],
            found["bytes"], Link(found["name"], found["sha256"]),
        )  # fmt: skip


def _line(listed: Listed) -> dict[str, Any]:
    return {
        "bytes": listed.bytes,
        "count": listed.count,
        "first": listed.first,
        "lane": listed.lane,
        "last": listed.last,
        "late": listed.late,
        "name": listed.link.name,
        "number": listed.number,
        "sha256": listed.link.sha256,
    }
