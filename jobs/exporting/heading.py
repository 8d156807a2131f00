"""What an export says about itself: what was asked, by whom, when, of which ledgers, and how to check it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from consent.canonical import timestamp
from consent.entry import Entry
from consent.ledger import Head
from jobs.exporting.selection import Filters

#: How the exported files are checked, for whoever gets them.
CHECK = (
    "Each file has the SHA-256 that the manifest gives: compare it with `sha256sum FILE`.",
    "Each entry's leaf hash is SHA-256 over a zero byte and the entry's ten members as canonical JSON (RFC 8785).",
    "A ledger's root is that of the tree over all its leaf hashes (RFC 9162); the archive keeps size and root, too.",
    "Values are exact in the JSON lines; the other forms may show them for reading.",
)


@dataclass(slots=True)
class Tally:
    """What went by so far."""

    entries: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    #: Entries whose personal values were lawfully erased; whose contents were disposed of after their retention.
    erased: int = 0
    disposed: int = 0

    def counted(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """Yield the entries and count them."""
        for entry in entries:
            self.entries += 1
            self.kinds[entry.kind] += 1
            if entry.body is None:
                self.disposed += 1
            elif entry.values is None:
                self.erased += 1
            yield entry

    def add(self, other: "Tally") -> None:
        """Count what another one counted."""
        self.entries += other.entries
        self.kinds += other.kinds
        self.erased += other.erased
        self.disposed += other.disposed

    def told(self) -> list[tuple[str, str]]:
        """Return it for people."""
        rows = [("Entries", f"{self.entries:,}"), *((kind, f"{count:,}") for kind, count in sorted(self.kinds.items()))]
        if self.erased:
            rows.append(("Lawfully erased", f"{self.erased:,}"))
        if self.disposed:
            rows.append(("Disposed of after retention", f"{self.disposed:,}"))
        return rows


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands at the beginning of a file."""

    filters: Filters
    form: str
    actor: str
    #: Microseconds since 1970.
    made_at: int
    heads: tuple[Head, ...]
    #: Which of several files this is, from 1; their number is known when the last is written.
    volume: int = 1

    def told(self) -> list[tuple[str, str]]:
        """Return it for people."""
        asked = [(_ASKED[name], value) for name, value in asked_of(self.filters).items()] or [
            ("Asked for", "everything")
        ]
        return [
            *asked,
            ("Made at", timestamp(self.made_at)),
            ("Made by", self.actor),
            *(("Ledger", f"{head.organization}: {head.size:,} entries, root {head.root.hex()}") for head in self.heads),
            *([("Volume", str(self.volume))] if self.volume > 1 else []),
        ]


def asked_of(filters: Filters) -> Mapping[str, str]:
    """Return what was asked for, in the words of the command line."""
    told = {}
    for name in _ASKED:
        value = getattr(filters, _FIELD.get(name, name))
        if value is not None:
            told[name] = timestamp(value) if name in ("since", "until") else str(value)
    return told


_FIELD = {"org": "organization"}
_ASKED = {
    "org": "Organization",
    "contact": "Contact",
    "employee": "Employee",
    "line": "Line",
    "conversation": "Conversation",
    "hold": "Legal hold",
    "lane": "Lane",
    "kind": "Kind",
    "since": "Recorded at or after",
    "until": "Recorded before",
}
