"""One segment proven by itself, line by line: nothing else is needed for it, so many processes can prove many."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple, Self

from connectors.archive.evidence import EvidenceError, claimed, prove_values, read_entry
from connectors.archive.names import SegmentName
from connectors.archive.sealed import unseal
from connectors.archive.segments import segment_path
from consent.canonical import entry_id

if TYPE_CHECKING:  # a helper starts the sooner, the less it imports
    from connectors.archive.store import Store

#: Segments that are read ahead of the one that is looked at, and those that each helper has before it.
_AHEAD = 4
_AT_HAND = 2

#: Seconds of work from which on it is worth the start of other processes, which takes as long.
_WORTH = 0.5

#: One entry: its places in its lane and ledger, its leaf hash and kind; no leaf and kind where it is spoiled. A plain
#: tuple, as it goes from process to process: a named one takes eight times as long.
Line = tuple[int, int, bytes | None, str]


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
            told = claimed(line, "seq")
            entry = f"line {pos - name.first + 2}" if told is None else entry_id(organization, told)
            faults.append((entry, str(error)))
            if name.late is None:
                lines.append((pos, seq, None, ""))
        else:
            seq = found["seq"]
            lines.append((found["pos"], seq, bytes.fromhex(found["leaf_hash"]), found["kind"]))
    head = read.lines[0] if read.lines else b""
    return Proof(read.sha256, len(data), read.problem, head, len(read.lines) - 1, lines, faults)


class Helpers:
    """Processes that prove segments beside this one; they are started once the work has turned out to be worth it."""

    def __init__(self, processes: int) -> None:
        self._others, self._begun = processes - 1, time.monotonic()
        self._started: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._started is not None:
            self._started.shutdown(cancel_futures=True)

    def free(self, under_way: int) -> Executor | None:
        """Return who helps, None where nobody does yet, or all have enough `under_way`."""
        if self._started is None and self._others and time.monotonic() - self._begun > _WORTH:
            # Started anew, not forked: this process may have threads, and whoever copies one copies its locks.
            self._started = ProcessPoolExecutor(self._others, get_context("spawn"))
        return self._started if under_way < _AT_HAND * self._others else None


def prove_all(
    store: "Store", organization: str, lane: str, names: Iterable[SegmentName], helpers: Helpers
) -> Iterator[tuple[SegmentName, Proof]]:
    """Give the proof of each segment, in order; `helpers` prove some of them meanwhile."""
    waiting: deque[tuple[SegmentName, Future[Proof]]] = deque()
    for name in names:
        data = store.read(segment_path(organization, lane, name))
        helper = helpers.free(sum(not proof.done() for _, proof in waiting))
        if helper is not None:
            proof = helper.submit(prove_segment, data, organization, lane, name)
        else:
            proof = Future()
            proof.set_result(prove_segment(data, organization, lane, name))
        waiting.append((name, proof))
        while waiting and (waiting[0][1].done() or len(waiting) > _AHEAD):
            first, proof = waiting.popleft()
            yield first, proof.result()
    for first, proof in waiting:
        yield first, proof.result()
