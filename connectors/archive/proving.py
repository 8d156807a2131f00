"""One segment proven by itself, line by line: nothing else is needed for it, so many processes can prove many."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

from connectors.archive.evidence import EvidenceError, prove_values, read_entry
from connectors.archive.lane import read_seq
from connectors.archive.names import SegmentName
from connectors.archive.sealed import unseal
from connectors.archive.segments import segment_path
from connectors.archive.store import Store
from consent.canonical import entry_id

#: Segments that are read ahead of the one that is looked at.
_AHEAD = 4


class Line(NamedTuple):
    """One entry: its places in its lane and ledger, its leaf hash and kind; no leaf and kind where it is spoiled."""

    pos: int
    seq: int
    leaf: bytes | None
    kind: str


class Proof(NamedTuple):
    """What one segment's bytes say, and what of it they prove."""

    #: Of all its bytes, in hex, and how many they are.
    sha256: str
    size: int
    #: What is wrong with it as a whole, if anything.
    problem: str | None
    #: Its first line, and how many lines follow.
    head: bytes
    following: int
    lines: Sequence[Line]
    #: Entries (or lines) that are wrong, and why.
    faults: Sequence[tuple[str, str]]


def prove_segment(data: bytes, organization: str, lane: str, name: SegmentName) -> Proof:
    """Prove each line; a spoiled one of a segment in order keeps its place, a late one has none to keep."""
    read = unseal(data)
    lines: list[Line] = []
    faults: list[tuple[str, str]] = []
    seq = -1
    for pos, line in enumerate(read.lines[1:], name.first):
        try:
            found = read_entry(line)
            prove_values(found)
            if found["organization"] != organization or found["lane"] != lane:
                raise EvidenceError("belongs to another ledger or lane")  # noqa: TRY301
            if name.late is None and found["pos"] != pos:
                raise EvidenceError(f"stands in the place of position {pos}")  # noqa: TRY301
        except EvidenceError as error:
            claimed = read_seq(line)
            entry = f"line {pos - name.first + 2}" if claimed is None else entry_id(organization, claimed)
            faults.append((entry, str(error)))
            if name.late is None:
                lines.append(Line(pos, seq, None, ""))
        else:
            seq = found["seq"]
            lines.append(Line(found["pos"], seq, bytes.fromhex(found["leaf_hash"]), found["kind"]))
    head = read.lines[0] if read.lines else b""
    return Proof(read.sha256, len(data), read.problem, head, len(read.lines) - 1, lines, faults)


def prove_all(
    store: Store, organization: str, lane: str, names: Iterable[SegmentName], helpers: Executor | None
) -> Iterator[tuple[SegmentName, Proof]]:
    """Give the proof of each segment, in order; `helpers` prove those ahead meanwhile."""
    if helpers is None:
        for name in names:
            yield name, prove_segment(_read(store, organization, lane, name), organization, lane, name)
        return
    waiting: deque[tuple[SegmentName, Future[Proof]]] = deque()
    for name in names:
        data = _read(store, organization, lane, name)
        waiting.append((name, helpers.submit(prove_segment, data, organization, lane, name)))
        if len(waiting) > _AHEAD:
            first, proof = waiting.popleft()
            yield first, proof.result()
    for first, proof in waiting:
        yield first, proof.result()


def _read(store: Store, organization: str, lane: str, name: SegmentName) -> bytes:
    return store.read(segment_path(organization, lane, name))
