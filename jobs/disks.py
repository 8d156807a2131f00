"""The disks that our files stand on: how large, how much is free."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk, by what of ours stands on it."""

    name: str
    free: int
    size: int

    @property
    def free_percent(self) -> float:
        """What is free, of a hundred."""
        return 100.0 * self.free / self.size if self.size else 100.0


def disks_of(places: Mapping[str, Path]) -> Iterable[Disk]:
    """Give the disk of each place that is there, by its name."""
    for name, path in places.items():
        try:
            usage = shutil.disk_usage(path)
        except OSError:  # a place that is away is told by its destination's state
            continue
        yield Disk(name, usage.free, usage.total)
