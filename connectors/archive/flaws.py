"""What verification found, by file: the first entries that are wrong in each, and how many more."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

#: Entries named in one file for one cause; the rest of them is counted.
_NAMED = 3


class Cause(StrEnum):
    """What is wrong."""

    CHANGED = "changed"  # bytes, or what they say, aren't what was written
    TRUNCATED = "truncated"  # the end is missing
    MISSING = "missing"  # a file that others name isn't there
    RENAMED = "renamed"  # a file holds what another name should hold
    REPLACED = "replaced"  # whole in itself, and not the file that others name
    EXTRA = "extra"  # a file that no other names
    FOREIGN = "foreign"  # not a file of an archive
    UNLISTED = "unlisted"  # no manifest lists the newest segments
    GAP = "gap"  # positions that no segment holds
    REPEATED = "repeated"  # positions that several hold
    UNSIGNED = "unsigned"  # not signed by a key that is trusted
    ROOT = "root"  # the entries don't give the tree's root
    DIFFERENT = "different"  # the ledger in the database says something else
    HIDDEN = "hidden"  # the store says that it was deleted; it is there all the same
    REWRITTEN = "rewritten"  # the store has other bytes under the same name beside the first
    LEFTOVER = "leftover"  # what a crash left of a write; harmless
    PARTIAL = "partial"  # what could not be compared, as the archive is not meant to hold all; harmless


#: Told of the file where they show, whose bytes may be as they were written.
_OF_POSITIONS = {Cause.GAP, Cause.REPEATED, Cause.HIDDEN, Cause.REWRITTEN}


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong, or worth knowing."""

    #: In the archive, `acme/consent/000000000000.segment.jsonl`.
    file: str
    #: The entry's id, where one entry is meant.
    entry: str | None
    cause: Cause
    problem: str

    def __str__(self) -> str:
        return f"{self.file}{f', entry {self.entry}' if self.entry else ''}: {self.problem}"


@dataclass
class Flaws:
    """Collects flaws, so that a file with a million wrong entries is told in a few lines."""

    _found: dict[tuple[str, Cause], list[Flaw]] = field(default_factory=dict)
    _count: Counter[tuple[str, Cause]] = field(default_factory=Counter)
    #: Worth knowing, and no flaw.
    notes: list[Flaw] = field(default_factory=list)

    def add(self, file: str, cause: Cause, problem: str, entry: str | None = None) -> None:
        """Note what is wrong with a file, or with one entry in it."""
        named = self._found.setdefault((file, cause), [])
        self._count[file, cause] += 1
        if len(named) < _NAMED and not (named and entry is None):
            named.append(Flaw(file, entry, cause, problem))

    def note(self, file: str, cause: Cause, problem: str) -> None:
        """Note what is worth knowing."""
        self.notes.append(Flaw(file, None, cause, problem))

    def spoils(self, file: str) -> bool:
        """Say whether something is wrong with a file itself."""
        return any(name == file and cause not in _OF_POSITIONS for name, cause in self._found)

    def told(self) -> list[Flaw]:
        """Return all flaws by file, the first of each file in the order they were found."""
        flaws = []
        for file, cause in sorted(self._found, key=lambda key: key[0]):
            named = self._found[file, cause]
            flaws += named
            more = self._count[file, cause] - len(named)
            if more and named[0].entry:
                flaws.append(Flaw(file, None, cause, f"and {more:,} more entries like these"))
        return flaws
