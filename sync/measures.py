"""What one process counts and times while it delivers, for Prometheus: units stand in the names."""

import collections
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from sync.port import Delay, Outcome, Receipt, Refusal

pushed_entries = Counter(
    "assent_pushed_entries", "Entries that a destination answered for, by its answer.", ["destination", "answer"]
)
failed_pushes = Counter("assent_failed_pushes", "Pushes of which nothing counted.", ["destination"])
push_seconds = Histogram(
    "assent_push_seconds", "How long one push took, until the destination answered.", ["destination"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
)  # fmt: skip
lease_changes = Counter(
    "assent_lease_changes", "Leases that this process took, and those that it lost to another.",
    ["destination", "change"],
)  # fmt: skip

_ANSWERS = {Receipt: "taken", Refusal: "refused", Delay: "set_aside"}


@contextmanager
def measured(destination: str) -> Iterator[None]:
    """Time one push; a failed one is counted as such."""
    with push_seconds.labels(destination).time(), failed_pushes.labels(destination).count_exceptions():
        yield


def count(destination: str, outcomes: Sequence[Outcome]) -> None:
    """Count a destination's answers."""
    for kind, number in collections.Counter(map(type, outcomes)).items():
        pushed_entries.labels(destination, _ANSWERS[kind]).inc(number)
